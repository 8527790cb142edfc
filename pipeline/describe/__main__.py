"""`python -m pipeline.describe`: the layers of a network, their costs, and what each block saves.

Every layer with its output, parameters and mult-adds, read from the Keras model itself; beside
them the same network with standard convolutions, and with spatially separable ones.

Exit codes: 0 done; 2 wrong usage, or a model that cannot be.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, Final, TypeVar

from pipeline.console.command import options_from
from pipeline.console.print_rows import Format, Share, print_rows, print_text
from pipeline.console.reading_command import own_option, reading_command
from pipeline.describe.count_operations import Cost
from pipeline.describe.layer_costs import Block, Compared, compare_convolutions
from pipeline.options import NetworkOptions, UsageError
from transforms.choices import DEFAULT_ALPHA, DEFAULT_IMAGE_SIZE
from transforms.engines.native_log import native_log_discarded
from transforms.models.errors import ModelError
from transforms.models.labels import imagenet_labels
from transforms.models.resolve import check_labels, given_labels, is_own, own_model_file
from transforms.models.zoo import architecture

T = TypeVar("T")

_PROG: Final = "python -m pipeline.describe"
_EXAMPLES: Final = f"""Examples:
  {_PROG}                                  MobileNet 1.0/224
  {_PROG} --alpha 0.5 --image-size 160
  {_PROG} --sizes --markdown               every published alpha and size
  {_PROG} --model mine.keras --json | jq '.[-1].mult_adds'"""

# Howard et al. 2017, tables 6 and 7: millions of mult-adds and of parameters.
PAPER: Final = {
    (1.0, 224): (569, 4.2),
    (0.75, 224): (325, 2.6),
    (0.5, 224): (149, 1.3),
    (0.25, 224): (41, 0.5),
    (1.0, 192): (418, 4.2),
    (1.0, 160): (290, 4.2),
    (1.0, 128): (186, 4.2),
}
# Table 4: the same with standard convolutions.
PAPER_STANDARD: Final = (4866, 29.3)

_COLUMNS: Final = (
    *("layer", "kind", "output", "parameters", "mult_adds"),
    *("standard_parameters", "standard_mult_adds", "spatial_parameters", "spatial_mult_adds"),
    "share_of_standard",
)
_SIZES_COLUMNS: Final = (
    *("alpha", "image_size", *_COLUMNS[3:9]),
    *("paper_parameters_millions", "paper_mult_adds_millions"),
)
_SIZES_HEADINGS: Final = (
    *("alpha", "size", "parameters M", "mult-adds M"),
    *("standard parameters M", "standard mult-adds M"),
    *("spatial parameters M", "spatial mult-adds M"),
    *("paper parameters M", "paper mult-adds M"),
)


@reading_command(_EXAMPLES)
@options_from(NetworkOptions, "model", "alpha", "image_size", "labels")
@own_option(
    *("Model", "--sizes"),
    is_flag=True,
    help="One row for each alpha and image size with published weights, instead of the layers.",
)
def main(format: Format, sizes: bool, **given: Any) -> None:
    """Show every layer of a network with output, parameters and mult-adds, and what it saves.

    The same network with standard convolutions stands beside it, and, to complete the picture,
    with spatially separable ones (3x1 and 1x3). Mult-adds are for one image.
    """
    options = NetworkOptions(**given)
    if sizes:
        _print_sizes(options, format)
        return
    compared, notes = _quietly(lambda: _compared(options))
    if format == "table":
        _print_tables(compared, notes, options)
    else:
        rows = [*map(_row, compared), _total_row(compared)]
        print_rows(_COLUMNS, _with_text(rows) if format == "markdown" else rows, format)


def _compared(options: NetworkOptions) -> tuple[Sequence[Compared], Sequence[str]]:
    """The layers of the network, and a sentence for each thing found out on a model of one's own.

    Raises:
        ModelError: there is none for these options.
    """
    if not is_own(options.model):
        return compare_convolutions(_network(options)), ()
    path, labels = own_model_file(options.model), given_labels(options.labels)
    if options.alpha is not None or options.image_size is not None:
        raise ModelError(
            f"--model {options.model!r} brings its own input size; drop --alpha and --image-size"
        )
    from transforms.models.own_model import class_count, one_line, read_own_model

    own = read_own_model(path, options.scaling, options.outputs)
    if labels is not None:
        check_labels(labels, options.labels, path.stem, class_count(own.model))
    try:
        return compare_convolutions(own.model), own.notes
    except Exception as error:  # a layer may be of any kind
        reason = one_line(str(error))
        raise ModelError(
            f"--model {options.model!r} has layers of no known kind: {reason}"
        ) from error


def _network(options: NetworkOptions) -> Any:
    """The Keras model of an architecture, with random weights.

    Raises:
        ModelError: there is none for these options.
    """
    labels = given_labels(options.labels)
    entry = architecture(options.model)
    alpha = DEFAULT_ALPHA if options.alpha is None else options.alpha
    size = DEFAULT_IMAGE_SIZE if options.image_size is None else options.image_size
    if entry.weights_file is None:
        entry.check_published(alpha, size)
    try:
        return entry.build(alpha, size, len(labels or imagenet_labels()))
    except ValueError as error:
        raise ModelError(
            f"--alpha {alpha:g} and --image-size {size} make no {entry.name}: "
            f"{str(error).splitlines()[0]}"
        ) from error


def _quietly(make: Callable[[], T]) -> T:
    """The result of `make`, without a GPU and with TensorFlow's log discarded."""
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    wrong = None
    with native_log_discarded():
        try:
            return make()
        except ModelError as error:  # with an exception, the log would come out too
            wrong = error
    raise wrong


def _row(compared: Compared) -> list[Any]:
    layer, standard, spatial, block = compared
    row: list[Any] = [layer.name, layer.kind, list(layer.output)]
    row += [layer.parameters, layer.mult_adds]
    for other in (standard, spatial):
        row += [other.parameters, other.mult_adds] if other else [None, None]
    return [*row, _share(block.separable, block.standard) if block else None]


def _total_row(compared: Sequence[Compared]) -> list[Any]:
    own, standard, spatial = totals(compared)
    known = all(each.layer.mult_adds is not None for each in compared)
    row = ["total", None, None, own.parameters, own.mult_adds if known else None]
    for other in (standard, spatial):
        row += [other.parameters, other.mult_adds if known else None]
    return [*row, _share(own, standard) if known else None]


def totals(compared: Iterable[Compared]) -> tuple[Cost, Cost, Cost]:
    """The network as it is, with standard and with spatially separable convolutions."""
    own = standard = spatial = Cost(0, 0)
    for each in compared:
        own += each.layer.cost
        standard += each.standard or Cost(0, 0)
        spatial += each.spatial or Cost(0, 0)
    return own, standard, spatial


def _with_text(rows: Iterable[list[Any]]) -> list[list[Any]]:
    return [[*row[:2], _shape(row[2]), *row[3:]] for row in rows]


def _shape(sides: Sequence[int | None] | None) -> str:
    return " x ".join("?" if side is None else str(side) for side in sides or ())


def _print_tables(
    compared: Sequence[Compared], notes: Sequence[str], options: NetworkOptions
) -> None:
    rows = [row[:5] for row in _with_text([*map(_row, compared), _total_row(compared)])]
    print_rows(("layer", "kind", "output", "parameters", "mult-adds"), rows, "table")
    blocks = [(each.layer.name, each.block) for each in compared if each.block]
    if blocks:
        print_text("\nThousands of parameters and millions of mult-adds of each block\n\n")
        columns = ["block", *("separable", "standard", "spatial") * 2, "1/N + 1/Dk² in %"]
        print_rows(columns, [_block_row(name, block) for name, block in blocks], "table")
    lines = [*_summary(compared, options), *notes]
    print_text("\n" + "".join(f"{line}\n" for line in lines), flush=True)


def _block_row(name: str, block: Block) -> list[Any]:
    costs = (block.separable, block.standard, block.spatial)
    return [
        name,
        *(round(cost.parameters / 1e3, 1) for cost in costs),
        *(round(cost.mult_adds / 1e6, 1) for cost in costs),
        round(100 * _share(block.separable, block.standard), 1),
    ]


def _summary(compared: Sequence[Compared], options: NetworkOptions) -> list[str]:
    own, standard, spatial = totals(compared)
    unknown = {each.layer.kind for each in compared if each.layer.mult_adds is None}
    least = "at least " if unknown else ""
    lines = [f"{least}{_millions(own)}"]
    if own != standard:
        lines += [
            f"with standard convolutions {_millions(standard)}: "
            f"{standard.mult_adds / own.mult_adds:.1f} and "
            f"{standard.parameters / own.parameters:.1f} times as many",
            f"with spatially separable convolutions {_millions(spatial)}",
        ]
    if unknown:
        lines.append(f"the mult-adds of {', '.join(sorted(unknown))} are not counted")
    if options == NetworkOptions():
        classifier = next(each.layer for each in reversed(compared) if each.layer.mult_adds)
        lines.append(_paper_line(classifier.mult_adds or 0))
    return lines


def _paper_line(classifier: int) -> str:
    (mult_adds, parameters), standard = PAPER[DEFAULT_ALPHA, DEFAULT_IMAGE_SIZE], PAPER_STANDARD
    return (
        f"the paper says {mult_adds} M and {parameters} M against {standard[0]} M and "
        f"{standard[1]} M; its {standard[0]} M are without the {classifier / 1e6:.1f} M of the "
        f"classifier"
    )


def _print_sizes(options: NetworkOptions, format: Format) -> None:
    """One row for each alpha and image size that weights are published for."""
    if is_own(options.model) or options.alpha is not None or options.image_size is not None:
        raise UsageError(
            "--sizes shows an architecture at every alpha and size: give only its name"
        )
    entry = architecture(options.model)
    choices = [(alpha, size) for alpha in entry.alphas for size in entry.image_sizes]
    choices.sort(reverse=True)
    all_totals = _quietly(lambda: [_totals_of(options, *choice) for choice in choices])
    is_table = format == "table"
    rows = [
        [*choice, *_numbers(costs, in_millions=is_table), *_paper(options.model, choice)]
        for choice, costs in zip(choices, all_totals, strict=True)
    ]
    print_rows(_SIZES_HEADINGS if is_table else _SIZES_COLUMNS, rows, format)


def _totals_of(options: NetworkOptions, alpha: float, image_size: int) -> tuple[Cost, Cost, Cost]:
    return totals(
        compare_convolutions(_network(replace(options, alpha=alpha, image_size=image_size)))
    )


def _numbers(costs: Iterable[Cost], in_millions: bool) -> list[float]:
    numbers = [number for cost in costs for number in (cost.parameters, cost.mult_adds)]
    return [round(number / 1e6, 1) for number in numbers] if in_millions else [*numbers]


def _paper(model: str, choice: tuple[float, int]) -> tuple[float | None, float | None]:
    mult_adds, parameters = (
        PAPER.get(choice, (None, None)) if model == NetworkOptions.model else (None, None)
    )
    return parameters, mult_adds


def _millions(cost: Cost) -> str:
    return f"{cost.mult_adds / 1e6:,.1f} M mult-adds and {cost.parameters / 1e6:,.2f} M parameters"


def _share(cost: Cost, standard: Cost) -> Share:
    return Share(cost.mult_adds / standard.mult_adds)


if __name__ == "__main__":
    main(prog_name=_PROG)
