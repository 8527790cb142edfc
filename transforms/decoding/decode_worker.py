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
    Picture,
    Preprocessing,
    decode_opened,
    open_for_decoding,
)
from transforms.failures import ImageError

# What an image may take beyond its estimate, which leaves out the small things.
_SLACK: Final = 64_000_000
# How much longer than its time on a core an image may take where many processes share the cores.
_WAITING: Final = 4


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
    preprocessing = Preprocessing(*request["preprocessing"])
    # The system ends a process that lets such an alarm ring, even from the midst of a decoder.
    signal.setitimer(signal.ITIMER_PROF, request["time_limit"])
    signal.setitimer(signal.ITIMER_REAL, request["time_limit"] * _WAITING)
    try:
        with _memory_limit(request["memory"] + _SLACK):
            opened = open_for_decoding(content, preprocessing)
            del content
            picture: Picture | ImageError = decode_opened(opened, preprocessing)
    except ImageError as error:
        picture = ImageError(error.error, str(error))  # without what its traceback holds
    for timer in (signal.ITIMER_PROF, signal.ITIMER_REAL):
        signal.setitimer(timer, 0)
    if isinstance(picture, ImageError):
        _write(answers, {"error": picture.error, "message": str(picture)})
    else:
        pixels, width, height, name = picture
        _write(answers, {"width": width, "height": height, "format": name})
        answers.write(pixels.tobytes())


def _write(answers: BinaryIO, answer: dict[str, Any]) -> None:
    answers.write(json.dumps(answer).encode() + b"\n")


@contextlib.contextmanager
def _memory_limit(extra: int) -> Iterator[None]:
    """Lets this process grow by `extra` bytes at most, where the system tells how large it is."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except OSError:  # not Linux
        yield
        return
    most = resource.RLIM_INFINITY
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + extra, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
