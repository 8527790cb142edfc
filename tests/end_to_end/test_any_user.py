"""As containers run it: a user without a name or a home, a root that is read-only, a small /tmp."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.end_to_end.test_run import rows_of
from tests.helpers.model_fixtures import PHOTOS, ROOT, Command, TinyModel

# Within namespaces, for which nobody needs to be root; only $1 can be written, and 64 MB of $1/tmp.
_READ_ONLY = """
set -e
mount --bind "$1" "$1"
mount -t tmpfs -o size=64m tmp "$1/tmp"
mount -o remount,bind,ro /
export TMPDIR="$1/tmp"; shift
exec unshare --user --map-user=4321 "$@"
"""
_NAMESPACES = ["unshare", "--map-root-user", "--mount", "sh", "-c", _READ_ONLY, "sh"]


def stranger(folder: Path) -> list[str]:
    """What makes a command one of such a user; without namespaces, of one whose home is a file."""
    (folder / "tmp").mkdir(parents=True)
    command = [*_NAMESPACES, str(folder)]
    if (
        shutil.which("unshare")
        and subprocess.call([*command, "true"], stderr=subprocess.DEVNULL) == 0
    ):
        return [*command, "env", "-u", "HOME"]
    return ["env", f"TMPDIR={folder / 'tmp'}", f"HOME={__file__}"]


def test_a_user_without_a_home_gets_the_same_rows_and_is_told_of_the_cache(
    run: Command, tiny_model: TinyModel, tmp_path: Path
) -> None:
    options = ["--input", str(PHOTOS), *tiny_model.options(), "--output"]
    command = [sys.executable, "-m", "pipeline.run", *options, str(tmp_path / "own/out")]
    nameless = {"XDG_CACHE_HOME", "KERAS_HOME", "USER", "LOGNAME"}
    done = subprocess.run(
        [*stranger(tmp_path / "own"), *command],
        capture_output=True,
        text=True,
        env={name: value for name, value in os.environ.items() if name not in nameless},
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    cache, built = done.stderr.splitlines()
    assert f"using {tmp_path}/own/tmp/mobilenet-beam-" in cache
    assert cache.endswith("/.cache; set XDG_CACHE_HOME to a folder that lasts")
    assert built == "building tiny for litert (once; some ten seconds)"
    assert run(*options, str(tmp_path / "out")).code == 0
    rows, expected = rows_of(tmp_path / "own/out"), rows_of(tmp_path / "out")
    assert [row["uri"] for row in rows] == sorted(map(str, PHOTOS.iterdir()))
    assert [row["top_k"] for row in rows] == [row["top_k"] for row in expected]
