"""Every option, said once: its name, type, default, group and help.

The commands, the table of docs/options.md, the Flex Template's parameters and the `configuration`
in `runs/<run>.json` are made from these fields. Nothing heavy is imported here.
"""

from dataclasses import Field, dataclass, field, fields
from types import NoneType
from typing import Annotated, Any, Final, Literal, NamedTuple, get_args, get_origin, get_type_hints

from transforms.choices import (
    DEFAULT_ALPHA,
    DEFAULT_IMAGE_SIZE,
    DEFAULT_TOP_K,
    IMAGENET,
    EngineName,
    ModelChoice,
    OutputsName,
    Precision,
    Resize,
    ScalingName,
)

# The headings of the help, in its order.
GROUPS: Final = ("Input and output", "Model", "Images", "Speed", "Running", "Planning")

Location = Annotated[str, "a path or a URI; a leading ~ is the home directory"]


class UsageError(Exception):
    """The user asked for something that cannot be done; exit code 2, nothing has run."""


class Option(NamedTuple):
    """One option of a command, as click, a table or a template needs it."""

    name: str  # of the field
    flag: str
    type: type[str | int | float | bool]  # of one value; bool: a flag without a value
    default: Any
    group: str
    help: str  # with the default, where there is one
    metavar: str | None
    choices: tuple[str, ...]  # the only values there are; empty: any
    is_location: bool
    is_repeatable: bool
    bare: str | None  # the value of the option given without one
    least: int | None  # the smallest value


def option(
    flag: str,
    default: Any = None,
    *,
    group: str,
    help: str,
    metavar: str | None = None,
    shown: object = None,
    bare: str | None = None,
    least: int | None = None,
) -> Any:
    """A field that is an option; `shown` is printed as its default instead of `default`."""
    shown = default if shown is None else shown
    if shown not in (None, "", (), False):
        help += f"  [default: {shown}]"
    words = {"flag": flag, "group": group, "help": help, "metavar": metavar}
    return field(default=default, metadata=words | {"bare": bare, "least": least})


@dataclass(frozen=True)
class NetworkOptions:
    """What every command takes that runs a network."""

    model: Location = option(
        "--model",
        "mobilenet",
        group="Model",
        metavar="NAME|FILE",
        help="mobilenet (v1), mobilenet_v2, mobilenet_v3_small, mobilenet_v3_large, "
        "efficientnet_lite0 (its weights come with this package: works offline), or a .keras file "
        "of your own.",
    )
    alpha: float | None = option(
        "--alpha",
        group="Model",
        metavar="X",
        help="Width multiplier of the MobileNets.",
        shown=DEFAULT_ALPHA,
    )
    image_size: int | None = option(
        "--image-size",
        group="Model",
        metavar="PIXELS",
        help="Side of the network's input in pixels.",
        shown=DEFAULT_IMAGE_SIZE,
    )
    weights: Location = option(
        "--weights",
        IMAGENET,
        group="Model",
        metavar="imagenet|FILE",
        help="imagenet: Keras' published file, downloaded once and checked; or your own "
        ".h5 / .weights.h5 file, local or gs://.",
    )
    labels: Location | None = option(
        "--labels",
        group="Model",
        metavar="FILE",
        help="Class names of your own model: one a line, in order or each with its index (0,cat); "
        "CSV class_index,wnid,label; JSON, a printed class_indices, or a .pbtxt label map.",
    )
    scaling: ScalingName = option(
        "--scaling",
        "auto",
        group="Model",
        help="The range of pixel values that your own model takes; auto: 0..255 if it scales them "
        "itself, with Rescaling, Normalization or preprocess_input, else -1..1.",
    )
    outputs: OutputsName = option(
        "--outputs",
        "auto",
        group="Model",
        help="What your own model gives: probabilities, or logits, which a softmax or, for a "
        "single output, a sigmoid turns into probabilities; auto: found out from its layers and "
        "its answers.",
    )
    top_k: int | None = option(
        "--top-k",
        group="Model",
        metavar="K",
        help="Classes kept for each image, best first.",
        shown=f"{DEFAULT_TOP_K}, or all if fewer",
    )
    resize: Resize = option(
        "--resize",
        "crop",
        group="Images",
        help="crop: largest centred square, then resize. squash: resize the whole picture. "
        "keras: exactly keras.utils.load_img(target_size).",
    )
    max_bytes: int = option(
        "--max-bytes",
        100_000_000,
        group="Images",
        metavar="N",
        help="Larger files become a row with the error too_many_bytes.",
        least=1,
    )
    max_pixels: int = option(
        "--max-pixels",
        180_000_000,
        group="Images",
        metavar="N",
        help="Images with more pixels become a row with the error too_many_pixels.",
        least=1,
    )
    billing_project: str | None = option(
        "--billing-project",
        group="Images",
        metavar="PROJECT",
        help="The Google Cloud project that pays for requests to gs:// buckets where the reader "
        "pays.",
    )
    engine: EngineName = option(
        "--engine",
        "auto",
        group="Speed",
        help="What runs the network; auto takes LiteRT, or TensorFlow if a GPU is visible or your "
        "own model needs what LiteRT lacks.",
    )
    precision: Precision = option(
        "--precision",
        "float32",
        group="Speed",
        help="Number format of the network: int8 runs on a CPU with LiteRT, float16 and bfloat16 "
        "with TensorFlow.",
    )

    def __post_init__(self) -> None:
        """Raises UsageError for a number below the smallest that its option takes."""
        for each in options_of(type(self)):
            value = getattr(self, each.name)
            if each.least is not None and value < each.least:
                raise UsageError(f"{each.flag} {value} must be at least {each.least}")

    def model_choice(self) -> ModelChoice:
        """The part that determines the network."""
        names = {each.name for each in options_of(type(self))}
        return ModelChoice(
            **{name: getattr(self, name) for name in ModelChoice._fields if name in names}
        )


@dataclass(frozen=True)
class RunOptions(NetworkOptions):
    """What `pipeline.run` takes."""

    inputs: tuple[Location, ...] = option(
        "--input",
        (),
        group="Input and output",
        metavar="PATH",
        help="An image file, a folder (with all below it) or a glob; repeatable. Local, gs://, "
        "or any filesystem Beam knows. A .tar stands for the images in it.",
    )
    manifests: tuple[Location, ...] = option(
        "--manifest",
        (),
        group="Input and output",
        metavar="FILE",
        help="A list of images: .txt (one URI a line), .csv or .parquet; repeatable.",
    )
    manifest_column: str = option(
        "--manifest-column",
        "uri",
        group="Input and output",
        metavar="NAME",
        help="The column of a .csv or .parquet manifest that holds the URIs.",
    )
    output: Location = option(
        "--output",
        "",
        group="Input and output",
        metavar="FOLDER",
        help="Folder for the result, local or gs://.",
    )
    shard_size: int = option(
        "--shard-size",
        4096,
        group="Input and output",
        metavar="N",
        help="Images in one output file, which appears when all of them are done.",
        least=1,
    )
    resume: bool = option(
        "--resume",
        False,
        group="Input and output",
        help="Go on from earlier runs in --output: classify the images that have no row there, "
        "failed with a retryable error, have changed since, or had another model.",
    )
    retry_all_errors: bool = option(
        "--retry-all-errors",
        False,
        group="Input and output",
        help="With --resume: classify every image again that has no prediction.",
    )
    batch_size: int = option(
        "--batch-size",
        32,
        group="Speed",
        metavar="N",
        help="Images that the network classifies in one call.",
        least=1,
    )
    runner: str = option(
        "--runner",
        "DirectRunner",
        group="Running",
        metavar="NAME",
        help="A Beam runner; DirectRunner runs in this process, on all cores.",
    )
    gpu: str | None = option(
        "--gpu",
        group="Running",
        metavar="TYPE[:COUNT]",
        help="A GPU for each Dataflow worker that classifies, such as nvidia-l4 or nvidia-l4:2.",
    )
    no_wait: bool = option(
        "--no-wait",
        False,
        group="Running",
        help="Submit the Dataflow job and leave; python -m pipeline.finish ends the run later.",
    )
    max_failure_rate: float = option(
        "--max-failure-rate",
        1.0,
        group="Running",
        metavar="SHARE",
        help="Finish with exit code 3 if a larger share of the images failed.",
    )
    verbose: bool = option(
        "--verbose",
        False,
        group="Running",
        help="Show warnings of Beam and what its workers print, which otherwise go to a file that "
        "is named when the run fails.",
    )
    dry_run: Literal["text", "json"] | None = option(
        "--dry-run",
        group="Planning",
        help="Run nothing: count the inputs, time a sample of them and print the plan with "
        "workers, hours and dollars; --dry-run=json for programs.",
        bare="text",
    )
    deadline_hours: float = option(
        "--deadline-hours",
        8.0,
        group="Planning",
        metavar="HOURS",
        help="What --dry-run plans for: enough workers to be done in this time.",
    )
    beam_options: tuple[str, ...] = ()  # all other arguments, which are Beam's


def options_of(options: type[NetworkOptions]) -> tuple[Option, ...]:
    """Its options, in the order of the help."""
    hints = get_type_hints(options, include_extras=True)
    found = [_option(each, hints[each.name]) for each in fields(options) if each.metadata]
    return tuple(sorted(found, key=lambda each: GROUPS.index(each.group)))


def _option(each: Field[Any], annotation: Any) -> Option:
    is_repeatable = get_origin(annotation) is tuple
    if is_repeatable or NoneType in get_args(annotation):
        annotation = get_args(annotation)[0]
    choices = get_args(annotation) if get_origin(annotation) is Literal else ()
    is_location = annotation == Location
    return Option(
        name=each.name,
        type=str if choices or is_location else annotation,
        default=each.default,
        choices=choices,
        is_location=is_location,
        is_repeatable=is_repeatable,
        **each.metadata,
    )
