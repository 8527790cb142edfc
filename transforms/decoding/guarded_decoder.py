"""Decodes an image in a process apart, which can be given up: for the few that take much."""

import atexit
import contextlib
import functools
import io
import json
import os
import signal
import subprocess
import sys
import threading
from typing import Final

import numpy as np
from PIL import Image

from transforms.decoding.decode_image import Picture, Preprocessing
from transforms.decoding.decode_worker import OUT_OF_MEMORY
from transforms.decoding.memory_budget import MemoryBudget
from transforms.failures import ImageError

# On a core; the slowest image within the default limits that was measured takes 5 s.
TIME_LIMIT_S: Final = 8.0
# How much longer than that an image may take by the clock, where processes share the cores.
_WAITING: Final = 4

_WORKER: Final = """
import sys
sys.path[:] = sys.argv[1:]
from transforms.decoding.decode_worker import serve
serve()
"""
# Large memory goes back to the system when an image is done, what a decoder might leave unfilled is
# the same each time, and NumPy starts no threads.
_ENVIRONMENT: Final = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_PERTURB_": "85",
    "MALLOC_MMAP_THRESHOLD_": "8000000",
    "MALLOC_TRIM_THRESHOLD_": "16000000",
    "OPENBLAS_NUM_THREADS": "1",
}
_LONGEST_ANSWER: Final = 10_000
_LONGEST_EXIT_S: Final = 1.0
_HARMLESS_MEMORY: Final = 50_000_000


class ProcessEndedError(ImageError):
    """The process that decoded an image ended, or was ended, before it answered."""


class TooLittleMemoryError(ImageError):
    """An image was not decoded for want of memory."""


class GuardedDecoder:
    """Processes that decode one image at a time, each started when all others are at work."""

    def __init__(
        self, budget: MemoryBudget, time_limit: float = TIME_LIMIT_S, program: str = _WORKER
    ) -> None:
        """Starts nothing. `time_limit` is in seconds, for one image; `program` is in Python."""
        self._budget = budget
        self._time_limit = time_limit
        self._program = program
        self._lock = threading.Lock()
        self._idle: list[subprocess.Popen[bytes]] = []
        atexit.register(self.close)

    def decode(
        self, content: bytes, preprocessing: Preprocessing, memory: int, most: int, what: str
    ) -> Picture:
        """The picture, decoded in `memory` bytes; `what` names the image.

        Where the process ends, or has too little memory, a new one tries once more with `most`.

        Raises:
            ImageError: what decoding raises, too_many_pixels for want of memory, too_slow, or
                corrupt for an image that ended both processes.
            RuntimeError: no process can decode even a harmless image.
        """
        try:
            with self._budget.take(memory, most):
                return self._decode(self._waiting_worker(), content, preprocessing, memory, what)
        except ProcessEndedError:
            pass
        except TooLittleMemoryError:
            if memory >= most:
                raise
        with self._budget.take(most, most):
            self._end_waiting_worker()  # in whose place the new one comes
            try:
                return self._decode(None, content, preprocessing, most, what)
            except ProcessEndedError:
                self._check()
                raise

    def close(self) -> None:
        """Ends the processes that wait for work."""
        with self._lock:
            idle, self._idle = self._idle, []
        for worker in idle:
            _end(worker)

    def _waiting_worker(self) -> subprocess.Popen[bytes] | None:
        with self._lock:
            return self._idle.pop() if self._idle else None

    def _end_waiting_worker(self) -> None:
        if worker := self._waiting_worker():
            _end(worker)

    def _decode(
        self,
        worker: subprocess.Popen[bytes] | None,
        content: bytes,
        preprocessing: Preprocessing,
        memory: int,
        what: str,
    ) -> Picture:
        """By `worker`, or a new one, which is kept for the next image if it answers."""
        try:
            worker = worker or self._start()
        except OSError as error:
            why = f"no process starts to decode {what}: {error}"
            raise ProcessEndedError("corrupt", why) from error
        is_late = threading.Event()

        def give_up() -> None:
            is_late.set()
            worker.kill()

        alarm = threading.Timer(self._time_limit * _WAITING, give_up)
        alarm.start()
        try:
            answer = self._ask(worker, content, preprocessing, memory, what)
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise self._reason(worker, what, is_late.is_set()) from error
        except BaseException:
            _end(worker)
            raise
        finally:
            alarm.cancel()
        with self._lock:
            self._idle.append(worker)
        if isinstance(answer, ImageError):
            raise answer
        return answer

    def _ask(
        self,
        worker: subprocess.Popen[bytes],
        content: bytes,
        preprocessing: Preprocessing,
        memory: int,
        what: str,
    ) -> Picture | ImageError:
        assert worker.stdin is not None
        assert worker.stdout is not None
        request = {
            "preprocessing": preprocessing,
            "byte_size": len(content),
            "memory": memory,
            "time_limit": self._time_limit,
        }
        worker.stdin.write(json.dumps(request).encode() + b"\n")
        worker.stdin.write(content)
        worker.stdin.flush()
        answer = json.loads(worker.stdout.readline(_LONGEST_ANSWER))
        if answer.get("error") == OUT_OF_MEMORY:
            needs = f"{what} needs more than {memory // 10**6:,} MB to decode"
            why = f"{needs}; raise --max-pixels to raise both"
            return TooLittleMemoryError("too_many_pixels", why)
        if "error" in answer:
            return ImageError(answer["error"], answer["message"])
        side = preprocessing.image_size
        pixels = worker.stdout.read(side * side * 3)
        shaped = np.frombuffer(pixels, np.uint8).reshape(side, side, 3)
        return Picture(shaped, answer["width"], answer["height"], answer["format"])

    def _reason(self, worker: subprocess.Popen[bytes], what: str, is_late: bool) -> ImageError:
        """Why a process gave no answer, as its end tells; it is ended if it goes on."""
        end = _end(worker)
        if is_late:
            limit = f"{self._time_limit * _WAITING:g} seconds by the clock"
            return ProcessEndedError("too_slow", f"{what} was not decoded within {limit}")
        if end == "SIGPROF":
            limit = f"{self._time_limit:g} seconds"
            return ImageError("too_slow", f"{what} was not decoded within {limit}")
        if end == "SIGKILL":
            why = "was ended by the system, as a rule for want of memory"
            return ProcessEndedError("too_many_pixels", f"the process that decoded {what} {why}")
        return ProcessEndedError(
            "corrupt", f"the process that decoded {what} gave no answer but {end}"
        )

    def _check(self) -> None:
        """Raises RuntimeError if no process can decode a harmless image."""
        as_asked = Preprocessing(8, "crop", 64)
        try:
            self._decode(None, _harmless_image(), as_asked, _HARMLESS_MEMORY, "a harmless image")
        except ImageError as error:
            raise RuntimeError(
                f"images that take much are decoded in processes apart, and none can run: {error}; "
                "give this one more memory and processes (ulimit -v, ulimit -u)"
            ) from error

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-c", self._program, *sys.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **_ENVIRONMENT},
        )


def _end(worker: subprocess.Popen[bytes]) -> str:
    """Ends a process, and tells what it gave: a signal, or an exit code and its last words."""
    assert worker.stdin is not None
    assert worker.stdout is not None
    assert worker.stderr is not None
    with contextlib.suppress(OSError):  # nobody reads the rest any more
        worker.stdin.close()
    worker.stdout.close()
    try:
        worker.wait(_LONGEST_EXIT_S)
    except subprocess.TimeoutExpired:
        worker.kill()
        worker.wait()
        return "nothing that can be read"
    with worker.stderr:
        words = worker.stderr.read().decode(errors="replace").split("\n")
    if worker.returncode < 0:
        return signal.Signals(-worker.returncode).name
    return ", ".join((f"exit code {worker.returncode}", *words[-2:-1]))


@functools.cache
def _harmless_image() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG")
    return file.getvalue()
