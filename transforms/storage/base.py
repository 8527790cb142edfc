"""The few things the pipeline asks of a storage."""

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple, Protocol

from transforms.failures import ImageError
from transforms.records import ListedImage


class Content(NamedTuple):
    """An object's bytes, with its modification time (microseconds, UTC) where reading tells it."""

    data: bytes
    last_modified: int | None


class NotReplacedError(FileExistsError):
    """An object of this name is there with other content, and the credentials may only create."""


class Storage(Protocol):
    """Lists, reads and writes whole objects. All methods may be called from many threads."""

    def find(self, source: str) -> Iterator[ListedImage]:
        """Every image that a file name, folder or glob stands for; nothing if none matches.

        A folder that a glob matches stands for everything below it.

        Raises:
            OSError: it cannot be listed.

        """
        ...

    def read(self, uri: str, max_bytes: int) -> Content:
        """The object whole, in one request.

        Raises:
            ImageError: not_found, permission_denied, not_a_file, too_many_bytes or unreadable.

        """
        ...

    def open(self, uri: str) -> BinaryIO:
        """The object as a readable stream, for manifests, weights and part files.

        Raises:
            OSError: there is none, or it cannot be read.

        """
        ...

    def write(self, root: str, name: str, content: bytes) -> None:
        """Puts `root`/`name` in place whole or not at all, replacing what was there.

        Raises:
            NotReplacedError: other content is there, and may not be replaced.
            OSError: it cannot be written; nothing of it is visible then.

        """
        ...

    def create(self, root: str, name: str, content: bytes) -> None:
        """Puts `root`/`name` in place if there is no such object; one of several callers succeeds.

        Readers may see it before it is whole. Beam's filesystems, which are for other schemes, have
        no such operation: of two calls within a second, both may succeed and the later one count.

        Raises:
            FileExistsError: there is one.
            OSError: it cannot be written.

        """
        ...

    def names(self, folder: str) -> list[str]:
        """All objects below `folder`, named from there, sorted; empty if there is no such folder.

        Raises:
            OSError: it cannot be listed.

        """
        ...

    def check_writable(self, root: str) -> None:
        """Tries that `root` takes a file, leaving nothing behind.

        Raises:
            OSError: it does not.

        """
        ...


def join(root: str, *names: str) -> str:
    """A path below `root`, on any storage."""
    return "/".join([root.rstrip("/"), *names])


def too_many_bytes(uri: str, size: int | None, limit: int) -> ImageError:
    """The error of an object above the limit on bytes; `size` is None where it is not known."""
    has = "has" if size is None else f"has {size:,} bytes,"
    return ImageError(
        "too_many_bytes",
        f"{uri} {has} more than the limit of {limit:,} bytes; raise --max-bytes to take it",
    )
