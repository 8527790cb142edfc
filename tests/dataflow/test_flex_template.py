"""The template offers the command's options, and its launcher understands what it offers."""

import json
import runpy
import sys
from typing import Any

import pytest
from google.cloud.dataflow_v1beta3 import FlexTemplateRuntimeEnvironment, TemplateMetadata

from pipeline import run
from pipeline.dataflow.flex_template import LEFT_OUT, METADATA, command_line, metadata, options
from pipeline.options import RunOptions, options_of
from tests.helpers.model_fixtures import ROOT

FILE: dict[str, Any] = json.loads((ROOT / METADATA).read_text())
VALUES = {"NUMBER": "2", "BOOLEAN": "true", "GCS_WRITE_FOLDER": "gs://b/out", "TEXT": "x"}


def parsed(line: list[str]) -> tuple[dict[str, Any], list[str]]:
    """What click makes of a command line: its own options, and what it leaves to Beam."""
    context = run.main.make_context("run", list(line))
    default = {option.name: option.default for option in options_of(RunOptions)}
    given = {name: value for name, value in context.params.items() if value != default[name]}
    return given, context.args


def test_the_file_is_what_the_options_are() -> None:
    assert metadata() == FILE, "run `make docs`"


def test_every_option_is_a_parameter_or_left_out_with_a_reason() -> None:
    own = {option.flag for option in options_of(RunOptions)}
    offered = {option.flag for option in options().values()}
    assert offered | (own & set(LEFT_OUT)) == own
    assert not offered & set(LEFT_OUT)
    assert {"--input", "--output", "--resume", "--top-k", "--gpu"} <= offered
    assert "--no-wait" in own
    assert all(LEFT_OUT.values())


def test_dataflow_can_read_it() -> None:
    message = TemplateMetadata.from_json(json.dumps(FILE))  # an unknown field or type raises
    names = [parameter.name for parameter in message.parameters]
    assert len(names) == len(set(names)) == len(FILE["parameters"])
    for parameter in message.parameters:
        assert parameter.label
        assert parameter.help_text
        assert parameter.name.isidentifier()
        assert parameter.is_optional == (parameter.name != "output")


def test_every_parameter_reaches_the_option_it_is_named_after() -> None:
    for parameter in FILE["parameters"]:
        name = parameter["name"]
        if name not in options():
            continue
        choices = parameter.get("enumOptions")
        value = choices[-1]["value"] if choices else VALUES[parameter["paramType"]]
        given, beam = parsed(command_line([f"--{name}={value}"]))
        assert beam == []
        (found,) = given.values()
        assert found in (value, (value,), True, 2)
        assert options()[name].name in given


def test_a_flag_is_given_or_not_and_what_is_beams_stays() -> None:
    assert command_line(["--resume=true"]) == ["--resume"]
    assert command_line(["--resume=false"]) == []
    arguments = ["--runner=DataflowRunner", "--project=p", "--temp_location=gs://b/t", "--dry_run"]
    assert command_line(arguments) == arguments
    assert parsed(command_line(arguments))[1] == arguments[1:]


def test_locations_are_separated_by_commas_but_a_name_may_hold_one() -> None:
    assert command_line(["--input=gs://b/a,1.jpg,gs://c/**,s3://d/x"]) == [
        "--input=gs://b/a,1.jpg",
        "--input=gs://c/**",
        "--input=s3://d/x",
    ]
    assert command_line(["--output=gs://b/a,gs://c"]) == ["--output=gs://b/a,gs://c"]


def test_the_launcher_never_waits_for_its_job(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr(run, "main", lambda line, prog_name: seen.extend(line))
    monkeypatch.setattr(sys, "argv", ["launch_template.py", "--top_k=3", "--project=p"])
    runpy.run_path(str(ROOT / "deploy" / "launch_template.py"), run_name="__main__")
    assert seen == ["--top-k=3", "--project=p", "--no-wait"]


def test_the_environment_that_terraform_gives_is_one_dataflow_knows() -> None:
    text = (ROOT / "deploy" / "terraform" / "main.tf").read_text()
    block = text.split("defaultEnvironment = {")[1].split("}\n")[0]
    names = {line.split("=")[0].strip() for line in block.splitlines() if "=" in line}
    empty = json.loads(FlexTemplateRuntimeEnvironment.to_json(FlexTemplateRuntimeEnvironment()))
    assert names <= set(empty)
    assert {"serviceAccountEmail", "ipConfiguration", "tempLocation"} <= names
