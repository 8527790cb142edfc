"""Finds the weight file of a model: a path, Keras' cache, or one checked download."""

import base64
import contextlib
import hashlib
import os
import shutil
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException, HTTPMessage
from pathlib import Path

from transforms.models.caches import cache_path, keras_path
from transforms.models.errors import ModelError
from transforms.models.zoo import Checksum, PublishedWeights
from transforms.storage import is_local, storage_for

# A mirror of Keras' published files for networks without internet, e.g. https://mirror/keras/
MIRROR_VARIABLE = "MOBILENET_WEIGHTS_URL"
_TIMEOUT_S = 20


def published_weights(weights: PublishedWeights, say: Callable[[str], None]) -> Path:
    """The file in Keras' cache, downloaded first if it is not there, and checked either way.

    It is compared with its published checksum. Where there is none, a download is compared with
    what the storage says of it, and later with itself. `say` is told of what cannot be checked.

    Raises:
        ModelError: it can't be reached or is not what was published; names three ways out.
    """
    path = keras_path(weights.file_name)
    if not path.exists():
        _fetch(weights, path, say)
    elif expected := weights.checksum or _noted(path):
        _check(path, expected)
    else:
        say(f"{path} cannot be checked: its checksum is not published; later runs compare with it")
        with contextlib.suppress(OSError):  # of a cache that cannot be written
            _take_note(path, path)
    return path


def _fetch(weights: PublishedWeights, path: Path, say: Callable[[str], None]) -> None:
    mirror = os.environ.get(MIRROR_VARIABLE)
    url = f"{mirror.rstrip('/')}/{weights.file_name}" if mirror else weights.url
    say(f"downloading {url}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".download-") as folder:
            part = Path(folder) / weights.file_name
            headers = _download(url, part)
            if expected := weights.checksum or _stated_md5(headers):
                _check(part, expected)
            else:
                say(f"{path} cannot be checked: {url} states no checksum")
            _take_note(path, part)
            part.replace(path)
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise ModelError(
            f"the weights {weights.file_name} are not in {path.parent} and {url} can't be "
            f"reached ({reason}). Three ways out:\n"
            f"  --weights PATH               if you have the file\n"
            f"  fetch {weights.url} elsewhere and put it into {path.parent}\n"
            f"  --model efficientnet_lite0   whose weights come with this package"
        ) from error


def own_weights(location: str) -> Path:
    """A user's own weight file as a local path; one on `gs://` is fetched into the cache.

    Raises:
        ModelError: there is no such file.
    """
    if is_local(location):
        path = Path(location)
        if not path.is_file():
            raise ModelError(f"--weights {location!r} is not a file; give a path, or 'imagenet'")
        return path
    return fetched(location)


def fetched(location: str) -> Path:
    """A local copy of a remote file, made anew each time since the remote one may have changed.

    Raises:
        ModelError: it cannot be read.
    """
    folder, name = hashlib.sha256(location.encode()).hexdigest()[:16], location.rsplit("/", 1)[-1]
    part = cache_path(f"fetched/{folder}/{name}.{os.getpid()}")
    path = part.with_name(name)
    part.parent.mkdir(parents=True, exist_ok=True)
    try:
        with storage_for(location).open(location) as source, part.open("wb") as target:
            shutil.copyfileobj(source, target)
        part.replace(path)
    except (OSError, ValueError) as error:
        raise ModelError(f"{location!r} cannot be read: {error}") from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            part.unlink()
    return path


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    return _digest(path, "sha256")


def _digest(path: Path, algorithm: str) -> str:
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _download(url: str, path: Path) -> HTTPMessage:
    request = urllib.request.Request(url, headers={"User-Agent": "mobilenet-beam"})
    try:
        reply = urllib.request.urlopen(request, timeout=_TIMEOUT_S)
    except urllib.error.HTTPError as error:
        error.close()
        raise
    with reply, path.open("wb") as file:
        shutil.copyfileobj(reply, file)
        length = reply.headers.get("Content-Length")
        if length is not None and file.tell() != int(length):
            raise OSError(f"{file.tell():,} of {int(length):,} bytes came")
        return reply.headers


def _note(path: Path) -> Path:
    """The file beside a weight file that keeps its checksum, as `sha256sum --check` takes it."""
    return path.with_name(f"{path.name}.sha256")


def _take_note(path: Path, content: Path) -> None:
    _note(path).write_text(f"{sha256_of(content)}  {path.name}\n")


def _noted(path: Path) -> Checksum | None:
    with contextlib.suppress(FileNotFoundError, IndexError):
        return "sha256", _note(path).read_text().split()[0]
    return None


def _check(path: Path, expected: Checksum) -> None:
    algorithm, digest = expected
    found = _digest(path, algorithm)
    if found != digest:
        raise ModelError(
            f"{path} is not the published file: its {algorithm} is {found}, not {digest}; "
            f"delete it to fetch it again, or give your own weights with --weights PATH"
        )


def _stated_md5(headers: HTTPMessage) -> Checksum | None:
    for value in headers.get_all("x-goog-hash") or ():
        for part in value.split(","):
            name, _, digest = part.strip().partition("=")
            if name == "md5":
                return "md5", base64.b64decode(digest).hex()
    return None
