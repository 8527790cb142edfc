"""A cluster: a job service and external workers, each a process of its own, here or on own hosts.

`Cluster` is for tests; it starts `python -m tests.helpers.portable`.
The job service is Beam's, which no one should label a bucket with: it retries nothing.
"""

import itertools
import logging
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import grpc
from apache_beam.portability.api import beam_fn_api_pb2, beam_fn_api_pb2_grpc, beam_job_api_pb2
from apache_beam.runners.portability import local_job_service
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner, RunnerResult
from apache_beam.runners.worker.worker_pool_main import BeamFnExternalWorkerPoolServicer
from apache_beam.utils.thread_pool_executor import shared_unbounded_instance

from pipeline.running.workers import notice_lost_workers
from tests.helpers.hosts import HERE, Host
from tests.helpers.model_fixtures import ROOT, Run

RUN_TIMEOUT_S = 120


class Cluster(AbstractContextManager["Cluster"]):
    """A job service with external worker processes, for jobs of the real command.

    with Cluster([HERE, HERE], environment=caches) as cluster:
        done = cluster.run("--input", ..., "--output", ...)
        process = cluster.start("--input", ..., "--output", ...)
        os.kill(cluster.pids[0], signal.SIGKILL)
    """

    def __init__(
        self, workers: Sequence[Host], environment: Mapping[str, str], head: Host = HERE
    ) -> None:
        """One worker on each of `workers`; the job service and the command are on `head`.

        `environment` is added to that of every process: the fixture `caches`, for example.
        """
        self._head = head
        self._environment = os.environ | environment | {"PYTHONPATH": str(ROOT)}
        self._processes: list[subprocess.Popen[str]] = []
        try:
            started = [self._serve(host, "worker", host.name) for host in workers]
            self.pids = [process.pid for process in self._processes]  # of the workers
            addresses = [_first_line(process) for process in started]
            service = self._serve(head, "jobs", *addresses)
            self._job_endpoint, self._workers = _first_line(service).split()
            self.service_pid = service.pid
        except BaseException:
            self.stop()
            raise

    def options(self) -> list[str]:
        """The options of `pipeline.run` that send a job here."""
        return [
            "--runner=PortableRunner",
            f"--job_endpoint={self._job_endpoint}",
            "--environment_type=EXTERNAL",
            f"--environment_config={self._workers}",
        ]

    def start(self, *options: str) -> subprocess.Popen[str]:
        """`python -m pipeline.run` with these options, under way; the caller waits for it."""
        return subprocess.Popen(
            self._head.command(sys.executable, "-m", "pipeline.run", *self.options(), *options),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self._environment,
            cwd=ROOT,
        )

    def run(self, *options: str) -> Run:
        """The same to its end.

        Raises:
            subprocess.TimeoutExpired: it hangs.
        """
        process = self.start(*options)
        try:
            out, err = process.communicate(timeout=RUN_TIMEOUT_S)
        finally:
            process.kill()
        return Run(process.returncode, out, err)

    def stop(self) -> None:
        """Ends all processes."""
        for process in self._processes:
            process.kill()
            process.communicate()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _serve(self, host: Host, *command: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            host.command(sys.executable, "-m", "tests.helpers.portable", *command),
            stdin=subprocess.PIPE,  # its end tells the process that this one is gone
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # when one is killed, the others' threads say so at length
            text=True,
            env=self._environment,
            cwd=ROOT,
        )
        self._processes.append(process)
        return process


def _first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    if not line:
        raise RuntimeError(f"{process.args!r} ended with code {process.wait()}")
    return line


class _Spread(beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolServicer):
    """Asks the worker processes in turn to start a worker: a job knows only one address of them."""

    def __init__(self, addresses: Sequence[str]) -> None:
        channels = [grpc.insecure_channel(address) for address in addresses]
        self._pools = itertools.cycle(
            map(beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolStub, channels)
        )

    def StartWorker(  # noqa: N802  # gRPC's name
        self, request: beam_fn_api_pb2.StartWorkerRequest, context: grpc.ServicerContext
    ) -> beam_fn_api_pb2.StartWorkerResponse:
        return next(self._pools).StartWorker(request)


def _serve_jobs(addresses: Sequence[str]) -> str:
    """Starts a job service over these workers; the addresses of the service and of the workers."""
    notice_lost_workers()

    class Job(local_job_service.BeamJob):
        def _invoke_runner(self: Any) -> RunnerResult:  # Any: Beam leaves its methods untyped
            self.set_state(beam_job_api_pb2.JobState.RUNNING)
            runner = FnApiRunner(provision_info=self._provision_info)
            runner._num_workers = len(addresses)  # Beam's own job service always takes one
            return runner.run_via_runner_api(self._pipeline_proto, self.pipeline_options())

    jobs = local_job_service.LocalJobServicer(beam_job_type=Job)
    server = grpc.server(shared_unbounded_instance())
    beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(_Spread(addresses), server)
    port = server.add_insecure_port("localhost:0")
    server.start()
    _alive.append(server)
    return f"localhost:{jobs.start_grpc_server()} localhost:{port}"


def _serve_worker(name: str) -> str:
    """Starts a worker in this process when it is asked to; the address where, on a host `name`.

    Beam binds every address of the host but says "localhost". Its job service is told to the worker
    by the name that its own host gives itself: nothing of that has to be changed.
    """
    address, server = BeamFnExternalWorkerPoolServicer.start()
    _alive.append(server)
    return f"{name}:{address.rpartition(':')[2]}"


_alive: list[object] = []  # a server stops when it is collected


def main(command: str, *arguments: str) -> None:
    """Serves until standard input ends."""
    logging.getLogger().setLevel(logging.CRITICAL)
    print(_serve_worker(*arguments) if command == "worker" else _serve_jobs(arguments), flush=True)
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
