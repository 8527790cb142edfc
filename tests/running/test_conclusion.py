"""What is said when a run has no end that this process saw."""

from datetime import datetime, timezone

import pytest

from pipeline.dataflow.job import JobFailedError
from pipeline.options import RunOptions
from pipeline.running.conclusion import report_failure
from pipeline.running.launch import RunFailedError
from pipeline.running.run_facts import Job, Start
from transforms.models.artifact import Artifact

FINISH = "python -m pipeline.finish 'gs://b/my out' r-1"
RESUME = "python -m pipeline.run --resume"


def failure(error: Exception) -> RunFailedError:
    options = RunOptions(inputs=("gs://b/in",), output="gs://b/my out", runner="DataflowRunner")
    start = Start.of(
        options, Artifact("", "litert", "m@0", 224, ()), "r-1", datetime.now(timezone.utc)
    )
    failed = RunFailedError(start._replace(job=Job("job-1", "p", "europe-west4")), finished=0)
    failed.__cause__ = error
    return failed


def test_a_job_that_cannot_be_watched_is_not_called_failed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert report_failure(failure(OSError("403 Forbidden")), RESUME) == 1
    assert capsys.readouterr().err.splitlines() == [
        "error: lost sight of job job-1: 403 Forbidden",
        "  https://console.cloud.google.com/dataflow/jobs/europe-west4/job-1?project=p",
        "  the job may go on. To end the run when it is done:",
        f"  {FINISH}",
    ]


def test_a_job_that_failed_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert report_failure(failure(JobFailedError("job job-1 ended as FAILED")), RESUME) == 1
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "error: the run failed: job job-1 ended as FAILED"
    assert said[-1] == f"  {RESUME}"
