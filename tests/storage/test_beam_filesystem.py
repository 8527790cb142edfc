import io
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO

import pytest
from apache_beam.io.filesystem import (
    BeamIOError,
    CompressionTypes,
    FileMetadata,
    FileSystem,
)

from transforms.failures import ImageError
from transforms.records import ListedImage
from transforms.storage import beam_filesystem
from transforms.storage.beam_filesystem import BeamStorage

BEAM = BeamStorage()
MODIFIED_S = 1_700_000_000.25


class MemoryFileSystem(FileSystem):
    """An object store in this process, as Beam's filesystems of S3 and Azure behave."""

    objects: dict[str, bytes]
    broken: Exception | None

    @classmethod
    def scheme(cls) -> str:
        return "memory"

    def join(self, basepath: str, *paths: str) -> str:
        return "/".join([basepath, *paths])

    def split(self, path: str) -> tuple[str, str]:
        head, _, tail = path.rpartition("/")
        return head, tail

    def mkdirs(self, path: str) -> None:
        raise AssertionError("an object store has no folders")

    def has_dirs(self) -> bool:
        return False

    def _list(self, dir_or_prefix: str) -> Iterator[FileMetadata]:
        for path in sorted(self.objects):
            if path.startswith(dir_or_prefix):
                yield self.metadata(path)

    def create(
        self,
        path: str,
        mime_type: str = "application/octet-stream",
        compression_type: str = CompressionTypes.AUTO,
    ) -> BinaryIO:
        objects = self.objects

        class Upload(io.BytesIO):
            def close(self) -> None:
                objects[path] = self.getvalue()
                super().close()

        return Upload()

    def open(
        self,
        path: str,
        mime_type: str = "application/octet-stream",
        compression_type: str = CompressionTypes.AUTO,
    ) -> BinaryIO:
        if self.broken:
            raise self.broken
        if path not in self.objects:
            raise FileNotFoundError(path)
        return io.BytesIO(self.objects[path])

    def copy(self, source_file_names: Sequence[str], destination_file_names: Sequence[str]) -> None:
        raise AssertionError("nothing is copied")

    def rename(
        self, source_file_names: Sequence[str], destination_file_names: Sequence[str]
    ) -> None:
        if self.broken:
            raise self.broken
        for source, target in zip(source_file_names, destination_file_names, strict=True):
            self.objects[target] = self.objects.pop(source)

    def exists(self, path: str) -> bool:
        if path.count("/") < 3:
            raise ValueError(f"{path} has no object")  # as S3 does
        return path in self.objects

    def size(self, path: str) -> int:
        return len(self.objects[path])

    def last_updated(self, path: str) -> float:
        return MODIFIED_S

    def metadata(self, path: str) -> FileMetadata:
        return FileMetadata(path, self.size(path), MODIFIED_S)

    def delete(self, paths: Sequence[str]) -> None:
        for path in paths:
            if self.objects.pop(path, None) is None:
                raise BeamIOError("Delete operation failed", {path: None})


class FolderFileSystem(MemoryFileSystem):
    """As hdfs:// behaves: folders must be made, and a rename replaces nothing."""

    folders: set[str]

    @classmethod
    def scheme(cls) -> str:
        return "folders"

    def has_dirs(self) -> bool:
        return True

    def mkdirs(self, path: str) -> None:
        if path in self.folders:
            raise BeamIOError("Path already exists")
        self.folders.add(path)

    def rename(
        self, source_file_names: Sequence[str], destination_file_names: Sequence[str]
    ) -> None:
        for target in destination_file_names:
            if target in self.objects or self.split(target)[0] not in self.folders:
                raise BeamIOError("Rename operation failed", {target: None})
        super().rename(source_file_names, destination_file_names)


@pytest.fixture(autouse=True)
def objects(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """What the filesystem holds, empty for each test."""
    objects: dict[str, bytes] = {}
    monkeypatch.setattr(MemoryFileSystem, "objects", objects, raising=False)
    monkeypatch.setattr(MemoryFileSystem, "broken", None, raising=False)
    monkeypatch.setattr(FolderFileSystem, "folders", set(), raising=False)
    return objects


def found(source: str) -> list[str]:
    return [image.uri for image in BEAM.find(source)]


def error_of(action: Callable[[], object]) -> tuple[str, str]:
    with pytest.raises(ImageError) as caught:
        action()
    return caught.value.error, str(caught.value)


def test_object_is_found_with_size_and_time(objects: dict[str, bytes]) -> None:
    objects["memory://b/a.jpg"] = b"12345"
    expected = [ListedImage("memory://b/a.jpg", 5, 1_700_000_000_250_000)]
    assert list(BEAM.find("memory://b/a.jpg")) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("memory://b", ["a.jpg", "dir/b.jpg", "dir/sub/c.jpg", "dirt/d.jpg"]),
        ("memory://b/", ["a.jpg", "dir/b.jpg", "dir/sub/c.jpg", "dirt/d.jpg"]),
        ("memory://b/dir", ["dir/b.jpg", "dir/sub/c.jpg"]),
        ("memory://b/dir/", ["dir/b.jpg", "dir/sub/c.jpg"]),
        ("memory://b/*.jpg", ["a.jpg"]),
        ("memory://b/**.jpg", ["a.jpg", "dir/b.jpg", "dir/sub/c.jpg", "dirt/d.jpg"]),
        ("memory://b/di?", ["dir/b.jpg", "dir/sub/c.jpg"]),
        ("memory://b/gone", []),
        ("memory://b/gone*", []),
    ],
)
def test_find_takes_objects_folders_and_globs(
    objects: dict[str, bytes], source: str, expected: list[str]
) -> None:
    for name in ("a.jpg", "dir/", "dir/b.jpg", "dir/sub/c.jpg", "dirt/d.jpg"):
        objects[f"memory://b/{name}"] = b"" if name == "dir/" else b"x"
    assert found(source) == [f"memory://b/{name}" for name in expected]


def test_object_named_like_a_glob_wins(objects: dict[str, bytes]) -> None:
    objects |= {"memory://b/a[1].jpg": b"x", "memory://b/a1.jpg": b"x"}
    assert found("memory://b/a[1].jpg") == ["memory://b/a[1].jpg"]
    assert found("memory://b/a[0-9].jpg") == ["memory://b/a1.jpg"]


def test_object_is_read_as_it_is_stored(objects: dict[str, bytes]) -> None:
    objects["memory://b/a.jpg.gz"] = b"\x1f\x8bnot unpacked"
    assert BEAM.read("memory://b/a.jpg.gz", 100) == (b"\x1f\x8bnot unpacked", None)
    with BEAM.open("memory://b/a.jpg.gz") as file:
        assert file.read() == b"\x1f\x8bnot unpacked"


def test_limit_on_bytes_is_exact(objects: dict[str, bytes]) -> None:
    objects["memory://b/a.jpg"] = bytes(100)
    assert len(BEAM.read("memory://b/a.jpg", 100).data) == 100
    assert error_of(lambda: BEAM.read("memory://b/a.jpg", 99)) == (
        "too_many_bytes",
        "memory://b/a.jpg has more than the limit of 99 bytes; raise --max-bytes to take it",
    )


@pytest.mark.parametrize(
    ("raised", "error"),
    [
        (FileNotFoundError("x"), "not_found"),
        (PermissionError("x"), "permission_denied"),
        (BeamIOError("x"), "unreadable"),
        (RuntimeError("a client's own error"), "unreadable"),
    ],
)
def test_whatever_a_filesystem_raises_is_a_reason(
    raised: Exception, error: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MemoryFileSystem, "broken", raised)
    assert error_of(lambda: BEAM.read("memory://b/a.jpg", 99))[0] == error


def test_unknown_scheme_is_unreadable_in_a_manifest_and_an_error_as_an_input() -> None:
    error, message = error_of(lambda: BEAM.read("nowhere://b/a.jpg", 99))
    assert error == "unreadable"
    assert message.startswith("nowhere://b/a.jpg: OSError: there is no filesystem for nowhere://")
    for use in (found, BEAM.names, BEAM.open, BEAM.check_writable):
        with pytest.raises(OSError, match="there is no filesystem for nowhere://; what works"):
            use("nowhere://b/a.jpg")


def test_a_filesystem_without_its_client_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beam_filesystem, "find_spec", lambda name: None)
    for scheme, extra in (("s3", "aws"), ("hdfs", "hadoop"), ("azfs", "azure")):
        with pytest.raises(OSError, match=rf"^{scheme}:// needs .*'apache-beam\[{extra}\]'$"):
            found(f"{scheme}://b/a.jpg")


@pytest.mark.parametrize("scheme", ["memory", "folders"])
def test_write_replaces_whole_and_leaves_nothing_else(
    objects: dict[str, bytes], scheme: str
) -> None:
    for content in (b"one", b"two"):
        BEAM.write(f"{scheme}://b/out", "predictions/part", content)
        assert objects == {f"{scheme}://b/out/predictions/part": content}


@pytest.mark.parametrize("scheme", ["memory", "folders"])
def test_an_object_that_is_there_is_not_created_again(
    objects: dict[str, bytes], scheme: str
) -> None:
    BEAM.create(f"{scheme}://b/out", "ledger/claim", b"one")
    with pytest.raises(FileExistsError, match="b/out/ledger/claim is there already"):
        BEAM.create(f"{scheme}://b/out", "ledger/claim", b"two")
    assert objects == {f"{scheme}://b/out/ledger/claim": b"one"}


def test_failed_write_leaves_the_old_object_and_no_other(
    objects: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    BEAM.write("memory://b/out", "part", b"old")
    monkeypatch.setattr(MemoryFileSystem, "broken", BeamIOError("Rename operation failed"))
    with pytest.raises(OSError, match="Rename operation failed"):
        BEAM.write("memory://b/out", "part", b"new")
    assert objects == {"memory://b/out/part": b"old"}


@pytest.mark.parametrize("folder", ["memory://b/out", "memory://b/out/", "memory://b/o[u]t"])
def test_names_are_those_below_the_folder(objects: dict[str, bytes], folder: str) -> None:
    root = folder.rstrip("/")
    objects |= {f"{root}/a/c": b"", f"{root}/b": b"", f"{root}er/d": b"", "memory://b/oat/x": b""}
    assert BEAM.names(folder) == ["a/c", "b"]
    assert BEAM.names("memory://b/nothing") == []


def test_checking_the_output_leaves_nothing(objects: dict[str, bytes]) -> None:
    BEAM.check_writable("memory://b/out")
    assert objects == {}
