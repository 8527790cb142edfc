"""Local files; the listing is our own, since Beam's leaves out odd names without an error."""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from transforms.failures import ImageError
from transforms.layout import staging_name
from transforms.records import ListedImage
from transforms.storage.base import Content, too_many_bytes
from transforms.storage.uris import absolute_path, glob_regex, has_glob, local_path, local_uri

_KINDS: Final = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
}
_REASONS: Final = {
    errno.ENOENT: "not_found",
    errno.ENOTDIR: "not_found",
    errno.ELOOP: "not_found",
    errno.ENAMETOOLONG: "not_found",
    errno.EACCES: "permission_denied",
    errno.EPERM: "permission_denied",
    errno.EISDIR: "not_a_file",
    errno.ENXIO: "not_a_file",  # a socket
}
# Errors that can hide images below a path.
_HIDING = ("permission_denied", "unreadable")
# The years 1 to 9999: some filesystems hold other times, few readers of the result take them.
_SECONDS = range(-62_135_596_800, 253_402_300_800)


class LocalStorage:
    """Files of this machine."""

    def find(self, source: str) -> Iterator[ListedImage]:
        """A file, everything below a folder, or the matches of a glob; links are followed."""
        path = local_path(source)
        if path and _is_there(path):
            yield from _listed(absolute_path(path))
        elif has_glob(path):
            yield from _matching(path)

    def read(self, uri: str, max_bytes: int) -> Content:
        """A regular file whole; never waits for a pipe or a device."""
        path = local_path(uri)
        try:
            with open(path, "rb", opener=_open_without_waiting) as file:
                status = os.fstat(file.fileno())
                if not stat.S_ISREG(status.st_mode):
                    raise ImageError("not_a_file", f"{uri} is {_kind(status)}, not a file")
                if status.st_size > max_bytes:
                    raise too_many_bytes(uri, status.st_size, max_bytes)
                data = file.read(status.st_size + 1)
                if len(data) > status.st_size:  # it is growing
                    data += file.read(max_bytes + 1 - len(data))
                elif len(data) < status.st_size:
                    came = f"{len(data):,} of {status.st_size:,} bytes"
                    raise ImageError("unreadable", f"{uri}: only {came} could be read")
        except (OSError, ValueError) as error:
            raise _image_error(path, error) from error
        if len(data) > max_bytes:
            raise too_many_bytes(uri, None, max_bytes)
        return Content(data, _last_modified(status))

    def open(self, uri: str) -> BinaryIO:
        """The file, opened; a pipe could be read but once and is refused."""
        path = local_path(uri)
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(f"{path} is {_kind(status)}, not a file")
        return open(path, "rb")

    def write(self, root: str, name: str, content: bytes) -> None:
        """Writes a staging file, then renames it: readers never see half a file."""
        folder = Path(local_path(root))
        target, staged = folder / name, folder / staging_name()
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with staged.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            staged.replace(target)
        finally:
            staged.unlink(missing_ok=True)

    def create(self, root: str, name: str, content: bytes) -> None:
        """Opens it as a new file, which the system lets one process do."""
        target = Path(local_path(root)) / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as file:
            try:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                target.unlink()
                raise

    def names(self, folder: str) -> list[str]:
        """Files below `folder`, links followed as readers of Parquet follow them."""
        root = absolute_path(local_path(folder))
        found = []
        for image in _listed(root) if os.path.lexists(root) else ():
            if image.failure is None:
                found.append(os.path.relpath(local_path(image.uri), root))
            elif image.failure.error in _HIDING:
                raise OSError(image.failure.message)
        return sorted(found)

    def check_writable(self, root: str) -> None:
        """Creates the folder and a file in it, then removes what was not there before."""
        folder = Path(local_path(root))
        made = [p for p in (folder, *folder.parents) if not p.exists()]
        probe = folder / staging_name()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            probe.write_bytes(b"")
        finally:
            with contextlib.suppress(OSError):
                probe.unlink()
            for folder in made:
                with contextlib.suppress(OSError):
                    folder.rmdir()


class _Level(NamedTuple):
    """A folder that is being listed: which, whether a link led there, and what it still holds."""

    identity: tuple[int, int] | None
    is_linked: bool
    paths: Iterator[str]


def _listed(top: str) -> Iterator[ListedImage]:
    """All files at or below an absolute path, depth first, each folder in order of names.

    The levels are kept here and not on Python's stack, since folders may nest thousands deep. Where
    links lead to folders with links, what was listed before is not listed again: folders that
    link to each other have more paths than atoms.
    """
    levels = [_Level(None, False, iter([top]))]
    listed: set[tuple[int, int]] = set()
    while levels:
        path = next(levels[-1].paths, None)
        if path is None:
            levels.pop()
            continue
        try:
            status = os.stat(path)
            if not stat.S_ISDIR(status.st_mode):
                yield _listed_file(path, status)
                continue
            names = sorted(os.listdir(path))
        except OSError as error:
            yield ListedImage(local_uri(path), failure=_image_error(path, error).at("list"))
            continue
        identity = (status.st_dev, status.st_ino)
        is_link, linked = os.path.islink(path), levels[-1].is_linked
        if any(identity == level.identity for level in levels):
            yield _not_a_file(path, "links back to a folder above it")
        elif is_link and linked and identity in listed:
            yield _not_a_file(path, "links to a folder that is listed already")
        else:
            listed.add(identity)
            paths = map(partial(os.path.join, path), names)
            levels.append(_Level(identity, linked or is_link, paths))


def _listed_file(path: str, status: os.stat_result) -> ListedImage:
    if stat.S_ISREG(status.st_mode):
        return ListedImage(local_uri(path), status.st_size, _last_modified(status))
    return _not_a_file(path, f"is {_kind(status)}, not a file")


def _not_a_file(path: str, why: str) -> ListedImage:
    uri = local_uri(path)
    return ListedImage(uri, failure=ImageError("not_a_file", f"{uri} {why}").at("list"))


def _matching(pattern: str) -> Iterator[ListedImage]:
    """What a glob stands for; a name that equals a part of it counts as a match of that part."""
    start = "/" if os.path.isabs(pattern) else os.getcwd()
    parts = os.path.normpath(pattern).strip("/").split("/")
    deep = next((i for i, part in enumerate(parts) if "**" in part), len(parts))
    for path in _expanded(start, parts[:deep]):
        if deep == len(parts):
            yield from _listed(absolute_path(path))
        else:
            yield from _below(absolute_path(path), "/".join(parts[deep:]))


def _expanded(folder: str, parts: list[str]) -> Iterator[str]:
    """Existing paths that these path components, without `**`, stand for, in order."""
    if not parts:
        yield folder
        return
    first, *rest = parts
    if not has_glob(first):
        names = [first] if _is_there(os.path.join(folder, first)) else []
    else:
        regex = glob_regex(first)
        try:
            names = [n for n in sorted(os.listdir(folder)) if n == first or regex.match(n)]
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError:  # what it holds is not known: it is listed itself, as a failure
            yield folder
            return
    for name in names:
        yield from _expanded(os.path.join(folder, name), rest)


def _below(folder: str, pattern: str) -> Iterator[ListedImage]:
    """Files below `folder` that match, and folders that cannot be listed."""
    regex, above = glob_regex(pattern), folder.rstrip("/") + "/"
    for image in _listed(folder):
        path = local_path(image.uri)
        matches = path.startswith(above) and regex.match(path.removeprefix(above))
        if matches or (image.failure and image.failure.error in _HIDING):
            yield image


def _is_there(path: str) -> bool:
    try:
        os.lstat(path)
    except PermissionError:  # it may be: listing it says why that is not known
        return True
    except (OSError, ValueError):
        return False
    return True


def _open_without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def _last_modified(status: os.stat_result) -> int | None:
    nanoseconds = status.st_mtime_ns
    return nanoseconds // 1000 if nanoseconds // 1_000_000_000 in _SECONDS else None


def _kind(status: os.stat_result) -> str:
    return _KINDS.get(stat.S_IFMT(status.st_mode), "a special file")


def _image_error(path: str, error: OSError | ValueError) -> ImageError:
    if isinstance(error, ValueError):  # a NUL byte in the name
        return ImageError("not_found", f"{path!r} cannot be the name of a file")
    reason, why = _REASONS.get(error.errno or 0, "unreadable"), error.strerror or str(error)
    if error.errno == errno.ENOENT:
        with contextlib.suppress(OSError):
            why = f"it links to {os.readlink(path)!r}, which does not exist"
    return ImageError(reason, f"{local_uri(path)}: {why}")
