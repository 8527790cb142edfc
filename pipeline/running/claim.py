"""One run at a time writes into an output folder: a file there says which.

Of the files ledger/claim-<number>.json the one with the highest number counts, and none is ever
deleted. So two runs that take a folder over at once both try to create the same file, of which
local disks and Cloud Storage let one succeed; for other storages see `Storage.create`.
"""

import itertools
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, Final, NamedTuple

from pipeline.options import UsageError
from pipeline.running.process_identity import Process, is_running, this_process
from pipeline.running.run_facts import Job
from transforms.layout import CLAIMS, LEDGERS, claim_name, run_name
from transforms.storage import join, storage_for

RENEWAL_S: Final = 15.0
# A claim of another machine counts as left behind when it was not renewed for so long.
SILENCE_S: Final = 120.0
LOOK_S: Final = 2.0
_RELEASE_S: Final = 10.0
_CLAIM: Final = re.compile(re.escape(CLAIMS) + r"(\d+)\.json")

_held: set[str] = set()  # the runs of this process that claim a folder now

Say = Callable[[str], None]
JobIsOver = Callable[[Job], bool]


class Claim(NamedTuple):
    """What a file says: the run `run_id` writes here, from a process or as a job of Dataflow.

    `renewals` is None until the first one: where nothing may be replaced, none follows.
    """

    run_id: str
    host: str
    process: Process
    renewals: int | None = None
    job: Job | None = None
    is_released: bool = False

    @property
    def holder(self) -> str:
        """In words."""
        if self.job is not None:
            return f"run {self.run_id} (Dataflow job {self.job.id})"
        return f"run {self.run_id} (process {self.process.pid} on {self.host})"

    def packed(self) -> bytes:
        """What stands in the file."""
        job = self.job and self.job._asdict()
        facts = self._asdict() | {"process": self.process._asdict(), "job": job}
        return json.dumps(facts, indent=2).encode()


class LostClaimError(Exception):
    """Another run took the folder over while this one could not renew its claim."""


class HeldOutput:
    """An output folder that this process has claimed, and claims anew every `RENEWAL_S`."""

    def __init__(self, output: str, number: int, claim: Claim, on_loss: Callable[[], None]) -> None:
        """`claim` stands in the file of that `number`."""
        self.loss: LostClaimError | None = None
        self._output, self._number, self._claim = output, number, claim
        self._on_loss = on_loss
        self._end, self._is_released = threading.Event(), False
        self._renewer = threading.Thread(target=self._renew, daemon=True)
        self._renewer.start()

    def pass_to(self, job: Job) -> None:
        """From now on a job holds the folder, whatever becomes of this process.

        Raises:
            OSError: that cannot be written.
        """
        self._end.set()
        self._renewer.join()
        self._write(self._claim._replace(job=job))

    def release(self) -> None:
        """Lets the next run in at once, unless a job holds the folder."""
        self._is_released = self._claim.job is None
        self._end.set()
        # Where the storage does not answer, the next run will see that this process is gone.
        self._renewer.join(_RELEASE_S)

    def _write(self, claim: Claim) -> None:
        self._claim = claim
        storage_for(self._output).write(self._output, claim_name(self._number), claim.packed())

    def _is_lost(self) -> bool:
        """Whether there is a later claim, or ours is not there any more."""
        claim = parse_claim(_content(self._output, self._number))
        is_ours = claim is not None and claim.run_id == self._claim.run_id
        return not is_ours or _content(self._output, self._number + 1) is not None

    def _renew(self) -> None:
        for renewals in itertools.count():
            try:
                if self._is_lost():
                    self.loss = LostClaimError(
                        f"another run has taken over {self._output!r}, where this one had given "
                        f"no sign of itself for {SILENCE_S:g} s, or its claim was deleted"
                    )
                    self._on_loss()
                    return
                self._write(self._claim._replace(renewals=renewals))
            except OSError:  # it may pass, unless nothing may be replaced
                pass
            if self._end.wait(RENEWAL_S):
                break
        if self._is_released:
            with suppress(OSError):
                self._write(self._claim._replace(is_released=True))


@contextmanager
def claimed(
    output: str, run_id: str, say: Say, job_is_over: JobIsOver, on_loss: Callable[[], None]
) -> Iterator[HeldOutput]:
    """Holds an output folder for a run while the block runs; other runs are refused meanwhile.

    Args:
        output: the folder of results.
        run_id: the run.
        say: gets a line for the user, should that take a while.
        job_is_over: whether a job of Dataflow has ended.
        on_loss: called on another thread if another run takes the folder over.

    Raises:
        UsageError: another run holds it, or it cannot be written.
    """
    claim = Claim(run_id, socket.gethostname(), this_process())
    with ExitStack() as at_end:
        _held.add(run_id)
        at_end.callback(_held.remove, run_id)
        try:
            number = _take(output, claim, say, job_is_over)
        except OSError as error:
            reason = error.strerror or error
            raise UsageError(f"--output {output!r} cannot be written: {reason}") from error
        held = HeldOutput(output, number, claim, on_loss)
        at_end.callback(held.release)
        yield held


def _take(output: str, claim: Claim, say: Say, job_is_over: JobIsOver) -> int:
    """Creates the next file; its number."""
    number = _latest(output)
    while number == 0 or _is_left(output, number, say, job_is_over):
        number += 1
        try:
            storage_for(output).create(output, claim_name(number), claim.packed())
            return number
        except FileExistsError:  # another run was faster, or the answer to our own try was lost
            if _content(output, number) == claim.packed():
                return number
    holder = parse_claim(_content(output, number))
    raise UsageError(
        f"--output {output!r} is in use by {holder.holder if holder else 'another run'}: wait for "
        f"its end, or give another folder; if it is surely gone, delete "
        f"{join(output, claim_name(number))}"
    )


def _is_left(output: str, number: int, say: Say, job_is_over: JobIsOver) -> bool:
    """Whether the claim of that number is released, or its run has ended without a word."""
    content = _content(output, number)
    claim = parse_claim(content)
    if content is None:
        return True
    if claim is not None:
        if claim.is_released or _content_of(output, run_name(claim.run_id)) is not None:
            return True
        if claim.job is not None:
            return job_is_over(claim.job)
        if claim.process == this_process():
            return claim.run_id not in _held
        running = is_running(claim.process)
        if running is not None or claim.renewals is None:
            return running is False
    name = claim.holder if claim else "another run"
    say(f"{name} may be at work in {output!r}: looking for a sign of it for {SILENCE_S:g} s")
    return _falls_silent(output, number, content)


def _falls_silent(output: str, number: int, content: bytes) -> bool:
    """Whether a claim is released within `SILENCE_S`, or stays as it is."""
    end = time.monotonic() + SILENCE_S
    while time.monotonic() < end:
        time.sleep(LOOK_S)
        now = _content(output, number)
        if now != content:
            claim = parse_claim(now)
            return now is None or (claim is not None and claim.is_released)
    return True


def _latest(output: str) -> int:
    """The highest number of a claim; 0 if there is none."""
    names = storage_for(output).names(join(output, LEDGERS))
    found = (_CLAIM.fullmatch(f"{LEDGERS}/{name}") for name in names)
    return max((int(match[1]) for match in found if match), default=0)


def _content(output: str, number: int) -> bytes | None:
    return _content_of(output, claim_name(number))


def _content_of(output: str, name: str) -> bytes | None:
    """What a file below `output` holds; None if there is none."""
    path = join(output, name)
    try:
        with storage_for(path).open(path) as file:
            return file.read()
    except FileNotFoundError:
        return None


def parse_claim(content: bytes | None) -> Claim | None:
    """None if it is not whole yet, or is that of another version."""
    try:
        facts: dict[str, Any] = json.loads(content or b"")
        process, job = Process(**facts.pop("process")), facts.pop("job")
        return Claim(**facts, process=process, job=job and Job(**job))
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
