"""Beam's options on their way through."""

import pytest
from apache_beam.options.pipeline_options import DebugOptions, GoogleCloudOptions

from pipeline.options import UsageError
from pipeline.running.beam_options import parse_beam_options, without_secrets


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


def test_beams_options_are_parsed_and_what_is_none_is_refused() -> None:
    options = parse_beam_options(["--project=p", "--experiments", "a", "--experiments=b"])
    assert options.view_as(GoogleCloudOptions).project == "p"
    assert options.view_as(DebugOptions).experiments == ["a", "b"]
    for argument, message in (
        ("--projet=p", "no such option: --projet; did you mean --project?"),
        ("photos", "unexpected argument 'photos'; an input is given as --input photos"),
        ("--max_num_workers=many", "invalid int value: 'many'"),
    ):
        with pytest.raises(UsageError) as error:
            parse_beam_options([argument])
        assert message in str(error.value)
