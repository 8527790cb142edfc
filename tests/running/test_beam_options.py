"""Beam's options on their way through."""

import json
from datetime import datetime, timezone

import pytest

from pipeline.options import RunOptions
from pipeline.running.beam_options import without_secrets
from pipeline.running.run_facts import Start
from transforms.models.artifact import Artifact


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        (["--s3_secret_access_key=abc"], ["--s3_secret_access_key=***"]),
        (
            ["--s3_session_token", "abc", "--project", "p"],
            ["--s3_session_token", "***", "--project", "p"],
        ),
        (["--azure_connection_string=a=b;c=d"], ["--azure_connection_string=***"]),
        (
            ["--project=p", "--no_auth", "--region", "r"],
            ["--project=p", "--no_auth", "--region", "r"],
        ),
    ],
    ids=["with =", "apart", "with = inside", "none"],
)
def test_values_of_secrets_are_hidden(options: list[str], shown: list[str]) -> None:
    assert list(without_secrets(options)) == shown


def test_what_is_written_of_a_run_holds_no_secret() -> None:
    options = RunOptions(output="out", beam_options=("--s3_secret_access_key=abc", "--project=p"))
    artifact = Artifact("network", "litert", "model@1", 224, ())
    start = Start.of(options, artifact, "r-1", datetime(2026, 11, 24, tzinfo=timezone.utc))
    written = json.dumps(start.facts())
    assert "abc" not in written
    assert "--project=p" in written
