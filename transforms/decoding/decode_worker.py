"""The process that decodes large images for another one; see `guarded_decoder`."""

import contextlib
import json
import os
import resource
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

from transforms.decoding.decode_image import (
    Preprocessing,
    decode_opened,
    open_for_decoding,
)
from transforms.failures import ImageError

# In place of a reason, where the memory that was allowed did not do.
OUT_OF_MEMORY: Final = "out of memory"


def serve() -> None:
    """Decodes what comes on standard input until that ends, as it does with the other process."""
    for number in (signal.SIGINT, signal.SIGTERM):  # terminals and systemd send them to both
        signal.signal(number, signal.SIG_IGN)
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDWR), 1)  # whatever a library may say
    while line := requests.readline():
        request = json.loads(line)
        _answer(answers, request, requests.read(request["byte_size"]))
        answers.flush()


def _answer(answers: BinaryIO, request: dict[str, Any], content: bytes) -> None:
    preprocessing, pixels = Preprocessing(*request["preprocessing"]), b""
    # The system ends a process that lets this alarm ring, even from the midst of a decoder.
    signal.setitimer(signal.ITIMER_PROF, request["time_limit"])
    try:
        with _memory_limit(request["memory"]):
            opened = open_for_decoding(content, preprocessing)
            del content
            picture = decode_opened(opened, preprocessing)
        answer = {"width": picture.width, "height": picture.height, "format": picture.format}
        pixels = picture.pixels.tobytes()
    except MemoryError:
        answer = {"error": OUT_OF_MEMORY}
    except ImageError as error:
        answer = {"error": error.error, "message": str(error)}
        if isinstance(error.__cause__, MemoryError):
            answer = {"error": OUT_OF_MEMORY}
    signal.setitimer(signal.ITIMER_PROF, 0)
    answers.write(json.dumps(answer).encode() + b"\n" + pixels)


@contextlib.contextmanager
def _memory_limit(extra: int) -> Iterator[None]:
    """Lets this process grow by `extra` bytes at most, and never beyond limits of the system."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except OSError:  # not Linux
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_AS)
    most = pages * resource.getpagesize() + extra
    lowest = min([most, *(limit for limit in before if limit != resource.RLIM_INFINITY)])
    resource.setrlimit(resource.RLIMIT_AS, (lowest, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
