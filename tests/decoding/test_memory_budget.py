import threading
import time
from collections.abc import Callable

import pytest

from transforms.decoding.memory_budget import MemoryBudget


class Users:
    """Threads that take from one budget of ten, and wait within for a word."""

    def __init__(self) -> None:
        self.budget = MemoryBudget()
        self.inside: list[int] = []
        self._threads: list[threading.Thread] = []
        self._leave: dict[int, threading.Event] = {}

    def take(self, needed: int) -> None:
        leave = self._leave[needed] = threading.Event()

        def use() -> None:
            with self.budget.take(needed, 10):
                self.inside.append(needed)
                leave.wait(10)
                self.inside.remove(needed)

        self._threads.append(threading.Thread(target=use))
        self._threads[-1].start()
        time.sleep(0.02)  # the order of asking is that of starting

    def leave(self, needed: int) -> None:
        self._leave[needed].set()

    def join(self) -> None:
        for leave in self._leave.values():
            leave.set()
        for thread in self._threads:
            thread.join()


def soon(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + 5
    while not condition() and time.monotonic() < end:
        time.sleep(0.002)
    return condition()


def test_what_fits_beside_the_others_begins() -> None:
    users = Users()
    users.take(4)
    users.take(6)
    assert soon(lambda: users.inside == [4, 6])
    users.join()


def test_what_does_not_fit_waits_for_its_turn_and_is_not_overtaken() -> None:
    users = Users()
    users.take(4)
    users.take(7)
    users.take(1)
    assert users.inside == [4]
    users.leave(4)
    assert soon(lambda: users.inside == [7, 1])
    users.join()


def test_more_than_all_of_it_is_held_alone() -> None:
    users = Users()
    users.take(11)
    users.take(1)
    assert users.inside == [11]
    users.leave(11)
    assert soon(lambda: users.inside == [1])
    users.join()


def test_an_error_gives_back_what_was_taken() -> None:
    budget = MemoryBudget()
    with pytest.raises(ZeroDivisionError), budget.take(10, 10):
        raise ZeroDivisionError
    with budget.take(10, 10):
        pass
