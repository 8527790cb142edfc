"""The command as a user types it, its output compared with Keras alone."""

import json
import shutil
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.helpers.model_fixtures import (
    PHOTOS,
    SHARED,
    TINY_LABELS,
    Command,
    TinyModel,
    needs_shared,
    shared_weights,
    tiny_probabilities,
)


def rows_of(output: Path) -> list[dict[str, Any]]:
    """All rows by DuckDB, opened with no options."""
    query = f"SELECT * FROM '{output}/predictions/*/*.parquet' ORDER BY uri"
    found = duckdb.connect().execute(query)
    names = [column[0] for column in found.description]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def run_facts(output: Path) -> dict[str, Any]:
    """The one runs/<run>.json."""
    (path,) = (output / "runs").iterdir()
    facts: dict[str, Any] = json.loads(path.read_text())
    return facts


def test_every_photograph_becomes_the_row_that_keras_computes(
    run: Command, tiny_model: TinyModel, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = run(
        "--input", f"{PHOTOS}/", "--output", str(out), "--resize", "keras", *tiny_model.options()
    )
    assert done.code == 0
    # Nothing of TensorFlow's, Beam's or absl's: at most our own line about the first build.
    assert done.err in ("", "building tiny for litert (once; some ten seconds)\n")

    paths = sorted(PHOTOS.iterdir())
    expected = tiny_probabilities(tiny_model, paths)
    rows = rows_of(out)
    assert [row["uri"] for row in rows] == [str(path) for path in paths]
    for row, scores in zip(rows, expected, strict=True):
        best = np.argsort(-scores)[:2]
        assert [top["class_index"] for top in row["top_k"]] == best.tolist()
        np.testing.assert_allclose([top["score"] for top in row["top_k"]], scores[best], atol=1e-4)
        assert row["label"] == TINY_LABELS[best[0]]
        assert row["class_index"] == best[0]
        assert row["error"] is None


def test_the_account_of_a_run_names_every_kind_of_input(
    run: Command, tiny_model: TinyModel, tmp_path: Path
) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    shutil.copytree(PHOTOS, folder)
    (folder / "empty.jpg").touch()
    (folder / "page.jpg").write_text("<html>not a picture</html>")
    (folder / "cut.jpg").write_bytes((PHOTOS / "cat.jpg").read_bytes()[:5000])
    (folder / "nowhere.jpg").symlink_to("gone.jpg")
    manifest = tmp_path / "list.txt"
    manifest.write_text(f"{folder / 'cat.jpg'}\n{folder / 'missing.jpg'}\n")
    done = run(
        *("--input", str(folder), "--manifest", str(manifest), "--output", str(out)),
        *("--shard-size", "5", *tiny_model.options()),
    )
    assert done.code == 0

    errors = {Path(row["uri"]).name: row["error"] for row in rows_of(out) if row["error"]}
    assert errors == {
        "empty.jpg": "empty",
        "page.jpg": "not_an_image",
        "cut.jpg": "truncated",
        "nowhere.jpg": "not_found",
        "missing.jpg": "not_found",
    }
    facts = run_facts(out)
    photographs = len(list(PHOTOS.iterdir()))
    assert facts["listed"] == photographs + 5 == facts["predicted"] + facts["failed"]
    assert (facts["failed"], facts["duplicates"], facts["skipped"]) == (5, 1, 0)
    assert facts["complete"] is True
    assert [file["rows"] for file in facts["files"]] == [5, 5, 5, 2]
    for file in facts["files"]:
        assert pq.ParquetFile(out / file["path"]).metadata.num_rows == file["rows"]
    assert f"{photographs + 5} images listed, {photographs} predicted, 5 failed" in done.out
    assert "1 image named again, counted once" in done.out
    parts = [path for path in (out / "predictions").rglob("*") if path.is_file()]
    assert {path.suffix for path in parts} == {".parquet"}


def test_the_duckdb_line_of_the_summary_works_as_printed(
    run: Command, tiny_model: TinyModel, tmp_path: Path
) -> None:
    done = run("--input", str(PHOTOS), "--output", str(tmp_path / "out"), *tiny_model.options())
    query = done.out.strip().splitlines()[-1].removeprefix('duckdb -c "').removesuffix('"')
    assert len(duckdb.connect().execute(query).fetchall()) == len(list(PHOTOS.iterdir()))


def test_too_many_failures_are_exit_code_3_with_all_rows_written(
    run: Command, tiny_model: TinyModel, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    shutil.copy(PHOTOS / "cat.jpg", tmp_path / "in")
    (tmp_path / "in" / "empty.jpg").touch()
    out = tmp_path / "out"
    done = run(
        *("--input", str(tmp_path / "in"), "--output", str(out)),
        *("--max-failure-rate", "0.4", *tiny_model.options()),
    )
    assert done.code == 3
    error, command = done.err.splitlines()
    assert error == (
        "error: 50.0% of the images failed, more than --max-failure-rate 0.4; to see which and why:"
    )
    assert command == f"  python -m pipeline.query {out} --failed"
    listed = run(*command.split()[3:], module="pipeline.query")
    assert "empty.jpg" in listed.out
    assert "cat.jpg" not in listed.out
    assert len(rows_of(out)) == 2


def test_a_full_disk_is_exit_code_1_with_the_cause_in_one_line(
    run: Command, tiny_model: TinyModel, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    # A limit on the size of files stands in for a full disk: the ledger fits, a shard does not.
    script = (
        "import resource, runpy, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000));"
        "sys.argv = ['run', *sys.argv[1:]]; runpy.run_module('pipeline.run', run_name='__main__')"
    )
    run("--input", str(PHOTOS), "--output", str(tmp_path / "warm"), *tiny_model.options())
    done = run(
        *("-c", script, "--input", str(PHOTOS), "--output", str(out), *tiny_model.options()),
        module="",
    )
    assert done.code == 1
    assert done.err.splitlines()[:3] == [
        "error: the run failed: OSError: [Errno 27] File too large",
        "  the traceback is in no file (File too large)",
        "  no shard was finished; to go on from here:",
    ]
    assert not list(out.rglob("*.parquet"))
    assert not (out / "runs").exists()


def test_a_second_run_on_a_cpu_never_imports_tensorflow(
    run: Command, tiny_model: TinyModel, tmp_path: Path
) -> None:
    script = (
        "import runpy, sys; sys.argv = ['run', *sys.argv[1:]]\n"
        "try:\n    runpy.run_module('pipeline.run', run_name='__main__')\n"
        "finally:\n    print({'tensorflow', 'keras', 'PIL'} & set(sys.modules), file=sys.stderr)\n"
    )
    options = ["--input", str(PHOTOS), *tiny_model.options(), "--output"]
    run(*options, str(tmp_path / "first"))
    done = run("-c", script, *options, str(tmp_path / "second"), module="")
    assert (done.code, done.err) == (0, "{'PIL'}\n")


@needs_shared
@pytest.mark.parametrize(
    ("engine", "tolerance"), [("tensorflow", 1e-4), ("litert", 1e-3)], ids=["tensorflow", "litert"]
)
def test_real_weights_give_the_top_5_of_keras_applications(
    run: Command, tmp_path: Path, engine: str, tolerance: float
) -> None:
    import keras

    paths = sorted((SHARED / "images").iterdir())
    pixels = [
        keras.utils.img_to_array(keras.utils.load_img(path, target_size=(224, 224)))
        for path in paths
    ]
    model = keras.applications.MobileNet(weights=shared_weights(0.25), alpha=0.25)
    inputs = keras.applications.mobilenet.preprocess_input(np.stack(pixels))
    expected = model.predict(inputs, verbose=0)

    done = run(
        *("--input", str(SHARED / "images"), "--output", str(tmp_path / "out")),
        *("--weights", shared_weights(0.25), "--alpha", "0.25"),
        *("--resize", "keras", "--engine", engine, "--precision", "float32"),
    )
    assert done.code == 0
    rows = rows_of(tmp_path / "out")
    assert len(rows) == len(paths) == 100
    for row, scores in zip(rows, expected, strict=True):
        best = np.argsort(-scores)[:5]
        assert [top["class_index"] for top in row["top_k"]] == best.tolist()
        np.testing.assert_allclose(
            [top["score"] for top in row["top_k"]], scores[best], atol=tolerance
        )


@needs_shared
def test_crop_reaches_the_published_accuracy_on_real_photographs(
    run: Command, tmp_path: Path
) -> None:
    done = run(
        *("--input", str(SHARED / "images"), "--output", str(tmp_path / "out")),
        *("--weights", shared_weights(0.75), "--alpha", "0.75"),
    )
    assert done.code == 0
    rows = rows_of(tmp_path / "out")
    right = sum(row["wnid"] == Path(row["uri"]).name.split("_")[0] for row in rows)
    assert right >= 88  # of 100; 92 when this was written, 86.8 % of a larger set
