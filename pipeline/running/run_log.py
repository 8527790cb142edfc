"""Where warnings, tracebacks and what worker processes print go: a file, not the user's screen."""

import logging
import os
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final, TextIO

from pipeline.console.stopping import is_stopping

_FORMAT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class RunLog(logging.Handler):
    """Log records from warnings on, in a temporary file that is made for the first of them."""

    def __init__(self, verbose: bool = False) -> None:
        """With `verbose` standard error takes the place of the file."""
        super().__init__(logging.WARNING)
        self.setFormatter(logging.Formatter(_FORMAT))
        self._stream: TextIO | None = sys.stderr if verbose else None
        self._path: str | None = None

    def stream(self) -> TextIO:
        """Where all of it is written.

        Raises:
            OSError: no file can be made.
        """
        if self._stream is None:
            descriptor, self._path = tempfile.mkstemp(".log", "mobilenet-beam-")
            self._stream = os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace")
        return self._stream

    def emit(self, record: logging.LogRecord) -> None:
        """Writes one record, unless it tells how a stopped run falls apart."""
        if not is_stopping():
            with suppress(OSError):  # the disk may be full
                print(self.format(record), file=self.stream(), flush=True)

    @property
    def path(self) -> str | None:
        """The file, if anything was written to one."""
        return self._path if self._path and os.path.getsize(self._path) else None

    def keep(self, error: BaseException) -> str:
        """Writes the traceback of an exception; says where it is, or why it is nowhere."""
        try:
            print("".join(traceback.format_exception(error)), file=self.stream(), flush=True)
        except OSError as why:
            return f"in no file ({why.strerror})"
        return f"in {self._path}" if self._path else "above"

    def close(self) -> None:
        """Closes the file, and removes it if nothing was written."""
        super().close()
        if self._stream is not None and self._path is not None:
            with suppress(OSError):  # what the disk has no room for
                self._stream.close()
            if self.path is None:
                os.unlink(self._path)
            self._stream = self._path = None


@contextmanager
def run_log(verbose: bool = False) -> Iterator[RunLog]:
    """Logs what this process logs while the block runs, and what its threads die of."""
    log, root, before = RunLog(verbose), logging.getLogger(), threading.excepthook
    root.addHandler(log)
    threading.excepthook = _log_end_of_thread
    try:
        yield log
    finally:
        threading.excepthook = before
        root.removeHandler(log)
        log.close()


def _log_end_of_thread(end: threading.ExceptHookArgs) -> None:
    name = end.thread.name if end.thread else "a thread"
    logging.getLogger(__name__).error("%s ended", name, exc_info=end.exc_value)
