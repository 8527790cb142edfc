"""What is said when a run has ended, and when it has no end that this process saw."""

import subprocess
from datetime import datetime, timezone
from pathlib import Path

import duckdb
import pytest

from pipeline.dataflow.job import JobFailedError
from pipeline.options import RunOptions
from pipeline.running.account import Account
from pipeline.running.conclusion import exit_code, report_failure, submitted, summary
from pipeline.running.launch import RunFailedError
from pipeline.running.outcome import Outcome
from pipeline.running.run_facts import Job, Start
from pipeline.running.run_log import RunLog
from tests.helpers.made_outputs import FIRST, SECOND, failed, predicted, write_run
from transforms.models.artifact import Artifact

FINISH = "python -m pipeline.finish 'gs://b/my out' r-1"
RESUME = "python -m pipeline.run --resume"


def failure(error: BaseException) -> RunFailedError:
    options = RunOptions(inputs=("gs://b/in",), output="gs://b/my out", runner="DataflowRunner")
    start = Start.of(
        options, Artifact("", "litert", "m@0", 224, ()), "r-1", datetime.now(timezone.utc)
    )
    failed = RunFailedError(start._replace(job=Job("job-1", "p", "europe-west4")), finished=0)
    failed.__cause__ = error
    return failed


def test_a_submitted_job_says_what_was_found_out_on_the_model() -> None:
    notes = ("pixels left at 0..255: the model takes uint8", "outputs taken as logits: ...")
    artifact = Artifact("", "litert", "m@0", 224, (), notes)
    start = Start.of(RunOptions(output="out"), artifact, "r-1", datetime.now(timezone.utc))
    assert start.facts()["notes"] == list(notes)
    said = submitted(start._replace(job=Job("job-1", "p", "europe-west4"))).splitlines()
    assert said[0] == "job job-1"
    assert said[2:] == [*notes, "", "python -m pipeline.finish out r-1"]


def test_a_job_that_cannot_be_watched_is_not_called_failed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert report_failure(failure(OSError("403 Forbidden")), RESUME, RunLog()) == 1
    assert capsys.readouterr().err.splitlines() == [
        "error: lost sight of job job-1: 403 Forbidden",
        "  https://console.cloud.google.com/dataflow/jobs/europe-west4/job-1?project=p",
        "  the job may go on. To end the run when it is done:",
        f"  {FINISH}",
    ]


def test_a_job_that_failed_is(capsys: pytest.CaptureFixture[str]) -> None:
    failed = failure(JobFailedError("job job-1 ended as FAILED"))
    assert report_failure(failed, RESUME, RunLog(verbose=True)) == 1
    said = capsys.readouterr().err.splitlines()
    assert said[-4:] == [
        "error: the run failed: job job-1 ended as FAILED",
        "  the traceback is above",
        "  no shard was finished; to go on from here:",
        f"  {RESUME}",
    ]


def test_ctrl_c_leaves_the_job_and_says_on_standard_error_how_to_end_the_run(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert report_failure(failure(KeyboardInterrupt()), RESUME, RunLog()) == 130
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == [
        "stopped waiting; the job goes on. To end the run when it is done:",
        f"  {FINISH}",
    ]


@pytest.mark.parametrize(
    ("failed", "limit", "code"),
    [(1, 0.25, 0), (2, 0.25, 3), (0, 0.0, 0), (1, 0.0, 3), (4, 1.0, 0)],
)
def test_as_many_failures_as_the_limit_are_no_error_and_one_more_is(
    failed: int, limit: float, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    account = Account(4, 0, 4 - failed, failed, 0, {}, (), ())
    assert exit_code(Outcome("r-1", "m@1", 1.0, account), "out", limit) == code
    said = capsys.readouterr()
    assert said.out == ""
    share = f"{25 * failed}.0% of the images failed, more than --max-failure-rate {limit:g}"
    assert said.err.splitlines() == [
        *(f"error: {share}; to see which and why:", "  python -m pipeline.query out --failed")
    ] * (code == 3)


def test_a_ledger_that_does_not_balance_weighs_more_than_too_many_failures(
    capsys: pytest.CaptureFixture[str],
) -> None:
    account = Account(4, 0, 0, 4, 0, {}, (), ("a is missing", "b is missing"))
    assert exit_code(Outcome("r-1", "m@1", 1.0, account), "out", 0.0) == 4
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == [
        *("error: the ledger does not balance:", "  a is missing", "  b is missing")
    ]


@pytest.mark.parametrize(
    "folder", ["out", "label=cat", "run_id=foo", "score=3/out", "uri=x/a[1]", "o'clock=1", "$x=`y`"]
)
@pytest.mark.parametrize("resume", [False, True])
def test_the_line_for_duckdb_shows_the_rows_wherever_they_lie(
    tmp_path: Path, folder: str, resume: bool
) -> None:
    output = tmp_path / folder
    write_run(output, FIRST, [predicted("a", "cat", 0.75), failed("b", "unreadable")])
    if resume:
        write_run(output, SECOND, [predicted("b", "dish", 0.5)])
    account = Account(2, 0, 1, 1, 0, {}, (), ())
    said = summary(Outcome(SECOND, "m@1", 1.0, account), str(output), resume)
    line = said.splitlines()[-1]
    shown = subprocess.run(["sh", "-c", f"printf '%s\\n' {line}"], capture_output=True, text=True)
    *command, sql = shown.stdout.splitlines()
    assert command == ["duckdb", "-c"]
    b = ("b", "dish", 0.5, None) if resume else ("b", None, None, "unreadable")
    assert sorted(duckdb.connect().execute(sql).fetchall()) == [("a", "cat", 0.75, None), b]
