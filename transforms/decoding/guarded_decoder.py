"""Decodes an image in a process apart, which can be given up: for the few that take much."""

import atexit
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from typing import Final

import numpy as np

from transforms.decoding.decode_image import Picture, Preprocessing
from transforms.failures import ImageError

# On a core; the slowest image within the default limits that was measured takes 5 s.
TIME_LIMIT_S: Final = 8.0

_WORKER: Final = """
import sys
sys.path[:] = sys.argv[1:]
from transforms.decoding.decode_worker import serve
serve()
"""
# Memory goes back to the system when an image is done, and NumPy starts no threads.
_ENVIRONMENT: Final = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": "1000000",
    "OPENBLAS_NUM_THREADS": "1",
}


class GuardedDecoder:
    """Processes that decode one image at a time, each started when all others are at work."""

    def __init__(self, time_limit: float = TIME_LIMIT_S) -> None:
        """Starts nothing. `time_limit` is in seconds, for one image."""
        self._time_limit = time_limit
        self._lock = threading.Lock()
        self._idle: list[subprocess.Popen[bytes]] = []
        atexit.register(self.close)

    def decode(
        self, content: bytes, preprocessing: Preprocessing, memory: int, what: str
    ) -> Picture:
        """The picture; `memory` is what the process may take for it, `what` names the image.

        Raises:
            ImageError: what decoding raises, too_many_pixels for want of memory, too_slow, or
                corrupt for an image that ended the process.
        """
        worker = self._waiting_worker() or _start()
        try:
            answer = self._ask(worker, content, preprocessing, memory)
        except (OSError, EOFError, ValueError) as error:
            raise self._death(worker, what) from error
        except BaseException:
            _end(worker)
            raise
        with self._lock:
            self._idle.append(worker)
        if isinstance(answer, ImageError):
            raise answer
        return answer

    def close(self) -> None:
        """Ends the processes that wait for work."""
        with self._lock:
            idle, self._idle = self._idle, []
        for worker in idle:
            _end(worker)

    def _waiting_worker(self) -> subprocess.Popen[bytes] | None:
        with self._lock:
            while self._idle:
                worker = self._idle.pop()
                if worker.poll() is None:
                    return worker
                _end(worker)  # by somebody else
        return None

    def _ask(
        self,
        worker: subprocess.Popen[bytes],
        content: bytes,
        preprocessing: Preprocessing,
        memory: int,
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
        answer = json.loads(worker.stdout.readline())
        if "error" in answer:
            return ImageError(answer["error"], answer["message"])
        side = preprocessing.image_size
        pixels = worker.stdout.read(side * side * 3)
        shaped = np.frombuffer(pixels, np.uint8).reshape(side, side, 3)
        return Picture(shaped, answer["width"], answer["height"], answer["format"])

    def _death(self, worker: subprocess.Popen[bytes], what: str) -> ImageError:
        """The reason that the end of the process tells."""
        _end(worker)
        code = worker.returncode
        if code in (-signal.SIGPROF, -signal.SIGALRM):
            limit = f"{self._time_limit:g} seconds"
            return ImageError("too_slow", f"{what} pixels was not decoded within {limit}")
        if code == -signal.SIGKILL:
            why = "was ended by the system, as a rule for want of memory"
            return ImageError("too_many_pixels", f"the process that decoded {what} pixels {why}")
        if code < 0:
            ended = f"{what} pixels ended the process that decoded it"
            return ImageError("corrupt", f"{ended} ({signal.Signals(-code).name})")
        raise RuntimeError(f"the process that decodes large images ended with exit code {code}")


def _start() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", _WORKER, *sys.path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **_ENVIRONMENT},
    )


def _end(worker: subprocess.Popen[bytes]) -> None:
    """The process ends with its input, or has ended."""
    assert worker.stdin is not None
    assert worker.stdout is not None
    with contextlib.suppress(OSError):  # nobody reads the rest any more
        worker.stdin.close()
    worker.stdout.close()
    worker.wait()
