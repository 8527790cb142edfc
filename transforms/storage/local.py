"""Local files: listed by ourselves, since Beam's listing loses odd ones in silence."""

import contextlib
import errno
import os
import stat
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from transforms.failures import Failure, ImageError
from transforms.records import ListedImage
from transforms.storage.base import Content
from transforms.storage.uris import (
    fixed_prefix,
    glob_regex,
    has_glob,
    local_path,
    local_uri,
)

STAGING = ".staging"

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
}
_REASONS = {
    errno.ENOENT: "not_found",
    errno.ENOTDIR: "not_found",
    errno.EACCES: "permission_denied",
    errno.EPERM: "permission_denied",
    errno.EISDIR: "not_a_file",
    errno.ENXIO: "not_a_file",
    errno.ENAMETOOLONG: "not_found",
}


class LocalStorage:
    """Files of this machine."""

    def find(self, source: str) -> Iterator[ListedImage]:
        """A file, everything below a folder, or the matches of a glob; links are followed."""
        path = local_path(source)
        if os.path.lexists(path):
            yield from _listed(path, [])
        elif has_glob(path):
            yield from _matching(os.path.abspath(path))

    def read(self, uri: str, max_bytes: int) -> Content:
        """A regular file whole; never waits for a pipe or a device."""
        path = local_path(uri)
        try:
            with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb", 0) as file:
                status = os.fstat(file.fileno())
                if not stat.S_ISREG(status.st_mode):
                    raise ImageError("not_a_file", f"{uri} is {_kind(status)}, not a file")
                if status.st_size > max_bytes:
                    raise too_many_bytes(uri, status.st_size, max_bytes)
                data = file.read(max_bytes + 1)
        except (OSError, ValueError) as error:
            raise _image_error(path, error) from error
        if len(data) > max_bytes:
            raise too_many_bytes(uri, len(data), max_bytes)
        return Content(data, status.st_mtime_ns // 1000)

    def open(self, uri: str) -> BinaryIO:
        """The file, opened."""
        return Path(local_path(uri)).open("rb")

    def write(self, root: str, name: str, content: bytes) -> None:
        """Writes aside, below `root`/.staging, then renames: readers never see half a file."""
        folder = Path(local_path(root))
        target, staged = folder / name, folder / STAGING / uuid.uuid4().hex
        target.parent.mkdir(parents=True, exist_ok=True)
        staged.parent.mkdir(parents=True, exist_ok=True)
        try:
            with staged.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            staged.replace(target)
        finally:
            staged.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # another writer is at work there
                staged.parent.rmdir()

    def names(self, folder: str) -> list[str]:
        """Files below `folder`."""
        return sorted(str(p) for p in Path(local_path(folder)).rglob("*") if p.is_file())

    def check_writable(self, root: str) -> None:
        """Makes the folder and a file in it, and takes back what was not there before."""
        folder = Path(local_path(root))
        made = [p for p in (folder, *folder.parents) if not p.exists()]
        probe = folder / STAGING / f"probe-{uuid.uuid4().hex}"
        try:
            probe.parent.mkdir(parents=True, exist_ok=True)
            probe.write_bytes(b"")
        finally:
            probe.unlink(missing_ok=True)
            for empty in (probe.parent, *made):
                with contextlib.suppress(OSError):
                    empty.rmdir()


def too_many_bytes(uri: str, size: int, limit: int) -> ImageError:
    """The error of an object above the limit on bytes."""
    return ImageError(
        "too_many_bytes",
        f"{uri} has {size:,} bytes, more than the limit of {limit:,}; raise --max-bytes to take it",
    )


def _listed(path: str, above: list[tuple[int, int]]) -> Iterator[ListedImage]:
    try:
        status = os.stat(path)
        if not stat.S_ISDIR(status.st_mode):
            yield _listed_file(path, status)
            return
        identity = (status.st_dev, status.st_ino)
        if identity in above:
            message = f"{local_uri(path)} links back to a folder above it"
            yield _failed(path, Failure("not_a_file", "list", message))
            return
        with os.scandir(path) as entries:
            names = sorted(entry.name for entry in entries)
    except OSError as error:
        yield _failed(path, _image_error(path, error).at("list"))
        return
    for name in names:
        yield from _listed(os.path.join(path, name), [*above, identity])


def _listed_file(path: str, status: os.stat_result) -> ListedImage:
    if stat.S_ISREG(status.st_mode):
        return ListedImage(local_uri(path), status.st_size, status.st_mtime_ns // 1000)
    message = f"{local_uri(path)} is {_kind(status)}, not a file"
    return _failed(path, Failure("not_a_file", "list", message))


def _matching(pattern: str) -> Iterator[ListedImage]:
    if "**" not in pattern:
        for path in _expanded("/", pattern.split("/")[1:]):
            yield from _listed(path, [])
        return
    regex = glob_regex(pattern)
    folder = os.path.dirname(fixed_prefix(pattern))
    if not os.path.isdir(folder):
        return
    for image in _listed(folder, []):
        if image.failure or regex.match(local_path(image.uri)):
            yield image


def _expanded(folder: str, parts: list[str]) -> Iterator[str]:
    """Existing paths that the glob of these path components stands for, in order."""
    if not parts:
        yield folder
        return
    if not has_glob(parts[0]):
        path = os.path.join(folder, parts[0])
        if os.path.lexists(path):
            yield from _expanded(path, parts[1:])
        return
    regex = glob_regex(parts[0])
    try:
        names = sorted(filter(regex.match, os.listdir(folder)))
    except OSError:  # a file, or not readable: nothing in it can match
        return
    for name in names:
        yield from _expanded(os.path.join(folder, name), parts[1:])


def _failed(path: str, failure: Failure) -> ListedImage:
    return ListedImage(local_uri(path), failure=failure)


def _kind(status: os.stat_result) -> str:
    return _KINDS.get(stat.S_IFMT(status.st_mode), "a special file")


def _image_error(path: str, error: OSError | ValueError) -> ImageError:
    if isinstance(error, ValueError):  # a NUL byte in the name
        return ImageError("not_found", f"{path!r} cannot be the name of a file")
    name = local_uri(path)
    reason = _REASONS.get(error.errno or 0, "unreadable")
    if reason == "not_found" and os.path.islink(path):
        return ImageError(reason, f"{name} links to {os.readlink(path)!r}, which does not exist")
    return ImageError(reason, f"{name}: {error.strerror or error}")
