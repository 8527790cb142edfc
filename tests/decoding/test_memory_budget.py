import threading

import pytest

from tests.helpers.waiting import wait_until
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
        waiting = len(self.budget.waiting)

        def use() -> None:
            with self.budget.take(needed, 10):
                self.inside.append(needed)
                leave.wait(10)
                self.inside.remove(needed)

        self._threads.append(threading.Thread(target=use))
        self._threads[-1].start()
        wait_until(lambda: needed in self.inside or len(self.budget.waiting) > waiting)

    def leave(self, needed: int) -> None:
        self._leave[needed].set()

    def join(self) -> None:
        for leave in self._leave.values():
            leave.set()
        for thread in self._threads:
            thread.join()


def test_what_fits_beside_the_others_begins() -> None:
    users = Users()
    users.take(4)
    users.take(6)
    wait_until(lambda: users.inside == [4, 6])
    users.join()


def test_what_does_not_fit_waits_for_its_turn_and_is_not_overtaken() -> None:
    users = Users()
    users.take(4)
    users.take(7)
    users.take(1)
    assert users.inside == [4]
    users.leave(4)
    wait_until(lambda: users.inside == [7, 1])
    users.join()


def test_more_than_all_of_it_is_held_alone() -> None:
    users = Users()
    users.take(11)
    users.take(1)
    assert users.inside == [11]
    users.leave(11)
    wait_until(lambda: users.inside == [1])
    users.join()


def test_an_error_gives_back_what_was_taken() -> None:
    budget = MemoryBudget()
    with pytest.raises(ZeroDivisionError), budget.take(10, 10):
        raise ZeroDivisionError
    with budget.take(10, 10):
        pass
