"""Processes, told apart from later ones of the same number."""

import subprocess
import sys

from pipeline.running import process_identity
from pipeline.running.process_identity import Process, is_running, this_process

ASLEEP = [sys.executable, "-c", "input()"]
SAY = "from pipeline.running.process_identity import this_process; print(list(this_process()))"


def identity_of_another() -> Process:
    """What another process says of itself; it is gone."""
    said = subprocess.run([sys.executable, "-c", SAY], capture_output=True, text=True, check=True)
    pid, place, start = eval(said.stdout)
    return Process(pid, place, start)


def test_this_process_runs_and_one_of_its_number_that_began_earlier_does_not() -> None:
    process = this_process()
    assert is_running(process) is True
    assert is_running(process._replace(start="1")) is False


def test_another_process_of_this_system_is_seen_to_be_gone() -> None:
    process = identity_of_another()
    assert process.place == this_process().place
    assert is_running(process) is False


def test_a_process_that_nobody_has_collected_yet_does_not_run() -> None:
    with subprocess.Popen(ASLEEP, stdin=subprocess.PIPE) as asleep:
        start = process_identity._start(asleep.pid)
        process = this_process()._replace(pid=asleep.pid, start=start)
        assert is_running(process) is True
        asleep.kill()
        while is_running(process):
            pass
        assert asleep.returncode is None  # a zombie: `wait` comes after this
    assert is_running(process) is False


def test_of_a_process_that_may_be_elsewhere_nothing_is_known() -> None:
    process = this_process()
    assert is_running(process._replace(place="another boot")) is None
    assert is_running(process._replace(place=None)) is None
    assert is_running(process._replace(start=None)) is None
