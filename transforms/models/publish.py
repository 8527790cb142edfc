"""A network where workers on other machines find it: one archive, put there once."""

import contextlib
import fcntl
import io
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from transforms.engines import EngineSetup
from transforms.models.artifact import Artifact
from transforms.models.caches import cache_path
from transforms.storage import NotReplacedError, join, storage_for

_FOLDER: Final = "mobilenet-beam/networks"
_SUFFIX: Final = ".tar"


def publish_network(artifact: Artifact, location: str) -> Artifact:
    """The artifact with its network below the folder `location`, uploaded if it is not there.

    Networks are kept by what determines their content, so one that is there is the same.

    Raises:
        OSError: it cannot be written there.
    """
    network = Path(artifact.network)
    name = f"{_FOLDER}/{network.parent.name}/{network.name}{_SUFFIX}"
    folder, _, file = join(location, name).rpartition("/")
    storage = storage_for(location)
    if file not in storage.names(folder):
        with contextlib.suppress(NotReplacedError):  # somebody else was faster
            storage.write(location, name, _packed(network))
    return artifact._replace(network=join(location, name))


def fetched_network(network: str) -> str:
    """A path to the network on this machine: itself, or a copy fetched once for all processes.

    Raises:
        OSError: it cannot be read, or there is no room for it.
    """
    if not network.endswith(_SUFFIX):
        return network
    folder, file = network.removesuffix(_SUFFIX).split("/")[-2:]
    target = cache_path(f"fetched/{folder}/{file}")
    if not target.exists():
        with _locked(target.with_name(f".{file}.lock")):
            if not target.exists():  # another process had the lock
                _unpack(network, target)
    return str(target)


def engine_setup(artifact: Artifact, top_k: int, batch_size: int, threads: int) -> EngineSetup:
    """What the engine of `artifact` is loaded from, its network fetched to this machine.

    Raises:
        OSError: see `fetched_network`.
    """
    network = fetched_network(artifact.network)
    return EngineSetup(artifact.engine, network, artifact.image_size, top_k, batch_size, threads)


def _packed(network: Path) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        archive.add(network, network.name)
    return content.getvalue()


def _unpack(archive: str, target: Path) -> None:
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".fetching-") as scratch:
        with storage_for(archive).open(archive) as file, tarfile.open(fileobj=file) as members:
            members.extractall(scratch, filter="data")
        (Path(scratch) / target.name).rename(target)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Only one process of this machine at a time; the system frees the lock of one that dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
