"""A click command whose help comes in groups, its texts and defaults from one place each."""

from collections.abc import Callable
from dataclasses import fields
from typing import Any, Final, get_args

import click
from click.shell_completion import CompletionItem

from pipeline.config import Config
from transforms.models.resolve import ScalingName

# The help of each option, also the README's table.
HELP: Final = {
    "--input": "An image file, a folder (with all below it) or a glob; repeatable. Local, gs://, "
    "or any filesystem Beam knows. A .tar stands for the images in it.",
    "--manifest": "A list of images: .txt (one URI a line), .csv or .parquet; repeatable.",
    "--manifest-column": "The column of a .csv or .parquet manifest that holds the URIs.",
    "--output": "Folder for the result, local or gs://.",
    "--shard-size": "Images in one output file, the unit of commit.",
    "--resume": "Add what OUTPUT lacks: images without a row, with a retryable error, changed "
    "since, or last seen by another model.",
    "--retry-all-errors": "With --resume: try every image again that has no prediction.",
    "--model": "mobilenet (v1), mobilenet_v2, mobilenet_v3_small, mobilenet_v3_large, "
    "efficientnet_lite0 (its weights come with this package: works offline), or a .keras file of "
    "your own.",
    "--alpha": "Width multiplier of the MobileNets.  [default: 1.0]",
    "--image-size": "Side of the network's input in pixels.  [default: 224]",
    "--weights": "imagenet: Keras' published file, downloaded once and checked; or your own "
    ".h5 / .weights.h5 file, local or gs://.",
    "--labels": "Class names of your own model: text, one a line, or CSV class_index,wnid,label.",
    "--scaling": "What pixels become for your own model; auto: 0..255 if it scales them itself, "
    "with Rescaling, Normalization or preprocess_input, else -1..1.",
    "--top-k": "Classes kept for each image, best first.  [default: 5, or all if fewer]",
    "--resize": "crop: largest centred square, then resize. squash: resize the whole picture. "
    "keras: exactly keras.utils.load_img(target_size).",
    "--max-bytes": "Larger files become a row with the error too_many_bytes.",
    "--max-pixels": "Images with more pixels become a row with the error too_many_pixels.",
    "--engine": "What runs the network; auto takes TensorFlow if a GPU is visible, else LiteRT.",
    "--precision": "int8 runs on a CPU with LiteRT, float16 and bfloat16 with TensorFlow.",
    "--batch-size": "Images handed to the engine at once.",
    "--runner": "A Beam runner; DirectRunner runs in this process, on all cores.",
    "--gpu": "A GPU for each Dataflow worker that classifies, such as nvidia-l4 or nvidia-l4:2.",
    "--no-wait": "Submit the Dataflow job and leave; python -m pipeline.finish ends the run later.",
    "--max-failure-rate": "Finish with exit code 3 if a larger share of the images failed.",
    "--dry-run": "Run nothing: count the inputs, time a sample of them and print the plan with "
    "workers, hours and dollars; --dry-run=json for programs.",
    "--deadline-hours": "What --dry-run plans for: enough workers to be done in this time.",
}

ARGUMENTS: Final = "mobilenet_beam.arguments"
_DEFAULTS: Final = {field.name: field.default for field in fields(Config)}


class GroupedOption(click.Option):
    """An option that knows under which heading of the help it stands."""

    def __init__(self, *args: Any, group: str = "Other", **kwargs: Any) -> None:
        """`group` is the heading."""
        super().__init__(*args, **kwargs)
        self.group = group


class GroupedCommand(click.Command):
    """A command whose options are printed under headings, in the order they were given."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keeps the arguments as they were typed in `ctx.meta[ARGUMENTS]`."""
        ctx.meta[ARGUMENTS] = tuple(args)
        return super().parse_args(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes one table for each heading."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record and isinstance(parameter, click.Option):
                groups.setdefault(getattr(parameter, "group", "Other"), []).append(record)
        for heading, records in groups.items():
            with formatter.section(heading):
                formatter.write_dl(records)


def option(group: str, flag: str, *names: str, **attributes: Any) -> Callable[[Any], Any]:
    """An option with its help and its default from `Config`."""
    field = names[0] if names else flag.removeprefix("--").replace("-", "_")
    default = _DEFAULTS[field]
    text = HELP[flag]
    if default not in (None, "", (), False):
        text += f"  [default: {default}]"
    if set(attributes.get("metavar", "").split("|")) & {"FILE", "PATH", "FOLDER"}:
        attributes["shell_complete"] = complete_paths
    return click.option(
        flag, *names, cls=GroupedOption, group=group, help=text, default=None, **attributes
    )


def network_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds what every command that runs a network takes: the model, the images, the engine."""
    for decorate in reversed(
        (
            option("Model", "--model", metavar="NAME|FILE"),
            option("Model", "--alpha", type=float, metavar="X"),
            option("Model", "--image-size", type=int, metavar="PIXELS"),
            option("Model", "--weights", metavar="imagenet|FILE"),
            option("Model", "--labels", metavar="FILE"),
            option("Model", "--scaling", type=click.Choice(list(get_args(ScalingName)))),
            option("Model", "--top-k", type=int, metavar="K"),
            option("Images", "--resize", type=click.Choice(["crop", "squash", "keras"])),
            option("Images", "--max-bytes", type=int, metavar="N"),
            option("Images", "--max-pixels", type=int, metavar="N"),
            option("Speed", "--engine", type=click.Choice(["auto", "tensorflow", "litert"])),
            option(
                "Speed",
                "--precision",
                type=click.Choice(["float32", "int8", "float16", "bfloat16"]),
            ),
        )
    ):
        command = decorate(command)
    return command


def complete_paths(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Leaves it to the shell to complete the name of a file."""
    return [CompletionItem(incomplete, type="file")]
