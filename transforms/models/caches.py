"""Where weights and built networks are kept: in the user's caches, else in a temporary folder."""

import os
import stat
import sys
import tempfile
from pathlib import Path
from typing import Final

_CACHE_HOME: Final = "XDG_CACHE_HOME"
_KERAS_HOME: Final = "KERAS_HOME"


def cache_path(name: str) -> Path:
    """The path of `name` below $XDG_CACHE_HOME/mobilenet-beam, or ~/.cache/mobilenet-beam."""
    return _found_or_writable(_CACHE_HOME, ".cache", f"mobilenet-beam/{name}")


def keras_path(file_name: str) -> Path:
    """The path of a weight file below $KERAS_HOME/models, or ~/.keras/models, as Keras has it."""
    return _found_or_writable(_KERAS_HOME, ".keras", f"models/{file_name}")


def _found_or_writable(variable: str, folder: str, name: str) -> Path:
    """The path of `name` where it is, else where it can be written.

    A container that runs as any user has no home, or one that it cannot write. Then a temporary
    folder takes its place, also for the processes that this one starts: they inherit `variable`.
    """
    home = _home(variable, folder)
    if home is not None and (os.path.exists(home / name) or _is_writable(home)):
        return home / name
    temporary = _temporary_folder() / folder
    wrong = f"{home} cannot be written" if home else "there is no home folder"
    print(f"{wrong}: using {temporary}; set {variable} to a folder that lasts", file=sys.stderr)
    os.environ[variable] = str(temporary)
    return temporary / name


def _home(variable: str, folder: str) -> Path | None:
    if set_by_user := os.environ.get(variable):
        return Path(set_by_user)
    try:
        return Path.home() / folder
    except RuntimeError:  # neither $HOME nor an entry for the user
        return None


def _is_writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _temporary_folder() -> Path:
    """The same for all runs of this user, and no other user's."""
    path = Path(tempfile.gettempdir()) / f"mobilenet-beam-{os.getuid()}"
    path.mkdir(mode=0o700, exist_ok=True)
    found = path.lstat()
    is_ours = found.st_uid == os.getuid() and not stat.S_IMODE(found.st_mode) & 0o077
    return path if is_ours else Path(tempfile.mkdtemp(prefix="mobilenet-beam-"))
