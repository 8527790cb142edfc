"""--dry-run through the real command: counted, measured, reckoned, and nothing written."""

import gc
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from click.testing import CliRunner, Result
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from pipeline.planning.prices import prices
from pipeline.run import main
from tests.helpers.gcs_emulator import Proxy
from tests.helpers.model_fixtures import PHOTOS, ROOT, Command, TinyModel
from tests.helpers.tar_files import tar_of
from transforms.cores import available_cores
from transforms.read_images import THREADS

COUNT = len(list(PHOTOS.iterdir()))
BYTES = sum(path.stat().st_size for path in PHOTOS.iterdir())


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture(scope="module", autouse=True)
def _collect_sockets() -> Iterator[None]:
    """Google's client leaves sockets to the collector; before another module's warnings hold."""
    yield
    gc.collect()


def refused(*options: str) -> str:
    result = CliRunner().invoke(main, ["--dry-run", *options])
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    return result.stderr


def test_the_plan_of_local_photographs_counts_measures_and_writes_nothing(
    run: Command, tiny_model: TinyModel, tmp_path: Path, out: Path
) -> None:
    folder = tmp_path / "in"
    shutil.copytree(PHOTOS, folder)
    (folder / "page.jpg").write_text("<html>not a picture</html>")
    (folder / "nowhere.jpg").symlink_to("gone.jpg")
    manifest = tmp_path / "list.txt"
    manifest.write_text(f"{folder / 'cat.jpg'}\n")
    done = run(
        *("--dry-run", "--input", str(folder), "--manifest", str(manifest), "--output", str(out)),
        *("--shard-size", "5", "--batch-size", "4", *tiny_model.options()),
    )
    assert done.code == 0
    assert not out.exists()
    assert sorted(os.listdir(tmp_path)) == ["in", "list.txt"]
    progress = ["listing every input", f"timing a sample of {COUNT + 1} images"]
    assert done.err.splitlines()[-2:] == progress
    lines = [" ".join(line.split()) for line in done.out.splitlines()]
    for line in (
        f"dry run: nothing was classified, nothing was written to {out}",
        f"inputs {COUNT + 3} listed, {COUNT + 2} distinct, 1 named again",
        "1 cannot be read, as the listing shows",
        f"to do {COUNT + 2} images, about 1.1 MB by their listed sizes",
        "shards at least 3, each a file of the result",
        f"GETs {COUNT + 1}: {COUNT + 1} for single images",
        "$0.00 with listings and uploads, once the inputs lie on Cloud Storage",
        f"sample {COUNT + 1} images, chosen by a hash of their names:",
        f"{COUNT} decoded, 1 not_an_image",
        "expected, to be done in 8 h",
        "* its GPU's rate is assumed, see below",
    ):
        assert line in lines
    for name in prices()["assumptions"]:
        assert f"\n  {name} = " in done.out
    assert "as of 2026-11-24" in done.out


def test_the_plan_for_programs_is_the_formula_over_what_was_measured(
    run: Command, tiny_model: TinyModel, out: Path
) -> None:
    done = run(
        *("--dry-run=json", "--input", str(PHOTOS), "--output", str(out), "--deadline-hours", "2"),
        *("--machine_type", "n1-standard-4", "--max_num_workers=3", *tiny_model.options()),
    )
    assert done.code == 0
    plan: dict[str, Any] = json.loads(done.out)
    assert not out.exists()
    assert plan["survey"]["mean_bytes"] == pytest.approx(BYTES / COUNT)
    assert plan["survey"]["distinct"] == plan["requests"]["gets"] == COUNT
    here, estimate = plan["estimates"]
    assert here["machine"] == f"this machine, {available_cores()} cores"
    assert estimate["machine"] == "n1-standard-4"
    assert estimate["machines"] == plan["chosen_workers"] == 3

    rates = plan["rates"]
    assumed = {name: each["value"] for name, each in plan["prices"]["assumptions"].items()}
    speed = 4 * assumed["efficiency"] / (1 / rates["decode"] + 1 / rates["infer_core"])
    speed = min(speed, 2 * THREADS / assumed["get_seconds"], 1 / assumed["python_seconds"])
    assert estimate["images_per_second"] == pytest.approx(speed)
    hours = assumed["startup_hours"] + COUNT / speed / 3 / 3600
    assert estimate["hours"] == pytest.approx(hours)
    hourly = 4 * 0.056 + 15 * 0.003557 + 25 * 0.000054
    requests = COUNT * 0.0004 / 1000 + (2 + 1) * 0.005 / 1000
    assert plan["requests"]["dollars"] == pytest.approx(requests)
    assert estimate["dollars"] == pytest.approx(3 * hours * hourly + requests)


def test_a_plan_on_cloud_storage_takes_one_get_an_image_of_the_sample_and_writes_nothing(
    run: Command, tiny_model: TinyModel, cloud: Proxy
) -> None:
    client = storage.Client("test", credentials=AnonymousCredentials())
    bucket = client.create_bucket(f"bucket-{uuid4().hex}")
    for path in sorted(PHOTOS.iterdir())[:5]:
        bucket.blob(f"photos/{path.name}").upload_from_filename(path)
    client.close()
    cloud.requests.clear()
    done = run(
        *("--dry-run", "--input", f"gs://{bucket.name}/photos/*.jpg"),
        *("--output", f"gs://{bucket.name}/out", *tiny_model.options()),
    )
    assert done.code == 0, done.err
    jpegs = [path for path in sorted(PHOTOS.iterdir())[:5] if path.suffix == ".jpg"]
    downloads = [line for line in cloud.requests if "/download/" in line]
    assert len(downloads) == len(jpegs) > 0
    assert {line.split()[0] for line in cloud.requests} == {"GET"}
    assert f"GETs     {len(jpegs)}: {len(jpegs)} for single images\n" in done.out
    assert "listings and uploads\n" in done.out


def test_a_plan_of_tars_counts_the_gets_that_the_run_then_takes(
    run: Command, tiny_model: TinyModel, cloud: Proxy, tmp_path: Path
) -> None:
    photos = sorted(PHOTOS.iterdir())[:5]
    client = storage.Client("test", credentials=AnonymousCredentials())
    bucket = client.create_bucket(f"bucket-{uuid4().hex}")
    for path in photos[:2]:
        bucket.blob(f"in/{path.name}").upload_from_filename(path)
    content = tar_of((path.name, path.read_bytes()) for path in photos)
    for number in range(3):
        bucket.blob(f"in/{number}.tar").upload_from_string(content)
    client.close()
    options = (
        *("--input", f"gs://{bucket.name}/in", "--output", str(tmp_path / "out")),
        *tiny_model.options(),
    )

    def downloads(*more: str) -> tuple[int, str]:
        cloud.requests.clear()
        done = run(*options, *more)
        assert done.code == 0, done.err
        return sum("/download/" in line for line in cloud.requests), done.out

    own, plan = downloads("--dry-run")
    assert (
        "GETs     8: 2 for single images + 3 to list tars + 3 to read tars, one for each shard "
        "with images of it\n"
    ) in plan
    assert "  that a tar takes get_seconds as well" in plan
    assert own == 3 + 5
    assert downloads()[0] == 8


@pytest.mark.usefixtures("own_caches")
def test_a_plan_to_resume_is_for_what_is_left(
    tiny_model: TinyModel, tmp_path: Path, out: Path
) -> None:
    folder = tmp_path / "in"
    shutil.copytree(PHOTOS, folder)
    (folder / "page.jpg").write_text("<html>not a picture</html>")

    def ran(*options: str) -> Result:
        common = ["--input", str(folder), "--output", str(out), *tiny_model.options()]
        sizes = ["--shard-size", "5", "--batch-size", "4"]
        return CliRunner().invoke(main, [*common, *sizes, *options])

    assert ran().exit_code == 0
    os.utime(folder / "cat.jpg", (0, 0))
    for number in range(6):
        shutil.copy(PHOTOS / "cat.jpg", folder / f"new{number}.jpg")

    text = [" ".join(line.split()) for line in ran("--dry-run", "--resume").stdout.splitlines()]
    assert f"inputs {COUNT + 7} listed, {COUNT + 7} distinct, 0 named again" in text
    assert f"{COUNT} skipped, since their rows are current" in text
    assert any(line.startswith("to do 7 images, about ") for line in text)
    assert "shards at least 2, each a file of the result" in text
    assert "GETs 10: 7 for single images + 3 for rows of earlier runs" in text

    planned = ran("--dry-run=json", "--resume", "--max_num_workers=1")
    assert "reading the rows of earlier runs" in planned.stderr.splitlines()
    plan = json.loads(planned.stdout)
    assert (plan["survey"]["skipped"], plan["survey"]["due"]) == (COUNT, 7)
    assert plan["requests"] | {"dollars": 0.0} == {
        "images": 7,
        "tars_to_list": 0,
        "tars_to_read": 0,
        "earlier_parts": 3,
        "listings": 2,
        "uploads": 2,
        "gets_an_image": 1.0,
        "gets": 10,
        "dollars": 0.0,
    }
    start = plan["prices"]["assumptions"]["startup_hours"]["value"]
    for started, each in zip([0, start, start, start], plan["estimates"], strict=True):
        seconds = 7 / each["images_per_second"]
        assert each["hours"] == pytest.approx(started + seconds / 3600)

    again = ran("--resume").stdout
    assert again.startswith(f"{COUNT + 7} images listed, 7 predicted, 0 failed, {COUNT} skipped")
    failed = ran("--dry-run=json", "--resume", "--retry-all-errors")
    assert json.loads(failed.stdout)["survey"]["due"] == 1  # the page


@pytest.mark.usefixtures("own_caches")
def test_a_plan_may_have_nothing_left_or_a_broken_file_in_its_way(
    tiny_model: TinyModel, out: Path
) -> None:
    options = ["--input", str(PHOTOS), "--output", str(out), *tiny_model.options()]
    assert CliRunner().invoke(main, options).exit_code == 0
    assert "already holds the results of a run" in refused(*options)
    nothing = CliRunner().invoke(main, [*options, "--dry-run", "--resume"])
    assert nothing.exit_code == 0
    assert f" {COUNT} skipped, since their rows are current\n" in nothing.stdout
    assert "\nto do    0 images" in nothing.stdout
    assert "\n  nothing is left to do: the rows of all images are current\n" in nothing.stdout
    assert "n2-standard" not in nothing.stdout

    (part,) = out.glob("predictions/*/*")
    part.write_bytes(b"PAR1")
    assert f"error: {part} is not a part file that can be read" in refused(*options, "--resume")


def test_a_long_manifest_is_counted_exactly_in_little_memory(tmp_path: Path) -> None:
    manifest = tmp_path / "list.txt"
    with manifest.open("w") as file:
        file.writelines(f"gs://bucket/photos/{n % 250_000}.jpg\n" for n in range(300_000))
    script = (
        "import resource, sys\n"
        "from pipeline.planning.survey import EarlierRows, survey\n"
        "from transforms.list_images import Source, list_images\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024\n"
        "before = peak()\n"
        "listed = list_images(Source('manifest', sys.argv[1]), 'out')\n"
        "found = survey(listed, 100, EarlierRows())\n"
        "print(found.listed, found.distinct, peak() - before)\n"
    )
    command = [sys.executable, "-c", script, str(manifest)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    listed, distinct, megabytes = map(int, done.stdout.split())
    assert (listed, distinct) == (300_000, 250_000)
    assert megabytes < 30  # the lines alone would be more


@pytest.mark.usefixtures("own_caches")
def test_what_a_run_refuses_its_plan_refuses(
    tiny_model: TinyModel, tmp_path: Path, out: Path
) -> None:
    common = ["--input", str(PHOTOS), "--output", str(out)]
    tiny = tiny_model.options()
    for options, message in (
        (["--top-k", "9", *tiny[:4]], "--top-k 9 must be 1 to 4"),
        (["--deadline-hours", "0"], "--deadline-hours 0 must be more than 0"),
        (["--deadline-hours", "0.05", *tiny], "--deadline-hours 0.05 is over before a worker"),
        (["--machine_type", "n9-standard-1", *tiny], "--machine_type 'n9-standard-1' is unknown"),
        (["--inptu", "x"], "no such option: --inptu; did you mean --input?"),
    ):
        assert message in refused(*common, *options)
    assert "matches nothing" in refused("--input", f"{tmp_path}/none", "--output", str(out))
    assert not out.exists()


@pytest.mark.usefixtures("own_caches")
def test_inputs_without_a_picture_have_no_plan(tiny_model: TinyModel, tmp_path: Path) -> None:
    (tmp_path / "page.jpg").write_text("<html>not a picture</html>")
    message = refused(
        *("--input", str(tmp_path / "page.jpg"), "--output", str(tmp_path / "out")),
        *tiny_model.options(),
    )
    assert "nothing to plan with: none of the 1 images of the sample can be decoded" in message
    assert "no image format begins with the bytes" in message
