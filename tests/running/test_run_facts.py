"""What is kept of a run when it starts, and read back by another process."""

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from pipeline.options import RunOptions, UsageError
from pipeline.running.run_facts import Job, Start, read_start, write_start
from transforms.layout import start_name
from transforms.models.artifact import Artifact


def started(output: Path, **options: Any) -> Start:
    """A run that was begun and written down."""
    start = Start.of(
        RunOptions(inputs=("in",), output=str(output), **options),
        Artifact("network", "litert", "model@1", 224, ()),
        "r-1",
        datetime(2026, 11, 24, tzinfo=timezone.utc),
    )._replace(job=Job("job-1", "p", "europe-west4"))
    write_start(start)
    return start


def rewrite(output: Path, **changes: Any) -> None:
    """Changes the facts on disk; None takes one away."""
    path = output / start_name("r-1")
    facts = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({name: each for name, each in facts.items() if each is not None}))


def test_a_start_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    start = started(tmp_path, resume=True, max_failure_rate=0.5, beam_options=("--project=p",))
    found = read_start(str(tmp_path), "r-1")
    assert found._replace(configuration={}) == start._replace(configuration={})
    assert found.job == Job("job-1", "p", "europe-west4")
    assert found.configuration["resume"] is True
    assert found.configuration["max_failure_rate"] == 0.5
    assert found.configuration["beam_options"] == ["--project=p"]
    assert found.facts() == json.loads(json.dumps(start.facts()))


def test_the_output_is_where_the_start_was_found(tmp_path: Path) -> None:
    started(tmp_path / "before")
    (tmp_path / "before").rename(tmp_path / "after")
    assert read_start(str(tmp_path / "after"), "r-1").output == str(tmp_path / "after")


def test_an_option_that_an_earlier_version_lacked_has_its_default(tmp_path: Path) -> None:
    started(tmp_path)
    rewrite(tmp_path, configuration={"resume": True, "an_old_option": 1})
    configuration = read_start(str(tmp_path), "r-1").configuration
    assert configuration["resume"] is True
    assert configuration["max_failure_rate"] == RunOptions.max_failure_rate


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"engine": None}, "(KeyError: 'engine'): end the run with the version that began it"),
        ({"job": {"id": "job-1", "zone": "a"}}, "is of another version of this package (TypeErr"),
        ({"configuration": []}, "is of another version of this package (TypeError: "),
    ],
)
def test_a_start_of_another_version_is_wrong_usage(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    started(tmp_path)
    rewrite(tmp_path, **changes)
    with pytest.raises(UsageError) as error:
        read_start(str(tmp_path), "r-1")
    assert message in str(error.value)
    assert str(tmp_path / start_name("r-1")) in str(error.value)


def test_a_run_that_never_was_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"has no run 'r-2' that was submitted"):
        read_start(str(tmp_path), "r-2")


def test_what_is_written_of_a_run_holds_no_secret(tmp_path: Path) -> None:
    started(tmp_path, beam_options=("--s3_secret_access_key=abc", "--project=p"))
    written = (tmp_path / start_name("r-1")).read_text()
    assert "abc" not in written
    assert "--project=p" in written
