"""The README says what the command does."""

from pipeline.readme import options_table, with_table
from tests.model_fixtures import ROOT
from transforms.failures import RETRYABLE
from transforms.schema import SCHEMA

README = (ROOT / "README.md").read_text()


def test_the_table_of_options_is_the_help_of_the_command() -> None:
    assert "| `--input PATH` |" in options_table()
    assert with_table(README) == README, "run `make readme`"


def test_every_column_and_every_reason_is_documented() -> None:
    for name in (*SCHEMA.names, *RETRYABLE):
        assert f"`{name}`" in README
