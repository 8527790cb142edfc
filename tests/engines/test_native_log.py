"""What native libraries print, seen from another process."""

import subprocess
import sys

SCRIPT = """
import os, sys
from transforms.engines.native_log import native_log_discarded
print("before", file=sys.stderr)
try:
    with native_log_discarded():
        os.write(2, b"native noise\\n")
        {inside}
finally:
    print("after", file=sys.stderr)
"""


def stderr_of(inside: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(inside=inside)], capture_output=True, text=True
    )
    return done.stderr.splitlines()


def test_what_is_printed_while_loading_is_discarded() -> None:
    assert stderr_of("pass") == ["before", "after"]


def test_it_is_shown_when_loading_fails() -> None:
    lines = stderr_of("raise OSError('no such model')")
    assert lines[:3] == ["before", "native noise", "after"]
    assert lines[-1] == "OSError: no such model"
