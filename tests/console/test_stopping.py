"""Signals to stop: real ones, to processes of their own."""

import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest

from pipeline.console.stopping import Stopped, exit_code_of, interrupt_of
from tests.helpers.model_fixtures import ROOT

# A command that starts with `setup`, then is at work in `body`, and is stopped with `cleanup`.
COMMAND = """
import subprocess, sys, time
import click
from pipeline.console import stopping
from pipeline.console.command import OneLineErrors

@click.command(cls=OneLineErrors)
def main():
    try:
        {setup}
        print("at work", flush=True)
        {body}
    finally:
        print("cleaning up", flush=True)
        {cleanup}
        print("clean", flush=True)

main()
"""
SLEEP = "time.sleep(60)"


def started(
    body: str = SLEEP, cleanup: str = "pass", setup: str = "", **options: object
) -> "subprocess.Popen[str]":
    """A command that is at work."""
    code = COMMAND.format(body=body, cleanup=cleanup, setup=setup)
    process: subprocess.Popen[str] = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        **options,  # type: ignore[call-overload]  # mypy does not follow them
    )
    read_line(process, "at work")
    return process


def read_line(process: "subprocess.Popen[str]", line: str) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == f"{line}\n"


def end_of(process: "subprocess.Popen[str]") -> tuple[int, list[str], str]:
    """Its exit code, the lines that it still printed, and standard error."""
    out, err = process.communicate(timeout=30)
    return process.returncode, out.splitlines(), err.strip()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_lets_a_command_clean_up(number: signal.Signals, code: int) -> None:
    process = started()
    process.send_signal(number)
    assert end_of(process) == (code, ["cleaning up", "clean"], "")


def test_a_second_signal_ends_it_at_once() -> None:
    process = started(cleanup=SLEEP)
    process.terminate()
    read_line(process, "cleaning up")
    while process.poll() is None:
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
    assert end_of(process) == (143, [], "ended at once; finished shards are kept")


def test_a_signal_that_is_sent_twice_is_one() -> None:
    """As `timeout` does."""
    process = started(cleanup="time.sleep(1)")
    for _ in range(5):
        process.terminate()
        time.sleep(0.01)
    assert end_of(process) == (143, ["cleaning up", "clean"], "")


def test_cleaning_up_takes_a_bounded_time() -> None:
    process = started(cleanup=SLEEP, setup="stopping.GRACE_S = 0.1")
    process.terminate()
    assert end_of(process) == (143, ["cleaning up"], "ended at once; finished shards are kept")


def test_threads_that_hang_do_not_outlive_the_command() -> None:
    hang = "import threading; threading.Thread(target=time.sleep, args=[60]).start()"
    process = started(setup=f"stopping.GRACE_S = 0.5; {hang}")
    process.terminate()
    said = "ended at once; finished shards are kept"
    assert end_of(process) == (143, ["cleaning up", "clean"], said)


def test_child_processes_are_killed() -> None:
    child = "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])"
    process = started(
        setup=f"{child}; stopping.on_stop(child.kill)", cleanup="print(child.wait(), flush=True)"
    )
    process.terminate()
    assert end_of(process) == (143, ["cleaning up", "-9", "clean"], "")


def test_a_signal_that_is_ignored_stays_so() -> None:
    """As of a command that `nohup` or a script has put into the background."""

    def ignore() -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    process = started(body="input()", stdin=subprocess.PIPE, preexec_fn=ignore)
    process.send_signal(signal.SIGINT)
    assert process.stdin is not None
    with suppress(BrokenPipeError):
        process.stdin.write("\n")
        process.stdin.flush()
    assert end_of(process)[:2] == (0, ["cleaning up", "clean"])


def test_a_thread_can_stop_its_process() -> None:
    body = (
        "import threading; threading.Timer(0.1, stopping.stop_this_process).start(); "
        "threading.Event().wait()"
    )
    assert end_of(started(body=body)) == (143, ["cleaning up", "clean"], "")


def test_an_interrupt_is_found_below_what_was_raised_from_it() -> None:
    stopped = Stopped(signal.SIGTERM)
    wrapped = RuntimeError("while running")
    wrapped.__cause__ = stopped
    while_handling = OSError("full")
    while_handling.__context__ = wrapped
    assert interrupt_of(while_handling) is stopped
    assert exit_code_of(while_handling) == 143
    assert exit_code_of(KeyboardInterrupt()) == 130
    assert interrupt_of(OSError("full")) is None
    assert str(stopped) == "stopped by SIGTERM"
