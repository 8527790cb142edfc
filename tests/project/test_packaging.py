"""The wheel: what a person gets who installs the package without the repository."""

import json
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from pipeline import __version__
from tests.helpers.made_outputs import FIRST, predicted, write_run
from tests.helpers.model_fixtures import PHOTOS, ROOT

pytestmark = pytest.mark.slow


SOURCES = ("pipeline", "transforms")
IGNORED = shutil.ignore_patterns("__pycache__")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, without a network, with the setuptools that is here."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        shutil.copytree(ROOT / name, folder / "source" / name, ignore=IGNORED)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / "source")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
        + ["--disable-pip-version-check", "--wheel-dir", str(folder), str(folder / "source")],
        check=True,
        cwd=folder,
    )
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python in which the wheel is installed; its dependencies are those of this one."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, with_pip=False)
    (site,) = folder.glob("lib/python*/site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    # A folder that a .pth file names is searched last, and .pth files in it are not read: the
    # repository, which one of them may name, stays out of sight.
    (site / "dependencies.pth").write_text(f"{Path(pytest.__file__).parents[1]}\n")
    return folder / "bin" / "python"


def run_installed(python: Path, folder: Path, *arguments: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(python), *arguments], capture_output=True, text=True, cwd=folder, env=environment
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


def test_the_wheel_holds_what_the_code_reads_and_nothing_of_the_tests(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    wanted = {
        str(path.relative_to(ROOT))
        for source in SOURCES
        for path in (ROOT / source).rglob("*")
        if path.is_file()
        and "__pycache__" not in path.parts
        and "scripts" not in path.parts  # run in the repository, by hand
    }
    assert "pipeline/report/templates/report.css" in wanted
    assert wanted <= names
    assert {"pipeline/py.typed", "transforms/py.typed"} <= names
    assert {name.split("/")[0] for name in names} == {
        *("pipeline", "transforms", f"mobilenet_beam-{__version__}.dist-info")
    }


def test_the_installed_commands_run_from_any_folder(installed: Path, tmp_path: Path) -> None:
    write_run(tmp_path / "out", FIRST, [predicted(str(PHOTOS / "cat.jpg"), "cat", 0.9)])
    where = run_installed(installed, tmp_path, "-c", "import pipeline; print(pipeline.__file__)")
    assert str(installed.parents[1]) in where
    made = run_installed(installed, tmp_path, "-m", "pipeline.report", "out")
    assert made == "out/report.html\n"
    assert "data:image/jpeg" in (tmp_path / "out" / "report.html").read_text()
    assert "--input" in run_installed(installed, tmp_path, "-m", "pipeline.run", "--help")


def test_the_installed_package_has_its_data(installed: Path, tmp_path: Path) -> None:
    script = """
import json
from transforms.models.cards import model_card
from transforms.models.labels import imagenet_labels
from transforms.models.zoo import ARCHITECTURES
weights = ARCHITECTURES["efficientnet_lite0"].packaged_weights
print(json.dumps([len(imagenet_labels()), weights.stat().st_size > 1_000_000,
                  [model_card(name).title for name in ARCHITECTURES]]))
"""
    labels, has_weights, titles = json.loads(run_installed(installed, tmp_path, "-c", script))
    assert (labels, has_weights, len(titles)) == (1000, True, 5)


def test_a_type_checker_sees_the_types_of_the_installed_package(
    installed: Path, tmp_path: Path
) -> None:
    (tmp_path / "user.py").write_text(
        "from transforms.models.cards import model_card\n"
        "card = model_card('mobilenet')\nassert card\nreveal_type(card.licence)\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--python-executable", str(installed), "user.py"]
        + ["--follow-imports=silent", "--cache-dir", str(tmp_path / "cache")],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.stdout.splitlines() == [
        'user.py:4: note: Revealed type is "str"',
        "Success: no issues found in 1 source file",
    ]
