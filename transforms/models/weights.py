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

from transforms.models.errors import ModelError
from transforms.models.zoo import PublishedWeights
from transforms.storage import is_local, storage_for

# A mirror of Keras' published files for networks without internet, e.g. https://mirror/keras/
MIRROR_VARIABLE = "MOBILENET_WEIGHTS_URL"
_TIMEOUT_S = 20


def keras_cache() -> Path:
    """Where Keras keeps downloaded weights: $KERAS_HOME/models, or ~/.keras/models."""
    home = os.environ.get("KERAS_HOME") or Path.home() / ".keras"
    return Path(home) / "models"


def cache_folder() -> Path:
    """Where built models are kept: $XDG_CACHE_HOME/mobilenet-beam, or below ~/.cache."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "mobilenet-beam"


def published_weights(weights: PublishedWeights, say: Callable[[str], None]) -> Path:
    """The file in Keras' cache, downloaded first if it is not there.

    Raises:
        ModelError: it can't be reached or is not what was published; names three ways out.
    """
    path = keras_cache() / weights.file_name
    if path.exists():
        _check(path, weights)
        return path
    mirror = os.environ.get(MIRROR_VARIABLE)
    url = f"{mirror.rstrip('/')}/{weights.file_name}" if mirror else weights.url
    say(f"downloading {url}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".download-") as folder:
            part = Path(folder) / weights.file_name
            headers = _download(url, part)
            _check(part, weights, headers)
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
    return path


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
    name = hashlib.sha256(location.encode()).hexdigest()[:16]
    path = cache_folder() / "fetched" / name / location.rsplit("/", 1)[-1]
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}")
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


def _check(path: Path, weights: PublishedWeights, headers: HTTPMessage | None = None) -> None:
    """Compares with the published checksum, or with the one the storage server states."""
    expected = weights.checksum or _stated_md5(headers)
    if expected is None:
        return
    algorithm, digest = expected
    found = _digest(path, algorithm)
    if found != digest:
        raise ModelError(
            f"{path} is not the published file: its {algorithm} is {found}, not {digest}; "
            f"delete it to fetch it again, or give your own weights with --weights PATH"
        )


def _stated_md5(headers: HTTPMessage | None) -> tuple[str, str] | None:
    for value in headers.get_all("x-goog-hash") or () if headers else ():
        for part in value.split(","):
            name, _, digest = part.strip().partition("=")
            if name == "md5":
                return "md5", base64.b64decode(digest).hex()
    return None
