"""Every option is said once; commands, tables and templates have it from there."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import click
import pytest

from pipeline import classify, run
from pipeline.describe.__main__ import main as describe
from pipeline.options import GROUPS, NetworkOptions, RunOptions, UsageError, options_of
from tests.helpers.model_fixtures import Command

HEAVY = {"apache_beam", "tensorflow", "keras", "pyarrow", "duckdb", "numpy", "PIL", "rich"}
OPTIONS = {option.flag: option for option in options_of(RunOptions)}


def parsed(*arguments: str) -> dict[str, Any]:
    return run.main.make_context("run", list(arguments)).params


def test_every_field_but_beams_options_is_an_option_with_a_help_and_a_group() -> None:
    names = [option.name for option in OPTIONS.values()]
    assert {*names, "beam_options"} == {each.name for each in fields(RunOptions)}
    assert len(names) == len(OPTIONS)
    for option in OPTIONS.values():
        assert option.flag.removeprefix("--").replace("-", "_") in (option.name, option.name[:-1])
        assert option.help.partition("  [default")[0].endswith(".")
    assert tuple(dict.fromkeys(option.group for option in OPTIONS.values())) == GROUPS


def test_type_default_and_choices_are_those_of_the_field() -> None:
    shard_size = OPTIONS["--shard-size"]
    assert (shard_size.type, shard_size.default, shard_size.least) == (int, 4096, 1)
    assert shard_size.help.endswith("  [default: 4096]")
    alpha = OPTIONS["--alpha"]
    assert (alpha.type, alpha.default) == (float, None)
    assert alpha.help.endswith("  [default: 1.0]")
    resume = OPTIONS["--resume"]
    assert (resume.type, resume.default) == (bool, False)
    assert "default" not in resume.help
    assert OPTIONS["--resize"].choices == ("crop", "squash", "keras")
    assert OPTIONS["--dry-run"].choices == ("text", "json")
    assert OPTIONS["--dry-run"].bare == "text"
    repeatable = {flag for flag, option in OPTIONS.items() if option.is_repeatable}
    assert repeatable == {"--input", "--manifest"}


def test_a_command_without_options_has_the_defaults() -> None:
    assert RunOptions(**parsed()) == RunOptions()
    context = classify.main.make_context("classify", ["x.jpg"])
    given = {name: context.params[name] for name in context.params.keys() - {"images", "format"}}
    assert NetworkOptions(**given) == NetworkOptions()


def test_values_arrive_as_the_fields_type_them() -> None:
    given = parsed(
        *("--input", "a", "--input=b", "--top-k", "3", "--alpha", "0.5", "--resume"),
        *("--dry-run", "--resize", "squash"),
    )
    assert RunOptions(**given) == RunOptions(
        inputs=("a", "b"), top_k=3, alpha=0.5, resume=True, dry_run="text", resize="squash"
    )
    assert parsed("--dry-run=json")["dry_run"] == "json"


def test_a_command_has_the_options_of_its_class_in_the_order_of_the_help() -> None:
    def flags(command: click.Command) -> list[str]:
        known = [p.opts[0] for p in command.params if isinstance(p, click.Option)]
        return [flag for flag in known if flag in OPTIONS]

    assert flags(run.main) == list(OPTIONS)
    assert flags(classify.main) == [option.flag for option in options_of(NetworkOptions)]
    assert flags(describe) == ["--model", "--alpha", "--image-size", "--labels"]


def test_a_tilde_is_the_home_directory_wherever_a_path_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    locations = [option for option in OPTIONS.values() if option.is_location]
    assert {option.flag for option in locations} == {
        *("--input", "--manifest", "--output", "--model", "--weights", "--labels")
    }
    for option in locations:
        found = parsed(f"{option.flag}=~/x y")[option.name]
        assert found == (("/home/somebody/x y",) if option.is_repeatable else "/home/somebody/x y")
        untouched = parsed(f"{option.flag}=gs://b/~/x")[option.name]
        assert untouched == (("gs://b/~/x",) if option.is_repeatable else "gs://b/~/x")
    assert classify.main.make_context("classify", ["~/a.jpg", "-", "a~"]).params["images"] == (
        *("/home/somebody/a.jpg", "-", "a~"),
    )


@pytest.mark.parametrize("module", ["query", "report", "finish"])
def test_a_tilde_is_the_home_directory_in_the_commands_that_read(
    module: str, run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    arguments = ["~/out", "r-1"] if module == "finish" else ["~/out"]
    done = run(*arguments, module=f"pipeline.{module}")
    assert done.code in (1, 2)
    assert f"{tmp_path}/out" in done.err
    assert "~" not in done.err


@pytest.mark.parametrize("name", ["shard_size", "batch_size", "max_bytes", "max_pixels"])
def test_a_number_below_the_least_is_refused_by_its_flag(name: str) -> None:
    def values(number: int) -> dict[str, Any]:
        return {name: number}

    RunOptions(**values(1))
    with pytest.raises(UsageError) as error:
        RunOptions(**values(0))
    assert str(error.value) == f"--{name.replace('_', '-')} 0 must be at least 1"


def test_the_choice_of_a_model_has_each_value_under_its_own_name() -> None:
    choice = RunOptions(
        model="m",
        alpha=0.5,
        image_size=96,
        weights="w",
        labels="l",
        top_k=3,
        resize="keras",
        precision="int8",
        engine="litert",
        scaling="0..1",
        outputs="logits",
    ).model_choice()
    assert choice._asdict() == {
        "model": "m",
        "alpha": 0.5,
        "image_size": 96,
        "weights": "w",
        "labels": "l",
        "top_k": 3,
        "resize": "keras",
        "precision": "int8",
        "engine": "litert",
        "scaling": "0..1",
        "outputs": "logits",
        "has_gpu": None,
    }


@pytest.mark.parametrize(
    "line",
    [
        "sys.argv = ['x', '--help']; runpy.run_module('pipeline', run_name='__main__')",
        "sys.argv = ['x', '--help']; runpy.run_module('pipeline.run', run_name='__main__')",
        "import pipeline.console.options_table, pipeline.dataflow.flex_template",
    ],
    ids=["pipeline --help", "pipeline.run --help", "tables"],
)
def test_help_and_tables_import_nothing_heavy(run: Command, line: str) -> None:
    script = (
        f"import runpy, sys\ntry:\n    {line}\n"
        "finally:\n    print(*sys.modules, sep='\\n', file=sys.stderr)\n"
    )
    done = run("-c", script, module="")
    assert done.code == 0
    assert "pipeline.options" in done.err.splitlines()
    assert HEAVY & set(done.err.splitlines()) == set()


def test_importing_the_package_changes_nothing_in_the_process(run: Command) -> None:
    script = (
        "import gc, sys; sys.argv = ['-m']\n"
        "import pipeline, pipeline.run\n"
        "print(gc.isenabled(), gc.get_freeze_count(), sys.excepthook is sys.__excepthook__)"
    )
    assert run("-c", script, module="").out == "True 0 True\n"
