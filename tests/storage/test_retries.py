"""How long a call is tried again: alone, while others succeed, and while the storage is out."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.helpers.waiting import wait_until
from transforms.storage.retries import Retries

QUICK = (0.001, 0.005)
MANY = 8


class FaultError(Exception):
    """One that may pass."""


def may_pass(error: Exception) -> bool:
    return isinstance(error, FaultError)


class Source:
    """Answers, or fails until it is told not to."""

    def __init__(self, fails: bool = True) -> None:
        self.fails, self.calls = fails, 0

    def __call__(self) -> str:
        self.calls += 1
        if self.fails:
            raise FaultError("no")
        return "answer"


def answers_at_last() -> Callable[[], str]:
    """What fails three times."""
    source = Source()

    def answer() -> str:
        source.fails = source.calls < 3
        return source()

    return answer


def test_a_fault_that_passes_is_not_seen() -> None:
    assert Retries(delays_s=QUICK).call(answers_at_last(), 10, may_pass) == "answer"


def test_what_cannot_pass_is_raised_at_once() -> None:
    calls = []

    def broken() -> None:
        calls.append(1)
        raise ValueError("wrong")

    with pytest.raises(ValueError, match="wrong"):
        Retries(delays_s=QUICK).call(broken, 10, may_pass)
    assert len(calls) == 1


def test_pauses_grow_up_to_the_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    retries, pauses = Retries(delays_s=(1.0, 5.0)), list[float]()
    source = Source()

    def wait(seconds: float) -> bool:
        pauses.append(seconds)
        source.fails = len(pauses) < 5
        return False

    monkeypatch.setattr(retries._stopped, "wait", wait)
    assert retries.call(source, 100, may_pass) == "answer"
    for pause, longest in zip(pauses, (1, 2, 4, 5, 5), strict=True):
        assert longest / 2 <= pause <= longest


def test_a_call_that_fails_alone_is_given_up_after_its_own_time() -> None:
    retries = Retries(outage_s=60, delays_s=QUICK)
    for _ in range(MANY):  # of faults that have passed none is left
        retries.call(answers_at_last(), 10, may_pass)
    stop = threading.Event()
    good = Source(fails=False)

    def others() -> None:
        while not stop.wait(0.005):
            retries.call(good, 10, may_pass)

    thread = threading.Thread(target=others)
    thread.start()
    start = time.monotonic()
    with pytest.raises(FaultError):
        retries.call(Source(), 0.1, may_pass)
    assert 0.1 <= time.monotonic() - start < 5
    stop.set()
    thread.join()


def test_many_calls_that_fail_wait_until_the_storage_is_back() -> None:
    retries, source = Retries(outage_s=60, delays_s=QUICK), Source()
    with ThreadPoolExecutor(MANY) as pool:
        calls = [pool.submit(retries.call, source, 0.3, may_pass) for _ in range(MANY)]
        wait_until(lambda: retries.seconds_failing() > 1)  # three times their own time
        assert not any(call.done() for call in calls)
        source.fails = False
        assert [call.result() for call in calls] == ["answer"] * MANY
    assert retries.seconds_failing() == 0


def test_an_outage_is_waited_for_so_long_and_once() -> None:
    retries, source = Retries(outage_s=1.5, delays_s=QUICK), Source()
    start = time.monotonic()
    seconds = []
    for _ in range(2):
        with ThreadPoolExecutor(MANY) as pool:
            for call in [pool.submit(retries.call, source, 0.3, may_pass) for _ in range(MANY)]:
                assert isinstance(call.exception(), FaultError)
        seconds.append(time.monotonic() - start)
        start = time.monotonic()
    assert seconds[0] >= 1.5
    assert seconds[1] < 1.5  # it has been out for so long already


def test_a_person_is_told_what_the_storage_fails_with_and_no_more_once_it_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    retries, source = Retries(delays_s=QUICK), Source()
    monkeypatch.setattr("transforms.storage.retries._SAID_AFTER_S", 0.1)
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(retries.call, source, 60, may_pass)
        wait_until(lambda: source.calls > 0)
        assert retries.outage() == ""
        wait_until(lambda: retries.outage() != "")
        assert (
            retries.outage()
            == "the storage has failed for 0 s (FaultError): waiting, at most 10 min"
        )
        source.fails = False
        call.result()
    assert retries.outage() == ""


def test_a_process_that_stops_does_not_wait() -> None:
    retries, source = Retries(delays_s=(60.0, 60.0)), Source()
    with ThreadPoolExecutor(MANY) as pool:
        calls = [pool.submit(retries.call, source, 600, may_pass) for _ in range(MANY)]
        wait_until(lambda: source.calls == MANY)
        retries.stop()
        for call in calls:
            assert isinstance(call.exception(timeout=10), FaultError)
    assert source.calls == MANY
    source.fails = False
    assert retries.call(source, 1, may_pass) == "answer"
