"""Processes, told apart from later ones of the same number."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.running.process_identity import Process, is_running, this_process
from tests.helpers.model_fixtures import ROOT
from tests.helpers.waiting import wait_until

SAY_AND_WAIT = """
import json
from pipeline.running.process_identity import this_process
print(json.dumps(this_process()), flush=True)
input()
"""


@contextmanager
def another() -> Iterator[tuple[subprocess.Popen[str], Process]]:
    """A process that waits, and what it says of itself."""
    command = [sys.executable, "-c", SAY_AND_WAIT]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        yield process, Process(*json.loads(process.stdout.readline()))
        process.kill()


def test_this_process_runs_and_one_of_its_number_that_began_earlier_does_not() -> None:
    process = this_process()
    assert is_running(process) is True
    assert is_running(process._replace(start="1")) is False


def test_another_process_runs_until_it_is_killed() -> None:
    with another() as (running, process):
        assert process.place == this_process().place
        assert process.pid == running.pid
        assert is_running(process) is True
    assert is_running(process) is False


def test_a_process_that_nobody_has_collected_yet_does_not_run() -> None:
    with another() as (running, process):
        running.kill()
        wait_until(lambda: not is_running(process))
        assert running.returncode is None  # a zombie: `wait` comes after this
        assert is_running(process) is False


def test_of_a_process_that_may_be_elsewhere_nothing_is_known() -> None:
    process = this_process()
    assert is_running(process._replace(place="another boot")) is None
    assert is_running(process._replace(place=None)) is None
    assert is_running(process._replace(start=None)) is None
