"""Tars as written by img2dataset, WebDataset or `tar`: each image in them is an input."""

import math
import os
import shutil
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import ExitStack
from io import BytesIO
from pathlib import PurePosixPath
from typing import BinaryIO, Final, cast

from transforms.failures import ImageError
from transforms.metrics import count
from transforms.records import ListedImage
from transforms.storage import storage_for
from transforms.storage.base import Content, too_many_bytes
from transforms.storage.tar_entries import tar_entries
from transforms.storage.uris import (
    TarMember,
    canonical_uri,
    container_of,
    glob_regex,
    has_glob,
    member_uri,
    tar_member,
)

# A member with another suffix is a side file of the image beside it: a caption, a label, metadata.
# Formats that are known but not decoded stand here too, so that they become rows that say so.
_DECODED = "jpg jpeg jpe jfif png gif bmp dib webp tif tiff"
_NAMED = "avif heic heif jp2 j2k jxl jxr psd ico svg ppm pgm pbm pnm tga exr hdr dng cr2 nef arw"
IMAGE_SUFFIXES: Final = frozenset(f".{name}" for name in f"{_DECODED} {_NAMED}".split())

# Bundles read one tar after the other, each maybe the end of one and the beginning of the next.
_MOST_OPEN: Final = 32
_IDLE_S: Final = 120.0
_CHUNK_BYTES: Final = 1_000_000


def list_members(tar: ListedImage) -> Iterator[ListedImage]:
    """The images in a tar, all with the modification time of the tar, which it is replaced with.

    A tar that breaks, or that has no image, is a row itself, after those of its images.
    Side files are counted, in the metric `images/side_files`.
    """
    if tar.failure is not None:
        yield tar
        return
    storage = storage_for(member_uri(TarMember(tar.uri, "")))
    assert isinstance(storage, TarStorage)
    storage.forget(tar.uri)
    images = side_files = 0
    try:
        with _open(tar.uri) as file:
            for entry in tar_entries(file, tar.uri):
                if PurePosixPath(entry.name).suffix.lower() not in IMAGE_SUFFIXES:
                    side_files += 1
                    continue
                images += 1
                if entry.error:
                    yield ListedImage(entry.uri, failure=entry.error.at("list"))
                else:
                    yield ListedImage(entry.uri, entry.size, tar.last_modified)
        if not images:
            raise _no_image(side_files)
    except ImageError as error:
        named = ImageError(error.error, f"{tar.uri} {error}")
        yield tar._replace(failure=named.at("list"))
    count("side_files", side_files)


class TarStorage:
    """Members of tars on any other storage; each tar is fetched once and kept while it is read."""

    def __init__(self) -> None:
        """No tar is open."""
        self._lock = threading.Lock()
        self._tars: dict[str, _OpenTar] = {}

    def find(self, source: str) -> Iterator[ListedImage]:
        """The member of this name or, if the name is a glob, all that match; of each such tar."""
        wanted = _parsed(source)
        regex = glob_regex(wanted.name) if has_glob(wanted.name) else None
        for tar in storage_for(wanted.tar).find(wanted.tar):
            for image in list_members(tar):
                member = tar_member(image.uri)
                if (
                    member is None  # the tar itself, which may hide what is looked for
                    or member[1:] == wanted[1:]
                    or (regex and regex.match(member.name))
                ):
                    yield image

    def read(self, uri: str, max_bytes: int) -> Content:
        """One member, without its time: what listed the tar knows it."""
        tar = self._opened(container_of(uri))
        try:
            return Content(tar.read(uri, max_bytes), None)
        finally:
            tar.used = time.monotonic()

    def forget(self, tar: str) -> None:
        """Fetches the tar anew when it is read next: it may have been replaced since."""
        with self._lock:
            self._tars.pop(tar, None)

    def open(self, uri: str) -> BinaryIO:
        """One member in memory."""
        try:
            return BytesIO(self.read(uri, sys.maxsize).data)
        except ImageError as error:
            raise (FileNotFoundError if error.error == "not_found" else OSError)(
                str(error)
            ) from error

    def write(self, root: str, name: str, content: bytes) -> None:
        """Tars are only read."""
        raise _only_read(root)

    def create(self, root: str, name: str, content: bytes) -> None:
        """Tars are only read."""
        raise _only_read(root)

    def names(self, folder: str) -> list[str]:
        """Nothing is ever written into a tar that could be looked for."""
        raise _only_read(folder)

    def check_writable(self, root: str) -> None:
        """Raises OSError: a tar is never written to."""
        raise _only_read(root)

    def _opened(self, uri: str) -> "_OpenTar":
        """The open tar; opens it if needed and closes those that were not read for a while."""
        idle = time.monotonic() - _IDLE_S
        with self._lock:
            self._tars = {name: tar for name, tar in self._tars.items() if tar.used > idle}
            tar = self._tars.pop(uri, None) or _OpenTar(uri)
            self._tars[uri] = tar  # the latest stands last
            while len(self._tars) > _MOST_OPEN:
                del self._tars[next(iter(self._tars))]
        return tar


class _OpenTar:
    """A tar that is fetched when the first of its members is read, by the first thread to come.

    A tar that is not a local file lies in an unnamed temporary one. Members are found by name and
    read by their place, so that threads need not take turns. What is wrong with the tar is
    remembered as well: nobody fetches it again for the next member.
    """

    def __init__(self, uri: str) -> None:
        self.used = math.inf  # when a read ended; until one has, it is not idle
        self._uri = uri
        self._lock = threading.Lock()
        self._is_fetched = False
        self._descriptor = -1
        self._places: dict[str, tuple[int, int] | ImageError] = {}
        self._error: ImageError | None = None

    def read(self, uri: str, max_bytes: int) -> bytes:
        with self._lock:
            if not self._is_fetched:
                self._fetch()
        place = self._places.get(uri.removeprefix(self._uri))
        if isinstance(place, ImageError):
            raise ImageError(place.error, str(place))
        if place is None:
            if self._error:
                raise ImageError(self._error.error, f"{self._uri} {self._error}")
            raise ImageError("not_found", f"{uri}: the tar has no such member")
        offset, size = place
        if size > max_bytes:
            raise too_many_bytes(uri, size, max_bytes)
        return self._bytes_at(offset, size, uri)

    def _fetch(self) -> None:
        try:
            with _open(self._uri) as file:
                self._descriptor = os.dup(file.fileno())
                weakref.finalize(self, os.close, self._descriptor)
                for entry in tar_entries(file, self._uri):
                    place = entry.error or (entry.offset, entry.size)
                    self._places[entry.uri.removeprefix(self._uri)] = place
        except ImageError as error:
            self._error = error
        self._is_fetched = True

    def _bytes_at(self, offset: int, size: int, uri: str) -> bytes:
        content = b""
        try:
            while len(content) < size:  # Linux reads at most 2 GB at once
                more = os.pread(self._descriptor, size - len(content), offset + len(content))
                if not more:
                    raise ImageError("unreadable", f"{uri}: the tar was cut off while it was read")
                content += more
        except OSError as error:
            raise ImageError("unreadable", f"{uri}: {error.strerror or error}") from error
        return content


def _open(tar: str) -> BinaryIO:
    """The tar as a file of this machine.

    Raises:
        ImageError: its message goes on from the URI of the tar.
    """
    try:
        file = storage_for(tar).open(tar)
        try:
            file.fileno()
        except OSError:  # each seek would be a request
            with file:
                return _copied(file)
        return file
    except FileNotFoundError as error:
        raise ImageError("not_found", "does not exist") from error
    except PermissionError as error:
        raise ImageError("permission_denied", f"may not be read: {_why(error, tar)}") from error
    # Each filesystem of Beam's raises what its own client raises: there is no common class.
    except Exception as error:
        raise ImageError("unreadable", f"cannot be opened: {_why(error, tar)}") from error


def _copied(file: BinaryIO) -> BinaryIO:
    with ExitStack() as on_failure:
        copy = on_failure.enter_context(tempfile.TemporaryFile())
        shutil.copyfileobj(file, copy, _CHUNK_BYTES)
        on_failure.pop_all()
    return cast(BinaryIO, copy)


def _why(error: Exception, tar: str) -> str:
    return getattr(error, "strerror", None) or str(error).removeprefix(f"{tar}: ")


def _no_image(side_files: int) -> ImageError:
    if not side_files:
        return ImageError("empty", "has no members")
    return ImageError(
        "not_an_image",
        f"holds no image: none of its {side_files:,} members is named as one, such as .jpg",
    )


def _parsed(uri: str) -> TarMember:
    member = tar_member(canonical_uri(uri))
    if member is None:
        raise ValueError(f"{uri} names no member of a tar, as shard.tar::image.jpg does")
    return member


def _only_read(uri: str) -> OSError:
    return OSError(f"{uri} is in a tar, and tars are only read")
