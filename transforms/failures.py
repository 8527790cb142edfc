"""Why an image has no prediction: a small closed set of reasons."""

from typing import Final, Literal, NamedTuple

Stage = Literal["list", "read", "decode", "classify"]

# True where a later try may succeed with the input as it is.
RETRYABLE: Final[dict[str, bool]] = {
    "not_found": False,
    "permission_denied": False,
    "not_a_file": False,
    "unreadable": True,
    "empty": False,
    "too_many_bytes": False,
    "not_an_image": False,
    "unsupported_format": False,
    "truncated": False,
    "corrupt": False,
    "too_many_pixels": False,
    "too_slow": True,
    "not_finite": False,
    "out_of_memory": True,
    "inference_failed": True,
}

_LONGEST_MESSAGE = 500


class Failure(NamedTuple):
    """One image's reason, as it stands in its row."""

    error: str
    stage: Stage
    message: str

    @property
    def retryable(self) -> bool:
        """Whether `--resume` should try this image again."""
        return RETRYABLE[self.error]


class ImageError(Exception):
    """Raised by the pure functions for an image that fails; becomes a `Failure`."""

    def __init__(self, error: str, message: str) -> None:
        """`error` is a key of `RETRYABLE`; `message` names the value and the cause."""
        if error not in RETRYABLE:
            raise ValueError(f"unknown error reason {error!r}; use one of {sorted(RETRYABLE)}")
        super().__init__(message)
        self.error = error

    def at(self, stage: Stage) -> Failure:
        """The failure record of this error, its message in one bounded, printable line."""
        return Failure(self.error, stage, printable(str(self)))


def printable(text: str) -> str:
    """`text` in one line of at most 500 printable characters, other characters escaped."""
    line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return line if len(line) <= _LONGEST_MESSAGE else line[: _LONGEST_MESSAGE - 1] + "…"


def too_many_pixels(what: str, limit: int) -> ImageError:
    """The error of an image of `what` size that is refused by its header, before decoding."""
    return ImageError(
        "too_many_pixels",
        f"{what} pixels is more than the limit of {limit:,}; raise --max-pixels to take it",
    )


def too_much_memory(what: str, needed: int, limit: int) -> ImageError:
    """The error of an image that cannot be decoded in `limit` bytes, which follow from pixels."""
    needs = f"{what} needs about {needed // 10**6:,} MB to decode"
    return ImageError(
        "too_many_pixels",
        f"{needs}, more than the limit of {limit // 10**6:,} MB; raise --max-pixels to raise both",
    )
