"""README and docs/ say what the commands do, and their commands do what they say."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.console.options_table import options_table, with_table
from tests.conftest import COMMANDS_S
from tests.helpers.model_fixtures import ROOT, Command
from transforms.failures import RETRYABLE
from transforms.metrics import MEANINGS
from transforms.schema import SCHEMA

README = (ROOT / "README.md").read_text()
DOCS = {path.name: path.read_text() for path in sorted((ROOT / "docs").glob("*.md"))}
PAGES = (README, *DOCS.values())
BLOCKS = [
    block
    for page in PAGES
    for block in re.findall(r"^```(sh|python|sql)\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
]
# What fetches, installs or needs a cloud; the last is checked by the tests of deploy/.
NOT_RUN = ("git clone", "make demo", ". .venv", "--runner=DataflowRunner")


def test_the_table_of_options_is_the_help_of_the_command() -> None:
    assert "| `--input PATH` |" in options_table()
    assert with_table(DOCS["options.md"]) == DOCS["options.md"], "run `make docs`"


def test_every_column_reason_and_metric_is_documented() -> None:
    for name in (*SCHEMA.names, *RETRYABLE):
        assert f"`{name}`" in DOCS["output.md"]
    for name, meaning in MEANINGS.items():
        assert f"| `{name}` | {meaning} |" in DOCS["output.md"]


def test_the_readme_is_short_and_its_links_lead_somewhere() -> None:
    assert len(README.splitlines()) <= 130
    for folder, page in ((ROOT, README), *((ROOT / "docs", page) for page in DOCS.values())):
        for link in re.findall(r"\]\(([^):#]+)\)", page):
            assert (folder / link).exists(), link


def commands() -> Iterator[tuple[str, str]]:
    """Language and text of everything that can be typed here, in its order.

    What is there twice comes at its second place, where what it needs has been made.
    """
    found = []
    for language, text in BLOCKS:
        lines = text.replace("\\\n", " ").splitlines() if language == "sh" else [text]
        found += [(language, line) for line in lines]
    for i, (language, text) in enumerate(found):
        is_run = not any(phrase in text for phrase in NOT_RUN)
        if is_run and (language, text) not in found[i + 1 :]:
            yield language, text


def in_duckdb(sql: str) -> str:
    return f"import duckdb; assert duckdb.connect().execute({sql!r}).fetchall()"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder that sees the photographs as the repository's root does."""
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    return tmp_path


@pytest.mark.timeout(COMMANDS_S)
def test_every_command_runs_as_it_stands(folder: Path, caches: dict[str, str]) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | caches | {"PYTHONPATH": str(ROOT), "PATH": path}
    ran = []
    for language, text in commands():
        if language == "sh":
            command = ["bash", "-ec", text]
        else:
            command = [sys.executable, "-c", text if language == "python" else in_duckdb(text)]
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, f"{text}\n{done.stderr}"
        if language == "sh":
            noise = [line for line in done.stderr.splitlines() if "(once; some ten" not in line]
            assert noise == [], text
        if "ORDER BY score" in text and language == "sh":
            assert done.stdout in DOCS["output.md"]
        ran.append(text)
    assert len(ran) >= 10
    assert (folder / "out" / "report.html").stat().st_size > 10_000


@pytest.mark.parametrize(
    "command",
    [
        "classify tests/data/photos/cat.jpg --model efficientnet_lite0 --top-k 3",
        "describe",
    ],
)
def test_printed_results_are_those_of_the_command(run: Command, command: str) -> None:
    module, *options = command.split()
    printed = run(*options, module=f"pipeline.{module}").out.splitlines()[-4:]
    for line in printed:
        assert any(line.rstrip() in page for page in PAGES), line
