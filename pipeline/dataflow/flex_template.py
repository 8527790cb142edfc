"""Writes deploy/metadata.json from the help: `python -m pipeline.dataflow.flex_template`.

A parameter is an option of `pipeline.run` with underscores: `--top-k 5` is `top_k=5`. This module
has both directions, so that what the template offers is what its launcher understands.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from pipeline.options import Option, RunOptions, options_of

METADATA = Path("deploy/metadata.json")
# Options that make no sense in a template, and why.
LEFT_OUT: Final = {
    "--runner": "a template runs on Dataflow",
    "--dry-run": "a launch without a job is a failed launch to Dataflow",
    "--deadline-hours": "belongs to --dry-run",
    "--no-wait": "always on: a launcher that waits for its job never starts it",
}
NO_WAIT: Final = "--no-wait"
# Beam's own options that a launch of this template may need.
_BEAM_PARAMETERS: Final = (
    {
        "name": "sdk_container_image",
        "label": "Worker image",
        "helpText": "The image of deploy/Dockerfile.cpu or deploy/Dockerfile.gpu.",
        "isOptional": True,
        "paramType": "TEXT",
        "groupName": "Dataflow",
    },
)
_REQUIRED: Final = ("--output",)
_FOLDERS: Final = ("--output",)
# A comma separates locations only where the next one begins, since names may hold commas.
_SEPARATOR: Final = re.compile(r",(?=[A-Za-z][A-Za-z0-9+.-]*://)")


def metadata() -> dict[str, Any]:
    """The template's description, with a parameter for each option of `pipeline.run`."""
    parameters = [_parameter(name, option) for name, option in options().items()]
    return {
        "name": "Classify images with MobileNet",
        "description": "One Parquet row for each image: its classes, or why there are none.",
        "streaming": False,
        "parameters": [*parameters, *_BEAM_PARAMETERS],
    }


def options() -> dict[str, Option]:
    """The options that are parameters, by the parameter's name."""
    return {
        option.flag.removeprefix("--").replace("-", "_"): option
        for option in options_of(RunOptions)
        if option.flag not in LEFT_OUT
    }


def command_line(parameters: Sequence[str]) -> list[str]:
    """What `pipeline.run` is given for the launcher's `--name=value` arguments.

    Parameters of the template become options, a repeatable one once for each location; what is
    Beam's stays as it is.
    """
    known, line = options(), []
    for parameter in parameters:
        name, equals, value = parameter.removeprefix("--").partition("=")
        option = known.get(name)
        if option is None or not equals:
            line.append(parameter)
        elif option.type is bool:
            line += [option.flag] if value.lower() == "true" else []
        elif option.is_repeatable:
            line += [f"{option.flag}={each}" for each in _SEPARATOR.split(value)]
        else:
            line.append(f"{option.flag}={value}")
    return line


def _parameter(name: str, option: Option) -> dict[str, Any]:
    text = option.help
    if option.is_repeatable:
        text = text.replace("; repeatable", "") + " Several are separated by commas."
    parameter: dict[str, Any] = {
        "name": name,
        "label": name.replace("_", " ").capitalize(),
        "helpText": text,
        "isOptional": option.flag not in _REQUIRED,
        "paramType": _type(option),
        "groupName": option.group,
    }
    if option.choices:
        parameter["enumOptions"] = [{"value": each} for each in option.choices]
    return parameter


def _type(option: Option) -> str:
    if option.flag in _FOLDERS:
        return "GCS_WRITE_FOLDER"
    if option.type is bool:
        return "BOOLEAN"
    if option.choices:
        return "ENUM"
    return "NUMBER" if option.type in (int, float) else "TEXT"


if __name__ == "__main__":
    METADATA.write_text(json.dumps(metadata(), indent=2) + "\n")
