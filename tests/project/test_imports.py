"""Imports run one way: commands, then what they are made of, then the steps."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.model_fixtures import ROOT

COMMANDS = {
    *("__main__", "run", "classify", "query", "finish", "demo", "describe", "report"),
}


def imported(path: Path) -> Iterator[str]:
    """Every module that a file names in an import, those within functions included."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_the_steps_know_nothing_of_the_commands() -> None:
    for path in (ROOT / "transforms").rglob("*.py"):
        found = {name.partition(".")[0] for name in imported(path)}
        assert not found & {"pipeline", "click", "deploy", "tests"}, path


def test_engines_know_nothing_of_models() -> None:
    for path in (ROOT / "transforms" / "engines").glob("*.py"):
        assert not [name for name in imported(path) if name.startswith("transforms.models")], path


@pytest.mark.parametrize(
    "folder", ["running", "planning", "dataflow", "console", "results", "graph.py", "options.py"]
)
def test_what_commands_are_made_of_imports_no_command(folder: str) -> None:
    place = ROOT / "pipeline" / folder
    files = list(place.rglob("*.py")) if place.is_dir() else [place]
    assert files
    for path in files:
        found = {name.split(".")[1] for name in imported(path) if name.startswith("pipeline.")}
        assert not found & COMMANDS, path
