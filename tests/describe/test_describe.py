import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from pipeline.describe.__main__ import PAPER, main
from tests.helpers.model_fixtures import TINY_LABELS, Command, TinyModel

SMALL = ("--alpha", "0.25", "--image-size", "32")


def invoke(*options: str) -> Result:
    return CliRunner().invoke(main, list(options))


def shown(*options: str) -> Any:
    """The rows of --json."""
    result = invoke(*options, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    return json.loads(result.stdout)


def refused(*options: str) -> str:
    """The message of a wrong use."""
    result = invoke(*options)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Traceback" not in result.stderr
    assert result.stderr.startswith("error: ")
    return result.stderr.removeprefix("error: ").rstrip("\n")


def test_the_full_network_stands_beside_the_standard_one_with_the_papers_totals(
    run: Command,
) -> None:
    done = run(module="pipeline.describe")
    assert (done.code, done.err) == (0, "")
    lines = [line.split() for line in done.out.splitlines()]
    assert ["conv1", "Conv2D", "112", "x", "112", "x", "32", "864", "10,838,016"] in lines
    assert ["total", "4,253,864", "568,740,352"] in lines
    assert ["conv_pw_13", "1,057.8", "9,437.2", "6,291.5"] + [
        "51.8",
        "462.4",
        "308.3",
        "11.2",
    ] in lines
    assert done.out.splitlines()[-4:] == [
        "568.7 M mult-adds and 4.25 M parameters",
        "with standard convolutions 4,867.3 M mult-adds and 29.31 M parameters: "
        "8.6 and 6.9 times as many",
        "with spatially separable convolutions 3,963.1 M mult-adds and 21.98 M parameters",
        "the paper says 569 M and 4.2 M against 4866 M and 29.3 M; its 4866 M are without the "
        "1.0 M of the classifier",
    ]


def test_rows_add_up_to_the_last_one() -> None:
    *rows, total = shown(*SMALL)
    assert total["layer"] == "total"
    for column in list(total)[3:9]:
        assert sum(row[column] or 0 for row in rows) == total[column]
    assert rows[0]["output"] == [32, 32, 3]
    assert len(rows) == 91
    (block,) = [row for row in rows if row["layer"] == "conv_pw_1"]
    assert block["share_of_standard"] == pytest.approx(1 / 16 + 1 / 9)
    assert [row["standard_mult_adds"] for row in rows if row["layer"] == "conv_dw_1"] == [None]


def test_every_published_size_is_within_a_million_of_the_paper() -> None:
    rows = shown("--sizes")
    assert [(row["alpha"], row["image_size"]) for row in rows] == [
        (alpha, size) for alpha in (1.0, 0.75, 0.5, 0.25) for size in (224, 192, 160, 128)
    ]
    compared = 0
    for row in rows:
        known = PAPER.get((row["alpha"], row["image_size"]))
        given = row["paper_mult_adds_millions"], row["paper_parameters_millions"]
        assert given == (known or (None, None))
        if known:
            assert abs(row["mult_adds"] / 1e6 - known[0]) < 1
            assert abs(row["parameters"] / 1e6 - known[1]) < 0.06
            compared += 1
    assert compared == 7


def test_another_architecture_has_its_published_counts() -> None:
    total = shown("--model", "efficientnet_lite0")[-1]
    assert total["parameters"] == 4_652_008 + 42_016  # those trained, and means and variances
    assert round(total["mult_adds"] / 1e6) == 385


def test_csv_and_markdown_have_a_line_a_layer() -> None:
    rows = list(csv.DictReader(io.StringIO(invoke(*SMALL, "--csv").stdout)))
    assert (rows[1]["layer"], rows[1]["output"]) == ("conv1", "[16, 16, 8]")
    lines = invoke(*SMALL, "--markdown").stdout.splitlines()
    assert len(lines) == 2 + 91 + 1
    assert lines[3].startswith("| conv1 | Conv2D | 16 x 16 x 8 | 216 | 55,296 | 216 | 55,296 |")


def test_a_model_of_ones_own_is_described_and_its_labels_are_counted(
    tiny_model: TinyModel, tmp_path: Path
) -> None:
    own = ("--model", str(tiny_model.path))
    assert shown(*own, "--labels", str(tiny_model.labels))[-1]["parameters"] == 260
    assert "with standard convolutions" not in invoke(*own).stdout
    assert "with its own" not in refused(*own, "--alpha", "0.5")
    assert "brings its own input size; drop --alpha" in refused(*own, "--alpha", "0.5")
    (tmp_path / "three.txt").write_text("\n".join(TINY_LABELS[:3]))
    message = refused(*own, "--labels", str(tmp_path / "three.txt"))
    assert message.endswith("has 3 labels, but tiny has 4 classes; give one label for each class")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--jsno"], "no such option: --jsno (did you mean '--json'?)"),
        (["--alhpa", "1"], "no such option: --alhpa (did you mean '--alpha'?)"),
        (["--qqqqqqqq"], "no such option: --qqqqqqqq; --help lists the options"),
        (["--alpha", "wide"], "invalid value for '--alpha': 'wide' is not a valid float."),
        (["photo.jpg"], "got unexpected extra argument (photo.jpg)"),
        (["--model", "mobilnet"], "--model 'mobilnet' is unknown (did you mean 'mobilenet'?)"),
        (["--model", "gone.keras"], "--model 'gone.keras' does not exist; give"),
        (["--model", "own.h5"], "--model 'own.h5' is no .keras file: weights go with --weights"),
        (["--alpha", "0.01"], "--alpha 0.01 and --image-size 224 make no mobilenet: alpha is 0.01"),
        (["--image-size", "8"], "--alpha 1 and --image-size 8 make no mobilenet: image_size is 8"),
        (["--model", "mobilenet_v2", "--image-size", "8"], "--image-size 8 make no mobilenet_v2"),
        (["--model", "efficientnet_lite0", "--alpha", "0.5"], "--alpha 0.5 has no published"),
        (["--sizes", "--alpha", "0.5"], "--sizes shows an architecture at every alpha and size"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_use_names_the_value_and_what_would_work(
    options: Sequence[str], message: str
) -> None:
    assert message in refused(*options)
