"""What can be wrong with a model, said so that a person can mend it."""

import difflib
from collections.abc import Iterable


class ModelError(ValueError):
    """The model, its weights or its labels cannot be used; the message says what would work."""


def nearest(value: str, known: Iterable[str]) -> str:
    """`" (did you mean 'x'?)"` for the nearest known value, or nothing."""
    found = difflib.get_close_matches(value, list(known), n=1)
    return f" (did you mean {found[0]!r}?)" if found else ""
