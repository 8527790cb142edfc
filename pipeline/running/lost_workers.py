"""A worker that dies or is cut off fails its run; Beam's own runner would wait for it forever.

Beam 2.77's `FnApiRunner` hands out work over a connection to each worker (external workers, and
those of `--direct_running_mode=multi_processing`). When that connection breaks, the thread that
reads it ends and whoever waits for an answer is never told. And a connection to a machine that is
gone does not even break: nobody says anything on it, which is how it looks during a long bundle
too. Runners on other machines notice by themselves.
"""

import threading
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, Final

import grpc
from apache_beam.portability.api import beam_fn_api_pb2
from apache_beam.runners.portability.fn_api_runner import worker_handlers
from apache_beam.runners.portability.fn_api_runner.worker_handlers import ControlConnection

LOST: Final = (
    "a worker is lost in the middle of its work: it was killed, ran out of memory, "
    "or its machine cannot be reached"
)
CONNECT_S: Final = 600.0  # a container may install packages before its worker connects
NEVER_CONNECTED: Final = (
    f"a worker did not connect within {CONNECT_S:g} s: it ended at its start, "
    "or its machine cannot reach this one"
)
# Asked after so many milliseconds of silence, and given up so long after that: a network that is
# gone for less, or a machine that stands still, costs nothing. By default, gRPC asks after 2 hours.
_PINGS: Final = (("grpc.keepalive_time_ms", 20_000), ("grpc.keepalive_timeout_ms", 60_000))


class WatchedConnection(ControlConnection):
    """Answers with an error what a worker that is gone can no longer answer."""

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
