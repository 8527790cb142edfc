"""A worker process that dies fails its run; Beam's own runner would wait for it forever.

Beam 2.77's `FnApiRunner` hands out work over a connection to each worker (external workers, and
those of `--direct_running_mode=multi_processing`). When that connection breaks, the thread that
reads it ends and whoever waits for an answer is never told. Runners on other machines notice by
themselves.
"""

from typing import Any

import grpc
from apache_beam.portability.api import beam_fn_api_pb2
from apache_beam.runners.portability.fn_api_runner import worker_handlers
from apache_beam.runners.portability.fn_api_runner.worker_handlers import ControlConnection

LOST = "a worker process ended in the middle of its work: it was killed, or ran out of memory"


class WatchedConnection(ControlConnection):
    """Answers with an error what a worker that is gone can no longer answer."""

    _gone = False

    def _read(self) -> None:
        try:
            super()._read()
        except grpc.RpcError:  # how the stream of a process that died ends
            pass
        finally:
            self._gone = True
            for instruction in list(self._futures_by_id):
                self._answer(instruction)

    def push(self, req: Any) -> Any:
        """Sends a request; the future it returns is always answered."""
        future = super().push(req)
        if self._gone and future is not None:
            self._answer(future.instruction_id)
        return future

    def _answer(self, instruction: str) -> None:
        future = self._futures_by_id.pop(instruction, None)
        if future is not None:
            future.set(beam_fn_api_pb2.InstructionResponse(instruction_id=instruction, error=LOST))


def notice_lost_workers() -> None:
    """From now on the runners of this process fail when a worker is lost."""
    vars(worker_handlers)["ControlConnection"] = WatchedConnection
