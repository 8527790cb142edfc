"""Who may write into an output folder, on a local disk and on Cloud Storage."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from pipeline.options import UsageError
from pipeline.running import claim as claims
from pipeline.running.claim import Claim, HeldOutput, claimed, parse_claim
from pipeline.running.process_identity import Process, this_process
from pipeline.running.run_facts import Job
from tests.helpers.model_fixtures import ROOT
from transforms.layout import claim_name, own_prefixes
from transforms.storage import storage_for
from transforms.storage.local import LocalStorage

JOB = Job("job-1", "p", "europe-west4")
ELSEWHERE = Claim("r-1", "host-1", Process(17, "another boot", "1"), renewals=0)


@pytest.fixture(params=["local", "gs"])
def output(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A folder of either kind that does not exist yet."""
    if request.param == "local":
        yield str(tmp_path / "out")
        return
    request.getfixturevalue("cloud")
    client = storage.Client("test", credentials=AnonymousCredentials())
    client.create_bucket(f"claim-{tmp_path.name.replace('_', '-')}")
    client.close()
    yield f"gs://claim-{tmp_path.name.replace('_', '-')}/out"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Claims of other machines are judged within a fifth of a second."""
    monkeypatch.setattr(claims, "SILENCE_S", 0.2)
    monkeypatch.setattr(claims, "LOOK_S", 0.02)


class Run:
    """One that claims `output`; `said`, `lost` and `asked` are what came of it."""

    def __init__(self, run_id: str, is_over: bool = False) -> None:
        self.run_id, self._is_over = run_id, is_over
        self.said: list[str] = []
        self.asked: list[Job] = []
        self.lost = threading.Event()

    def claim(self, output: str) -> Any:
        return claimed(output, self.run_id, self.said.append, self._job_is_over, self.lost.set)

    def _job_is_over(self, job: Job) -> bool:
        self.asked.append(job)
        return self._is_over


def facts(output: str, number: int) -> dict[str, Any]:
    """What the file of that number says."""
    path = f"{output}/{claim_name(number)}"
    with storage_for(path).open(path) as file:
        found: dict[str, Any] = json.load(file)
    return found


def put(output: str, claim: Claim, number: int = 1) -> None:
    """Leaves a claim of another process in `output`."""
    storage_for(output).write(output, claim_name(number), claim.packed())


def held(output: str, run: Run) -> bool:
    """Whether a run can claim the folder; it releases it again."""
    with run.claim(output):
        return True


def refusal(output: str, run: Run) -> str:
    with pytest.raises(UsageError) as refused:
        held(output, run)
    return str(refused.value)


def test_names_of_claims_are_never_inputs() -> None:
    assert claim_name(7) == "ledger/claim-00007.json"
    assert claim_name(7).startswith(own_prefixes())


def test_a_folder_that_is_held_is_refused_in_one_line(output: str) -> None:
    with Run("r-1").claim(output):
        said = facts(output, 1)
        pid, host = said["process"]["pid"], said["host"]
        assert refusal(output, Run("r-2")) == (
            f"--output {output!r} is in use by run r-1 (process {pid} on {host}): wait for its "
            "end, or give another folder; if it is surely gone, delete "
            f"{output}/ledger/claim-00001.json"
        )
    assert (said["run_id"], said["is_released"]) == ("r-1", False)
    assert facts(output, 1)["is_released"] is True


def test_runs_after_each_other_add_a_file_each_and_delete_none(output: str) -> None:
    for number in (1, 2, 3):
        assert held(output, Run(f"r-{number}"))
    names = storage_for(output).names(f"{output}/ledger")
    assert names == ["claim-00001.json", "claim-00002.json", "claim-00003.json"]


def test_a_run_that_fails_releases_the_folder(output: str) -> None:
    with pytest.raises(ValueError, match="full"), Run("r-1").claim(output):
        raise ValueError("full")
    assert held(output, Run("r-2"))


def test_a_claim_that_could_not_be_released_holds_no_later_run_of_its_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: LocalStorage, root: str, name: str, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as full_disk, Run("r-1").claim(str(tmp_path)):
        full_disk.setattr(LocalStorage, "write", fail)
    assert facts(str(tmp_path), 1)["is_released"] is False
    assert held(str(tmp_path), Run("r-2"))


def test_of_many_who_claim_at_once_one_succeeds(output: str) -> None:
    lock, end = threading.Lock(), threading.Barrier(6)
    holders: list[str] = []
    refused: list[str] = []

    def compete(run: Run) -> None:
        try:
            with run.claim(output):
                with lock:
                    holders.append(run.run_id)
                end.wait(30)
        except UsageError as error:
            with lock:
                refused.append(str(error))
            end.wait(30)

    put(output, ELSEWHERE._replace(is_released=True))
    threads = [threading.Thread(target=compete, args=[Run(f"r-{n}")]) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (holder,) = holders
    assert len(refused) == 5
    assert {f"run {holder} " in error for error in refused} == {True}


def test_the_claim_of_a_killed_process_of_this_machine_is_taken_over_at_once(output: str) -> None:
    """A real process, killed while it holds the folder."""
    code = f"""
import sys, threading
from tests.running.test_claim import Run
with Run("r-1").claim({output!r}):
    print("held", flush=True)
    threading.Event().wait()
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=ROOT) as killed:
        assert killed.stdout is not None
        assert killed.stdout.readline() == b"held\n"
        assert f"run r-1 (process {killed.pid} on " in refusal(output, Run("r-2"))
        killed.kill()
        killed.wait()
        run = Run("r-2")
        with run.claim(output):
            assert facts(output, 2)["run_id"] == "r-2"
        assert run.said == []


def test_the_claim_of_another_machine_is_taken_over_when_it_falls_silent(output: str) -> None:
    put(output, ELSEWHERE)
    run = Run("r-2")
    assert held(output, run)
    assert run.said == [
        f"run r-1 (process 17 on host-1) may be at work in {output!r}: "
        "looking for a sign of it for 0.2 s"
    ]
    assert facts(output, 2)["run_id"] == "r-2"


@contextmanager
def renewed(output: str, last: Claim) -> Iterator[None]:
    """Another machine that renews its claim, and at last writes `last`."""
    end = threading.Event()

    def renew() -> None:
        for renewals in range(1, 10**6):
            if end.wait(0.05):
                return
            put(output, ELSEWHERE._replace(renewals=renewals) if last is ELSEWHERE else last)

    thread = threading.Thread(target=renew)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()


def test_the_claim_of_another_machine_that_is_renewed_is_respected(
    output: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "SILENCE_S", 30)
    put(output, ELSEWHERE)
    with renewed(output, ELSEWHERE):
        assert "is in use by run r-1 (process 17 on host-1)" in refusal(output, Run("r-2"))


def test_a_claim_that_is_released_meanwhile_is_not_waited_for(
    output: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "SILENCE_S", 30)
    put(output, ELSEWHERE)
    with renewed(output, ELSEWHERE._replace(is_released=True)):
        assert held(output, Run("r-2"))


def test_of_a_claim_that_cannot_be_renewed_nobody_elsewhere_can_tell(output: str) -> None:
    put(output, ELSEWHERE._replace(renewals=None))
    run = Run("r-2")
    assert "is in use by run r-1" in refusal(output, run)
    assert run.said == []
    storage_for(output).write(output, "runs/r-1.json", b"{}")  # but its end is seen
    assert held(output, run)


def test_where_nothing_may_be_replaced_runs_work_and_follow_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: LocalStorage, root: str, name: str, content: bytes) -> None:
        raise PermissionError("storage.objects.delete")

    monkeypatch.setattr(LocalStorage, "write", refuse)
    output = str(tmp_path)
    with Run("r-1").claim(output):
        assert "is in use by run r-1" in refusal(output, Run("r-2"))
    assert facts(output, 1)["renewals"] is None
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "r-1.json").write_text("{}")
    assert held(output, Run("r-2"))
    assert facts(output, 2)["run_id"] == "r-2"


@pytest.mark.parametrize("is_over", [True, False])
def test_a_job_holds_the_folder_until_it_is_over(output: str, is_over: bool) -> None:
    with Run("r-1").claim(output) as first:
        first.pass_to(JOB)
    assert facts(output, 1)["is_released"] is False
    run = Run("r-2", is_over)
    if is_over:
        assert held(output, run)
    else:
        assert "is in use by run r-1 (Dataflow job job-1): wait" in refusal(output, run)
    assert run.asked == [JOB]


@pytest.mark.parametrize("content", [b"", b'{"run_id": "r-1"}', b"[]", b"{"])
def test_a_claim_that_cannot_be_read_is_respected_until_it_stays_as_it_is(
    output: str, content: bytes
) -> None:
    storage_for(output).write(output, claim_name(1), content)
    run = Run("r-2")
    assert held(output, run)
    assert run.said == [
        f"another run may be at work in {output!r}: looking for a sign of it for 0.2 s"
    ]


def test_an_answer_that_was_lost_is_no_other_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = LocalStorage.create

    def create_and_fail(self: LocalStorage, root: str, name: str, content: bytes) -> None:
        create(self, root, name, content)
        create(self, root, name, content)  # as a client that tries again

    monkeypatch.setattr(LocalStorage, "create", create_and_fail)
    with Run("r-1").claim(str(tmp_path)):
        assert facts(str(tmp_path), 1)["run_id"] == "r-1"


@pytest.mark.parametrize("how", ["taken over", "deleted", "replaced"])
def test_who_loses_the_folder_is_told_and_leaves_it_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(claims, "RENEWAL_S", 0.02)
    output, run = str(tmp_path), Run("r-1")
    other = ELSEWHERE._replace(run_id="r-2")
    with run.claim(output) as output_of_run:
        assert not run.lost.wait(0.1)
        while not run.lost.wait(0.05):  # it may be renewed in the same moment
            if how == "deleted":
                (tmp_path / claim_name(1)).unlink(missing_ok=True)
            else:
                put(output, other, number=1 if how == "replaced" else 2)
        assert "another run has taken over" in str(output_of_run.loss)
    if how == "replaced":
        assert facts(output, 1)["run_id"] == "r-2"
    if how == "taken over":
        assert facts(output, 1)["is_released"] is False
        assert facts(output, 2)["run_id"] == "r-2"


def test_a_fault_of_the_storage_does_not_end_the_renewals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "RENEWAL_S", 0.01)
    write, faults, fine = LocalStorage.write, iter([OSError("503")] * 3), threading.Event()

    def write_or_fail(self: LocalStorage, root: str, name: str, content: bytes) -> None:
        for fault in faults:
            raise fault
        write(self, root, name, content)
        fine.set()

    monkeypatch.setattr(LocalStorage, "write", write_or_fail)
    create = LocalStorage.create
    create(LocalStorage(), str(tmp_path), claim_name(1), ELSEWHERE.packed())
    held_output = HeldOutput(str(tmp_path), 1, ELSEWHERE, lambda: None)
    assert fine.wait(10)
    held_output.release()
    assert facts(str(tmp_path), 1)["is_released"] is True


def test_an_output_that_cannot_be_claimed_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    output = f"{tmp_path}/file"
    assert refusal(output, Run("r-1")) == f"--output {output!r} cannot be written: Not a directory"


def test_a_claim_survives_being_written(tmp_path: Path) -> None:
    claim = Claim("r-1", "host", this_process(), 3, JOB, True)
    assert parse_claim(claim.packed()) == claim
