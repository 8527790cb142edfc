"""Workers that are gone, as Beam's runner is told; the runs themselves are in test_portable.py."""

import time
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from apache_beam.portability.api import beam_fn_api_pb2
from apache_beam.runners.portability.fn_api_runner import worker_handlers

from pipeline.running import workers
from pipeline.running.workers import (
    LOST,
    NEVER_CONNECTED,
    WatchedConnection,
    notice_lost_workers,
)


@pytest.fixture
def beam_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the test replaces in Beam is put back."""
    for name in ("ControlConnection", "grpc"):
        monkeypatch.setattr(worker_handlers, name, vars(worker_handlers)[name])


def pushed(connection: WatchedConnection) -> Any:
    """The future of a request."""
    return connection.push(beam_fn_api_pb2.InstructionRequest())


def test_a_worker_that_never_connects_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "CONNECT_S", 0.05)
    connection = WatchedConnection()
    waiting = [pushed(connection), pushed(connection)]
    assert [future.get(5).error for future in waiting] == [NEVER_CONNECTED] * 2
    assert pushed(connection).get(5).error == NEVER_CONNECTED


def test_a_worker_that_connects_in_time_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "CONNECT_S", 0.05)
    connection = WatchedConnection()
    future = pushed(connection)

    def answers() -> Iterator[beam_fn_api_pb2.InstructionResponse]:
        time.sleep(0.2)
        yield beam_fn_api_pb2.InstructionResponse(instruction_id=future.instruction_id)

    connection.set_input(answers())
    assert future.get(5).error == ""
    connection._read_thread.join()
    assert pushed(connection).get(5).error == LOST


def test_servers_ask_workers_that_are_silent_whether_they_are_there(
    monkeypatch: pytest.MonkeyPatch, beam_as_it_is: None
) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr(grpc, "server", lambda *_, options: given.update(options))
    notice_lost_workers()
    vars(worker_handlers)["grpc"].server(None, options=[("grpc.max_send_message_length", -1)])
    assert given == {
        "grpc.max_send_message_length": -1,
        "grpc.keepalive_time_ms": 20_000,
        "grpc.keepalive_timeout_ms": 60_000,
    }
