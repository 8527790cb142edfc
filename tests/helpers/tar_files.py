"""Tars, well-formed and otherwise."""

import io
import tarfile
from collections.abc import Iterable
from typing import Any, Literal

Format = Literal[0, 1, 2]
FORMATS: dict[str, Format] = {"ustar": 0, "gnu": 1, "pax": 2}  # tarfile.USTAR_FORMAT and so on
END = bytes(1024)


def header(
    name: str,
    size: int = 0,
    kind: bytes = tarfile.REGTYPE,
    linkname: str = "",
    format: Format = 1,
    pax: dict[str, str] | None = None,
) -> bytes:
    """All header blocks of one member."""
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname, info.pax_headers = size, kind, linkname, pax or {}
    return info.tobuf(format, "utf-8", "surrogateescape")


def member(name: str, content: bytes, **options: Any) -> bytes:
    """A file as it lies in a tar, padding included."""
    return header(name, len(content), **options) + padded(content)


def padded(content: bytes) -> bytes:
    """`content` and zeros up to a whole block."""
    return content + bytes(-len(content) % tarfile.BLOCKSIZE)


def tar_of(members: Iterable[tuple[str, bytes]], format: Format = 1) -> bytes:
    """A tar as Python's own `tarfile` writes it."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=format, encoding="utf-8") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return file.getvalue()


def patched(block: bytes, at: int, value: bytes) -> bytes:
    """A header block with other bytes at `at`, and the checksum that fits them."""
    block = block[:at] + value + block[at + len(value) :]
    blank = block[:148] + b" " * 8 + block[156:]
    return blank[:148] + b"%06o\0 " % sum(blank) + blank[156:]
