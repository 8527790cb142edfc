"""What a tar holds, read header by header; where it breaks, what came before still counts."""

import os
import re
import tarfile
from collections import Counter
from collections.abc import Iterator
from typing import BinaryIO, Final, NamedTuple

from transforms.failures import ImageError
from transforms.storage.uris import TarMember, member_uri

_BLOCK: Final = tarfile.BLOCKSIZE
_CHUNK: Final = 2048 * _BLOCK
# One that reads names and places keeps about 300 bytes for each of them.
_MOST_MEMBERS: Final = 1_000_000
# What stands in front of a member: its long name, its extended attributes.
_LARGEST_EXTENSION: Final = 1_000_000
_MOST_EXTENSIONS: Final = 16

_REGULAR: Final = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
_WITHOUT_DATA: Final = {
    tarfile.DIRTYPE: "a folder",
    tarfile.LNKTYPE: "a hard link: store the image itself (tar --hard-dereference)",
    tarfile.SYMTYPE: "a symbolic link: store the image itself (tar --dereference)",
    tarfile.CHRTYPE: "a character device",
    tarfile.BLKTYPE: "a block device",
    tarfile.FIFOTYPE: "a named pipe",
}
_PAX: Final = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)
_EXTENSIONS: Final = (*_PAX, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
# POSIX.1-2001, pax: records of "length keyword=value\n". Of the keywords only these matter here.
_PAX_RECORD: Final = re.compile(rb"([1-9][0-9]{0,6}) ([^=\n]{1,255})=")
_PAX_SIZE: Final = re.compile(rb"[0-9]{1,18}")
_PAX_PATHS: Final = (b"GNU.sparse.name", b"path")
_PAX_SPARSE: Final = (b"GNU.sparse.map", b"GNU.sparse.size", b"GNU.sparse.major")
_PAX_WANTED: Final = (*_PAX_PATHS, *_PAX_SPARSE, b"size")
_COMPRESSIONS: Final = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"(\xb5/\xfd": "zstd",
}

_Fields = dict[bytes, bytes]


class TarEntry(NamedTuple):
    """One member: `size` bytes at `offset` of the tar, unless it cannot be read."""

    uri: str
    name: str
    offset: int
    size: int
    error: ImageError | None = None


class _Header(NamedTuple):
    name: str
    kind: bytes
    is_sparse: bool
    offset: int
    size: int
    next: int  # where the following header is


def tar_entries(file: BinaryIO, tar: str) -> Iterator[TarEntry]:
    """Every member but the folders, in the order stored; reads the headers and skips the rest.

    Tars that were written one after the other into one file are read as one. No size is believed
    and nothing is unpacked, so that `../x.jpg` is a name like any other.

    Args:
        file: the tar, open for reading and seeking.
        tar: its URI.

    Raises:
        ImageError: after the last member that could be read, why there may be more of them;
            its message goes on from the URI of the tar.
    """
    end = file.seek(0, os.SEEK_END)
    names: Counter[str] = Counter()
    global_fields: _Fields = {}
    at = members = 0
    if end < _BLOCK:
        raise _no_tar(file)
    try:
        while (at := _skip_end(file, at, end)) < end:
            if members == _MOST_MEMBERS:
                raise ImageError("unsupported_format", "no more are read of one tar: split it")
            header = _read_header(file, at, global_fields)
            members += 1
            if header.kind != tarfile.DIRTYPE:
                names[header.name] += 1
                uri = member_uri(TarMember(tar, header.name, names[header.name]))
                error = _error(header, uri, end)
                yield TarEntry(uri, header.name, header.offset, header.size, error)
            at = header.next
    except tarfile.HeaderError as error:
        if at == 0:
            raise _no_tar(file) from error
        what = f"breaks after {members:,} of its members: {error} at byte {at:,}"
        raise ImageError("corrupt", what) from error
    except OSError as error:
        raise ImageError("unreadable", f"cannot be read at byte {at:,}: {error}") from error
    except ImageError as error:
        raise ImageError(
            error.error, f"breaks after {members:,} of its members: {error}"
        ) from error


def _skip_end(file: BinaryIO, at: int, end: int) -> int:
    """Where the next header is: `at`, or behind zeros, which end a tar; `end` if none follows."""
    if at >= end:
        raise ImageError("truncated", f"its end is missing at byte {end:,}: copy it again")
    file.seek(at)
    block = file.read(_BLOCK)
    while not block.strip(b"\0"):
        at += len(block)
        block = file.read(_CHUNK)
        if not block:
            return at
    return at + (len(block) - len(block.lstrip(b"\0"))) // _BLOCK * _BLOCK


def _read_header(file: BinaryIO, at: int, global_fields: _Fields) -> _Header:
    """The member whose header, or what extends it, is at `at`; updates `global_fields`."""
    fields: _Fields = {}
    long_name = None
    for _ in range(_MOST_EXTENSIONS):
        info = tarfile.TarInfo.frombuf(_read(file, at, _BLOCK), "utf-8", "surrogateescape")
        at += _BLOCK
        if info.type not in _EXTENSIONS:
            return _header(file, info, at, global_fields | fields, long_name)
        if not 0 <= info.size <= _LARGEST_EXTENSION:
            raise ImageError("corrupt", f"an extended header of {info.size:,} bytes")
        extension = _read(file, at, info.size)
        at += _padded(info.size)
        if info.type in _PAX:
            target = global_fields if info.type == tarfile.XGLTYPE else fields
            target.update(_pax_fields(extension))
        elif info.type == tarfile.GNUTYPE_LONGNAME:
            long_name = extension.partition(b"\0")[0]
    raise ImageError("corrupt", f"more than {_MOST_EXTENSIONS} extended headers of one member")


def _header(
    file: BinaryIO, info: tarfile.TarInfo, at: int, fields: _Fields, long_name: bytes | None
) -> _Header:
    name = next((fields[path] for path in _PAX_PATHS if path in fields), long_name)
    size = info.size
    if b"size" in fields:
        if not _PAX_SIZE.fullmatch(fields[b"size"]):
            raise ImageError("corrupt", f"a size of {fields[b'size'][:40]!r}")
        size = int(fields[b"size"])
    if size < 0:
        raise ImageError("corrupt", f"a size of {size:,} bytes")
    is_sparse = info.type == tarfile.GNUTYPE_SPARSE or any(key in fields for key in _PAX_SPARSE)
    if info.type == tarfile.GNUTYPE_SPARSE:
        at = _skip_sparse_map(file, at)
    return _Header(
        info.name if name is None else name.decode("utf-8", "surrogateescape"),
        info.type,
        is_sparse,
        at,
        size,
        at if info.type in _WITHOUT_DATA else at + _padded(size),
    )


def _skip_sparse_map(file: BinaryIO, at: int) -> int:
    """Behind the blocks that go on with a sparse file's map, in GNU's own format."""
    has_more = _read(file, at - _BLOCK, _BLOCK)[482]
    while has_more:
        has_more = _read(file, at, _BLOCK)[504]
        at += _BLOCK
    return at


def _pax_fields(extension: bytes) -> _Fields:
    fields, at = {}, 0
    while at < len(extension) and extension[at]:  # zeros fill it up
        record = _PAX_RECORD.match(extension, at)
        after = at + int(record[1]) if record else 0
        is_whole = record and extension[record.end() : after].endswith(b"\n")
        if record is None or not is_whole or after > len(extension):
            raise ImageError("corrupt", f"{extension[at : at + 40]!r} in an extended header")
        if record[2] in _PAX_WANTED:
            fields[record[2]] = extension[record.end() : after - 1]
        at = after
    return fields


def _error(header: _Header, uri: str, end: int) -> ImageError | None:
    """Why a member cannot be read."""
    if header.is_sparse:
        return ImageError("unsupported_format", f"{uri} is stored as a sparse file, in pieces")
    if header.kind not in _REGULAR:
        kind = _WITHOUT_DATA.get(header.kind, f"a member of the type {header.kind!r}")
        return ImageError("not_a_file", f"{uri} is {kind}")
    if header.offset + header.size > end:
        has = max(0, end - header.offset)
        return ImageError("truncated", f"{uri}: the tar ends at {has:,} of {header.size:,} bytes")
    return None


def _no_tar(file: BinaryIO) -> ImageError:
    file.seek(0)
    start = file.read(16)
    if not start:
        return ImageError("empty", "has no bytes")
    for magic, name in _COMPRESSIONS.items():
        if start.startswith(magic):
            return ImageError("unsupported_format", f"is compressed with {name}: unpack it")
    return ImageError("corrupt", f"is no tar: it begins with the bytes {start!r}")


def _read(file: BinaryIO, at: int, size: int) -> bytes:
    file.seek(at)
    content = file.read(size)
    if len(content) < size:
        raise ImageError("truncated", f"the header at byte {at:,} is cut off: copy it again")
    return content


def _padded(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK
