"""What a person gets wrong: exit code 2 before anything runs, the value and what would work."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from pipeline.options import UsageError
from pipeline.run import main
from pipeline.running.account import Account, read_account
from pipeline.running.preflight import check_claimed
from tests.helpers.model_fixtures import PHOTOS, Command, TinyModel

pytestmark = pytest.mark.usefixtures("own_caches")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def invoke(options: Sequence[str]) -> Result:
    return CliRunner().invoke(main, list(options))


def refused(out: Path, *options: str) -> str:
    """The message of a run that must be refused with nothing written."""
    result = invoke(["--input", str(PHOTOS), "--output", str(out), *options])
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert not out.exists()
    assert "Traceback" not in result.stderr
    return result.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--top-k", "2000"], "--top-k 2000 must be 1 to 1000"),
        (["--top-k", "0"], "--top-k 0 must be 1 to 1000"),
        (["--alpha", "0.3"], "--alpha 0.3 has no published mobilenet weights; there are 0.25"),
        (["--image-size", "300"], "--image-size 300 has no published mobilenet weights"),
        (["--model", "mobilnet"], "--model 'mobilnet' is unknown (did you mean 'mobilenet'?)"),
        (["--model", "none.keras"], "--model 'none.keras' does not exist; give the path of a"),
        (["--model", "none.keras", "--labels", "x"], "--model 'none.keras' does not exist"),
        (["--model", str(PHOTOS)], f"--model '{PHOTOS}' is not a file; give the path of a .keras"),
        (["--model", "own.h5"], "--model 'own.h5' is no .keras file: weights go with --weights"),
        (["--model", "./own.HDF5"], "keras.models.load_model('./own.HDF5').save('x.keras')"),
        (["--model", "own.tflite"], "--model 'own.tflite': .tflite files are not taken; convert"),
        (["--model", "net/own.pt"], "--model 'net/own.pt': .pt files are not taken; convert it"),
        (["--labels", "none.txt"], "error: --labels 'none.txt' does not exist\n"),
        (["--labels", str(PHOTOS)], f"--labels '{PHOTOS}' cannot be read: {PHOTOS} is a folder"),
        (["--weights", "none.h5"], "--weights 'none.h5' is not a file"),
        (["--model", "efficientnet_lite0", "--alpha", "0.5"], "--alpha 0.5 has no published"),
        (["--model", "efficientnet_lite0", "--weights", "x.h5"], "drop --weights"),
        (["--precision", "int8", "--engine", "tensorflow"], "--precision int8 needs"),
        (["--precision", "float16", "--engine", "litert"], "--precision float16 needs"),
        (["--batch-size", "0"], "--batch-size 0 must be at least 1"),
        (["--shard-size", "0"], "--shard-size 0 must be at least 1"),
        (["--max_num_workers=-3"], "--max_num_workers -3 must be at least 1"),
        (["--disk_size_gb=-50"], "--disk_size_gb -50 must be at least 1"),
        (["--runner=PortableRunner"], "PortableRunner needs --job_endpoint, such as --job_"),
        (["--max-failure-rate", "7"], "--max-failure-rate 7 must be a share from 0 to 1"),
        (["--inptu", "x"], "no such option: --inptu; did you mean --input?"),
        (["--temp-locaton", "x"], "no such option: --temp-locaton; did you mean --temp_location?"),
        (["--num_worker=3"], "no such option: --num_worker; did you mean --num_workers?"),
        (["photos"], "unexpected argument 'photos'; an input is given as --input photos"),
        (["--runner", "DirectRuner"], "--runner 'DirectRuner' is unknown"),
        (
            ["--input", "https://a.org/b.jpg"],
            "--input 'https://a.org/b.jpg' cannot be read: there is no filesystem for https://; "
            "what works are local paths, gs://, and with their extra of apache-beam s3://, hdfs://",
        ),
        (
            ["--manifest", "s4://bucket/list.txt"],
            "--manifest 's4://bucket/list.txt' cannot be read: there is no filesystem for s4://",
        ),
        (
            ["--output", "ftp://a.org/out"],
            "--output 'ftp://a.org/out' cannot be written: there is no filesystem for ftp://",
        ),
        (["--output", str(PHOTOS / "cat.jpg")], "cat.jpg' is a file; give a folder"),
        (["--resize", "stretch"], "'stretch' is not one of 'crop', 'squash', 'keras'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_option_names_the_value_and_what_would_work(
    out: Path, options: list[str], message: str
) -> None:
    assert message in refused(out, *options)


def test_no_weights_and_no_network_give_three_ways_out(out: Path) -> None:
    message = refused(out)
    assert "mobilenet_1_0_224_tf.h5" in message
    for way in (
        "--weights PATH",
        "https://storage.googleapis.com/tensorflow/keras-applications/mobilenet/",
        "--model efficientnet_lite0",
    ):
        assert way in message


def test_an_input_that_matches_nothing_is_named(tmp_path: Path) -> None:
    result = invoke(["--input", f"{tmp_path}/*.jpeg", "--output", f"{tmp_path}/out"])
    assert result.exit_code == 2
    assert f"--input '{tmp_path}/*.jpeg' matches nothing" in result.stderr


def test_an_input_that_is_an_empty_folder_is_said_to_be_one(tmp_path: Path, out: Path) -> None:
    (tmp_path / "in" / "below").mkdir(parents=True)
    result = invoke(["--input", str(tmp_path / "in"), "--output", str(out)])
    assert (result.exit_code, out.exists()) == (2, False)
    assert result.stderr == f"error: --input '{tmp_path / 'in'}' is an empty folder\n"


def test_an_empty_or_missing_manifest_is_named(tmp_path: Path) -> None:
    (tmp_path / "none.txt").write_text("\n\n")
    (tmp_path / "list.csv").write_text("path\nx.jpg\n")
    for name, message in (
        ("none.txt", "names no image"),
        ("gone.txt", "does not exist"),
        ("list.csv", "has no column 'uri'; it has 'path'"),
        ("list.json", "must end in .txt, .csv or .parquet"),
    ):
        result = invoke(["--manifest", str(tmp_path / name), "--output", str(tmp_path / "out")])
        assert result.exit_code == 2
        assert name in result.stderr
        assert message in result.stderr


def test_forgotten_options_are_named() -> None:
    assert "give --input PATH or --manifest FILE" in invoke([]).stderr
    assert "--output FOLDER is missing" in invoke(["--input", str(PHOTOS)]).stderr


def test_an_output_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    output = tmp_path / "file" / "out"
    result = invoke(["--input", str(PHOTOS), "--output", str(output)])
    assert result.exit_code == 2
    assert f"--output '{output}' cannot be written: Not a directory" in result.stderr


def test_weights_of_another_network_name_the_first_layer_that_differs(
    out: Path, tmp_path: Path
) -> None:
    import keras

    model = keras.applications.MobileNet((64, 64, 3), alpha=0.25, weights=None)
    path = tmp_path / "small.weights.h5"
    model.save_weights(path)
    message = refused(out, "--weights", str(path), "--alpha", "0.5", "--image-size", "64")
    assert "is not of this network" in message
    assert "conv1" in message


def test_labels_must_cover_the_classes_of_an_own_model(
    out: Path, tmp_path: Path, tiny_model: TinyModel
) -> None:
    labels = tmp_path / "three.txt"
    labels.write_text("a\nb\nc\n")
    wrong = f"--labels '{labels}' has 3 labels, but "
    own = ("--model", str(tiny_model.path), "--labels", str(labels))
    assert f"{wrong}tiny has 4 classes" in refused(out, *own)
    assert f"{wrong}tiny has 4 classes" in refused(out, *own, "--top-k", "4")
    for name in ("mobilenet", "efficientnet_lite0"):
        message = refused(out, "--model", name, "--labels", str(labels))
        assert message.startswith(f"error: {wrong}{name} has 1000 classes")


def test_without_top_k_a_small_model_gives_all_its_classes(
    out: Path, tiny_model: TinyModel
) -> None:
    options = [*tiny_model.options()[:4], "--input", str(PHOTOS), "--output", str(out)]
    result = invoke(options)
    assert (result.exit_code, result.stderr) == (0, "")
    rows = pq.ParquetDataset(out / "predictions").read().to_pylist()
    assert [len(row["top_k"]) for row in rows] == [4] * 12


def test_results_of_an_earlier_run_are_never_overwritten(
    tmp_path: Path, tiny_model: TinyModel
) -> None:
    options = ["--input", str(PHOTOS), "--output", str(tmp_path / "out"), *tiny_model.options()]
    assert invoke(options).exit_code == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    result = invoke(options)
    assert result.exit_code == 2
    assert "already holds the results of a run" in result.stderr
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


def test_a_run_that_began_and_ended_while_this_one_prepared_is_noticed(tmp_path: Path) -> None:
    output, earlier = str(tmp_path), "r-20261126T000000-aaaa"
    assert check_claimed(output, "r-20261126T000001-0000", resume=False) == set()
    (tmp_path / "ledger").mkdir()
    (tmp_path / "ledger" / f"{earlier}.jsonl").touch()
    assert check_claimed(output, "r-20261126T000001-0000", resume=True) == {earlier}
    with pytest.raises(UsageError, match="already holds the results of a run"):
        check_claimed(output, "r-20261126T000001-0000", resume=False)
    with pytest.raises(UsageError, match="has just ended: start this one again"):
        check_claimed(output, "r-20261126T000000-0000", resume=True)


def test_a_part_file_that_is_gone_at_the_end_is_exit_code_4_naming_it(
    tmp_path: Path, tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose_and_read(*arguments: Any) -> Account:
        (part,) = (tmp_path / "out" / "predictions").rglob("*00001.parquet")
        part.unlink()
        return read_account(*arguments)

    monkeypatch.setattr("pipeline.running.outcome.read_account", lose_and_read)
    options = ["--input", str(PHOTOS), "--output", str(tmp_path / "out"), "--shard-size", "5"]
    result = invoke([*options, *tiny_model.options()])
    assert result.exit_code == 4
    assert "error: the ledger does not balance:" in result.stderr
    assert "part-00000-00001.parquet with 5 images is missing" in result.stderr
    (file,) = (tmp_path / "out" / "runs").iterdir()
    facts = json.loads(file.read_text())
    assert facts["complete"] is False
    (difference,) = facts["differences"]
    assert difference.endswith("/part-00000-00001.parquet with 5 images is missing")


def test_help_shows_every_option_in_groups(run: Command) -> None:
    done = run("--help")
    assert done.code == 0
    assert done.err == ""
    for heading in ("Input and output:", "Model:", "Images:", "Speed:", "Running:"):
        assert heading in done.out
    for parameter in main.params:
        assert parameter.opts[0] in done.out


def test_beam_options_reach_beam(tmp_path: Path, tiny_model: TinyModel) -> None:
    result = invoke(
        ["--input", str(PHOTOS), "--output", str(tmp_path / "out"), *tiny_model.options()]
        + ["--job_name=a-name", "--direct_num_workers", "1"]
    )
    assert result.exit_code == 0, result.stderr
    assert os.listdir(tmp_path / "out" / "runs")
