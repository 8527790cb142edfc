import csv
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from pipeline.classify import main
from tests.helpers.gcs_emulator import Proxy
from tests.helpers.model_fixtures import (
    PHOTOS,
    ROOT,
    TINY_LABELS,
    Command,
    TinyModel,
    without_notes,
)
from transforms.schema import SCHEMA

pytestmark = pytest.mark.usefixtures("own_caches")

CAT, ESPRESSO = str(PHOTOS / "cat.jpg"), str(PHOTOS / "espresso.png")


def invoke(*options: str, stdin: bytes = b"") -> Result:
    return CliRunner().invoke(main, list(options), input=stdin)


def test_a_row_is_the_one_that_a_run_writes(
    run: Command, tiny_model: TinyModel, tmp_path: Path
) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    shutil.copytree(PHOTOS, folder)
    (folder / "empty.jpg").touch()
    (folder / "page.jpg").write_text("<html>not a picture</html>")
    (folder / "cut.jpg").write_bytes((PHOTOS / "cat.jpg").read_bytes()[:5000])
    (folder / "nowhere.jpg").symlink_to("gone.jpg")
    options = [*tiny_model.options(), "--max-pixels", "300000", "--resize", "squash"]
    assert run("--input", str(folder), "--output", str(out), *options).code == 0
    expected: dict[str, Any] = {}
    for part in (out / "predictions").rglob("*.parquet"):
        expected |= {row["uri"]: row for row in pq.ParquetFile(part).read().to_pylist()}

    paths = sorted(str(path) for path in folder.iterdir())
    done = run(*paths, *options, "--json", module="pipeline.classify")
    assert (done.code, without_notes(done.err)) == (1, "")
    rows = json.loads(done.out)
    assert [row["uri"] for row in rows] == paths
    assert {row["error"] for row in rows} == {
        *(None, "empty", "not_an_image", "truncated", "not_found", "too_many_pixels")
    }
    for row in rows:
        wanted = expected[row["uri"]]
        assert list(row) == SCHEMA.names
        if wanted["last_modified"]:
            wanted["last_modified"] = wanted["last_modified"].isoformat()
        if row["error"] == "not_found":  # a run says that the listing found it
            wanted["error_stage"] = "read"
        assert row == wanted


def test_a_table_has_each_name_once_and_failures_with_the_reason(
    tiny_model: TinyModel, tmp_path: Path
) -> None:
    result = invoke(CAT, ESPRESSO, *tiny_model.options())
    assert (result.exit_code, without_notes(result.stderr)) == (0, "")
    header, *lines = result.stdout.splitlines()
    assert header.split() == ["image", "label", "score"]
    assert [line.startswith("/") for line in lines] == [True, False, True, False]
    assert all(line.split()[-2] in TINY_LABELS and line.endswith("%") for line in lines)

    page = tmp_path / "page.jpg"
    page.write_text("<html>")
    result = invoke(CAT, str(page), "gone\x1b[31m.jpg", *tiny_model.options())
    assert (result.exit_code, without_notes(result.stderr)) == (1, "")
    header, *lines = result.stdout.splitlines()
    assert header.split()[-1] == "error"
    assert "not_an_image: no image format begins with the bytes b'<html>'" in lines[2]
    assert "gone\\x1b[31m.jpg" in lines[3]
    assert "not_found: file://" in lines[3]


def test_csv_has_a_row_a_class_and_a_row_a_failure(tiny_model: TinyModel) -> None:
    result = invoke(CAT, "gone.jpg", *tiny_model.options(), "--csv")
    assert result.exit_code == 1
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert [(Path(row["uri"]).name, row["rank"], row["error"]) for row in rows] == [
        ("cat.jpg", "1", ""),
        ("cat.jpg", "2", ""),
        ("gone.jpg", "", "not_found"),
    ]
    assert rows[0]["label"] == TINY_LABELS[int(rows[0]["class_index"])]
    assert float(rows[0]["score"]) > float(rows[1]["score"])


def test_without_top_k_a_small_model_gives_all_its_classes(tiny_model: TinyModel) -> None:
    result = invoke(CAT, *tiny_model.options()[:4], "--csv")
    assert (result.exit_code, without_notes(result.stderr)) == (0, "")
    assert {row["label"] for row in csv.DictReader(io.StringIO(result.stdout))} == {*TINY_LABELS}


def test_standard_input_gives_the_names_of_the_file(tiny_model: TinyModel) -> None:
    content = Path(CAT).read_bytes()
    result = invoke("-", CAT, *tiny_model.options(), "--json", stdin=content)
    assert result.exit_code == 0
    piped, named = json.loads(result.stdout)
    assert piped["uri"] == "-"
    assert piped["last_modified"] is None
    assert piped["byte_size"] == named["byte_size"] == len(content)
    assert piped["top_k"] == named["top_k"]


@pytest.mark.parametrize(
    ("stdin", "error"),
    [
        (b"", "empty: - has no bytes"),
        (b"no picture", "not_an_image"),
        (b"\xff\xd8" * 51, "too_many_bytes: standard input has more than the limit of 100 bytes"),
    ],
    ids=["nothing", "text", "too much"],
)
def test_standard_input_that_is_no_picture_says_why(
    tiny_model: TinyModel, stdin: bytes, error: str
) -> None:
    result = invoke("-", *tiny_model.options(), "--max-bytes", "100", stdin=stdin)
    assert result.exit_code == 1
    assert error in result.stdout


def test_more_images_than_a_batch_come_in_the_order_given(tiny_model: TinyModel) -> None:
    paths = [str(path) for path in sorted(PHOTOS.iterdir())] * 4
    result = invoke(*paths, *tiny_model.options(), "--ndjson")
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row["uri"] for row in rows] == paths
    assert [row["top_k"] for row in rows[:12]] == [row["top_k"] for row in rows[36:]]


def test_objects_of_cloud_storage_are_read_in_one_request_each(
    tiny_model: TinyModel, cloud: Proxy
) -> None:
    client = storage.Client("test", credentials=AnonymousCredentials())
    bucket = client.create_bucket("classify")
    bucket.blob("a/cat.jpg").upload_from_filename(CAT)
    before = len(cloud.requests)
    uris = ("gs://classify/a/cat.jpg", "gs://classify/gone.jpg")
    result = invoke(*uris, *tiny_model.options(), "--json")
    assert result.exit_code == 1
    there, gone = json.loads(result.stdout)
    local = json.loads(invoke(CAT, *tiny_model.options(), "--json").stdout)[0]
    assert there["top_k"] == local["top_k"]
    assert gone["error"] == "not_found"
    assert len(cloud.requests) - before == 2


def test_nothing_of_the_libraries_is_said_and_tensorflow_is_not_imported(
    run: Command, tiny_model: TinyModel
) -> None:
    script = (
        "import runpy, sys; sys.argv = ['classify', *sys.argv[1:]]\n"
        "try:\n    runpy.run_module('pipeline.classify', run_name='__main__')\n"
        "finally:\n    print({'tensorflow', 'keras'} & set(sys.modules), file=sys.stderr)\n"
    )
    invoke(CAT, *tiny_model.options())  # the first one builds
    done = run("-c", script, CAT, *tiny_model.options(), module="")
    assert (done.code, without_notes(done.err)) == (0, "set()\n")


def test_the_output_pipes_into_jq_and_head(tiny_model: TinyModel, caches: dict[str, str]) -> None:
    if shutil.which("jq") is None:
        pytest.skip("jq is not installed")
    command = f"{sys.executable} -m pipeline.classify {PHOTOS}/* {' '.join(tiny_model.options())}"
    script = f"set -o pipefail; {command} --json | jq -r '.[].label' | sort | uniq | head -1"
    done = subprocess.run(
        *(["bash", "-c", script],),
        capture_output=True,
        text=True,
        env=os.environ | caches,
        cwd=ROOT,
    )
    assert (done.returncode, without_notes(done.stderr)) == (0, "")
    assert done.stdout.strip() in TINY_LABELS


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "missing argument 'IMAGE...'."),
        ([CAT, "--topk", "1"], "no such option: --topk (did you mean '--top-k'?)"),
        ([CAT, "--modle", "x"], "no such option: --modle (did you mean '--model'?)"),
        ([CAT, "--top-k", "many"], "invalid value for '--top-k': 'many' is not a valid integer."),
        ([CAT, "--top-k", "0"], "--top-k 0 must be 1 to 1000"),
        ([CAT, "--model", "none.keras"], "--model 'none.keras' does not exist; give the path"),
        ([CAT, "--model", "own.h5"], "is no .keras file: weights go with --weights FILE"),
        ([CAT, "--max-bytes", "0"], "--max-bytes 0 must be at least 1"),
        ([CAT, "--model", "mobilnet"], "--model 'mobilnet' is unknown (did you mean 'mobilenet'?)"),
        ([CAT, "--resize", "stretch"], "'stretch' is not one of 'crop', 'squash', 'keras'."),
        (["photos/*.jpg"], "'photos/*.jpg' is no file, but a glob that the shell left as it is"),
        (["https://a.org/b.jpg"], "'https://a.org/b.jpg' cannot be read: there is no filesystem"),
        (["-", "-"], "- is given twice, but standard input holds one image"),
        ([CAT, str(PHOTOS)], f"python -m pipeline.run --input {PHOTOS} --output FOLDER"),
        ([CAT], "--model efficientnet_lite0   whose weights come with this package"),
    ],
    ids=lambda value: " ".join(value).replace(str(ROOT), "") if isinstance(value, list) else "",
)
def test_a_wrong_use_names_the_value_and_what_would_work(options: list[str], message: str) -> None:
    result = invoke(*options)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr
    assert "Traceback" not in result.stderr
