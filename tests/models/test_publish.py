"""A network goes to where workers find it once, and comes to each machine once."""

import multiprocessing
import tarfile
from pathlib import Path

import pytest

from transforms.models import publish
from transforms.models.artifact import Artifact
from transforms.models.publish import fetched_network, publish_network
from transforms.storage import storage_for


def artifact_of(folder: Path) -> Artifact:
    """A SavedModel folder, or what looks like one."""
    network = folder / "tiny-tensorflow-0123456789ab" / "saved_model"
    (network / "variables").mkdir(parents=True)
    (network / "saved_model.pb").write_bytes(b"graph")
    (network / "variables" / "variables.index").write_bytes(b"weights")
    return Artifact(str(network), "tensorflow", "tiny@0", 32, ())


def contents(network: str) -> dict[str, bytes]:
    root = Path(network)
    return {
        str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


def fetch(location: str) -> str:
    return fetched_network(location)


def test_a_network_comes_back_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    artifact = artifact_of(tmp_path)
    published = publish_network(artifact, str(tmp_path / "tmp"))
    name = "mobilenet-beam/networks/tiny-tensorflow-0123456789ab/saved_model.tar"
    assert published == artifact._replace(network=f"{tmp_path}/tmp/{name}")
    assert contents(fetched_network(published.network)) == {
        "saved_model.pb": b"graph",
        "variables/variables.index": b"weights",
    }
    assert fetched_network(artifact.network) == artifact.network


def test_a_network_that_is_there_is_not_uploaded_again(tmp_path: Path) -> None:
    artifact = artifact_of(tmp_path)
    path = Path(publish_network(artifact, str(tmp_path / "tmp")).network)
    path.write_bytes(b"as it was")
    publish_network(artifact, str(tmp_path / "tmp"))
    assert path.read_bytes() == b"as it was"


def test_many_processes_fetch_a_network_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    fetches = tmp_path / "fetches"
    unpack = publish._unpack

    def counted(archive: str, target: Path) -> None:
        with fetches.open("a") as file:
            file.write("x")
        unpack(archive, target)

    monkeypatch.setattr(publish, "_unpack", counted)
    published = publish_network(artifact_of(tmp_path), str(tmp_path / "tmp"))
    with multiprocessing.get_context("fork").Pool(4) as pool:
        paths = set(pool.map(fetch, [published.network] * 8, chunksize=1))
    (path,) = paths
    assert contents(path)["saved_model.pb"] == b"graph"
    assert fetches.read_text() == "x"


def test_half_a_network_is_never_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    published = publish_network(artifact_of(tmp_path), str(tmp_path / "tmp"))
    archive = Path(published.network)
    whole = archive.read_bytes()
    archive.write_bytes(whole[: len(whole) // 4])
    with pytest.raises(tarfile.ReadError):
        fetched_network(published.network)
    archive.write_bytes(whole)
    assert contents(fetched_network(published.network))["saved_model.pb"] == b"graph"
    assert (
        storage_for(str(tmp_path))
        .names(str(tmp_path / "cache" / "mobilenet-beam"))[0]
        .startswith("fetched/")
    )


def test_a_network_that_would_be_unpacked_elsewhere_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    published = publish_network(artifact_of(tmp_path), str(tmp_path / "tmp"))
    with tarfile.open(published.network, "w") as archive:
        archive.add(__file__, "../elsewhere")
    with pytest.raises(tarfile.OutsideDestinationError, match="elsewhere"):
        fetched_network(published.network)
    assert list((tmp_path / "cache").rglob("elsewhere")) == []


def test_a_network_in_a_cache_that_cannot_be_written_is_used_from_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    published = publish_network(artifact_of(tmp_path), str(tmp_path / "tmp"))
    path = fetched_network(published.network)

    def refuse(path: Path, mode: str = "r") -> None:
        raise PermissionError(f"{path} is on a medium that cannot be written")

    monkeypatch.setattr(Path, "open", refuse)
    assert fetched_network(published.network) == path
