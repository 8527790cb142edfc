"""The workers of Beam's own runner: one that is lost fails the run, and none outlives it.

Beam 2.77's `FnApiRunner` sends work over a connection to each worker: external ones, and the
processes of `--direct_running_mode=multi_processing`. When a connection breaks, the thread that
reads it ends, and whoever waits for an answer is never told. A connection to a machine that is gone
does not even break: it is as silent as during a long bundle. Runners on other machines notice by
themselves.
"""

import logging
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, Final

import grpc
from apache_beam.portability.api import beam_fn_api_pb2
from apache_beam.runners.portability import local_job_service
from apache_beam.runners.portability.fn_api_runner import worker_handlers
from apache_beam.runners.portability.fn_api_runner.worker_handlers import ControlConnection

from pipeline.console.stopping import on_stop
from pipeline.running.run_log import RunLog

LOST: Final = (
    "a worker is lost in the middle of its work: it was killed, ran out of memory, "
    "or its machine cannot be reached"
)
CONNECT_S: Final = 600.0  # a container may install packages before its worker connects
NEVER_CONNECTED: Final = (
    f"a worker did not connect within {CONNECT_S:g} s: it ended at its start, "
    "or its machine cannot reach this one"
)
# A worker that is silent for so many milliseconds is asked for an answer, and given up if none
# comes in time: shorter outages do not fail the run. By default, gRPC asks after 2 hours.
_PINGS: Final = (("grpc.keepalive_time_ms", 20_000), ("grpc.keepalive_timeout_ms", 60_000))
# Runs a module, and ends when standard input does: with this process, however that ends.
_WORKER: Final = """
import os, runpy, signal, sys, threading
for number in (signal.SIGINT, signal.SIGTERM):  # terminals and systemd send them to all processes
    signal.signal(number, signal.SIG_IGN)
threading.Thread(target=lambda: (os.read(0, 1), os._exit(1)), daemon=True).start()
runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
"""


class WatchedConnection(ControlConnection):
    """Answers requests with an error when the worker is gone."""

    _why = ""  # there is no worker any more
    _patience: threading.Timer | None = None

    def _read(self) -> None:
        try:
            super()._read()
        except grpc.RpcError:  # how the stream of a process that died ends
            pass
        finally:
            self._give_up(LOST)

    def push(self, req: Any) -> Any:
        """Sends a request; the future it returns is always answered."""
        future = super().push(req)
        if self._why and future is not None:
            self._answer(future.instruction_id)
        elif self._input is None and self._patience is None:
            self._patience = threading.Timer(CONNECT_S, self._give_up_unless_connected)
            self._patience.daemon = True
            self._patience.start()
        return future

    def _give_up_unless_connected(self) -> None:
        if self._input is None:
            self._give_up(NEVER_CONNECTED)

    def _give_up(self, why: str) -> None:
        self._why = why
        for instruction in list(self._futures_by_id):
            self._answer(instruction)

    def _answer(self, instruction: str) -> None:
        future = self._futures_by_id.pop(instruction, None)
        if future is not None:
            answer = beam_fn_api_pb2.InstructionResponse
            future.set(answer(instruction_id=instruction, error=self._why))


def _server(*arguments: Any, options: Sequence[tuple[str, Any]] = (), **others: Any) -> grpc.Server:
    return grpc.server(*arguments, options=[*options, *_PINGS], **others)


def notice_lost_workers() -> None:
    """From now on the runners of this process fail when a worker is lost."""
    vars(worker_handlers)["ControlConnection"] = WatchedConnection
    # Beam leaves no other way to the options of its servers.
    vars(worker_handlers)["grpc"] = SimpleNamespace(**vars(grpc) | {"server": _server})


@contextmanager
def tended_workers(log: RunLog) -> Iterator[None]:
    """While the block runs, what workers print goes to `log`, and none outlives this process.

    Beam would let them print on the user's screen, and finish what they have under way.
    """

    def start(command: str, shell: bool, env: Mapping[str, str]) -> subprocess.Popen[bytes]:
        stream = log.stream()
        process = subprocess.Popen(
            [sys.executable, "-c", _WORKER, command.rpartition(" ")[2]],  # the module after -m
            stdin=subprocess.PIPE,
            stdout=stream,
            stderr=stream,
            env=env,
        )
        on_stop(process.kill)
        return process

    names = vars(local_job_service)  # Beam leaves no other way
    before = names["subprocess"]
    names["subprocess"] = SimpleNamespace(Popen=start)
    logger = logging.getLogger(local_job_service.__name__)
    logger.addFilter(_is_news)
    try:
        yield
    finally:
        logger.removeFilter(_is_news)
        names["subprocess"] = before


def _is_news(record: logging.LogRecord) -> bool:
    """Whether a worker says more than every worker does, of a file that only notebooks need."""
    return "No semi_persistent_directory found" not in record.getMessage()
