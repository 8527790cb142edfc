"""How much memory the images that are decoded at one time may take together."""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager


class MemoryBudget:
    """Lets each one begin when what it needs fits beside those under way, in order of asking.

    In order, since a large image would wait forever behind small ones that always fit.
    """

    def __init__(self) -> None:
        """Nothing is taken; `waiting` are those that asked and have not begun."""
        self._taken = 0
        self.waiting: deque[object] = deque()
        self._changed = threading.Condition()

    @contextmanager
    def take(self, needed: int, total: int) -> Iterator[None]:
        """Holds `needed` bytes of `total`; more than all of it is held alone."""
        turn = object()
        with self._changed:
            self.waiting.append(turn)
            self._changed.wait_for(
                lambda: (
                    self.waiting[0] is turn and (self._taken == 0 or self._taken + needed <= total)
                )
            )
            self.waiting.popleft()
            self._taken += needed
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._taken -= needed
                self._changed.notify_all()
