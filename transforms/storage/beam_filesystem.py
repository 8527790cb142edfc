"""Every other filesystem Beam knows (s3://, hdfs://, ...), through Beam itself."""

import uuid
from collections.abc import Iterator
from typing import BinaryIO

from apache_beam.io.filesystem import BeamIOError, CompressionTypes
from apache_beam.io.filesystems import FileSystems

from transforms.failures import ImageError
from transforms.records import ListedImage
from transforms.storage.base import Content, join
from transforms.storage.local import STAGING, too_many_bytes


class BeamStorage:
    """Objects named by a scheme that a Beam filesystem is registered for."""

    def find(self, source: str) -> Iterator[ListedImage]:
        """A file, everything below a folder, or the matches of a Beam glob."""
        for pattern in (source, join(source, "**")):
            found = FileSystems.match([pattern])[0].metadata_list
            for metadata in found:
                modified = metadata.last_updated_in_seconds
                yield ListedImage(
                    metadata.path,
                    metadata.size_in_bytes,
                    int(modified * 1_000_000) if modified else None,
                )
            if found:
                return

    def read(self, uri: str, max_bytes: int) -> Content:
        """The object whole."""
        try:
            with self.open(uri) as file:
                data = file.read(max_bytes + 1)
        except FileNotFoundError as error:
            raise ImageError("not_found", f"{uri} does not exist") from error
        except PermissionError as error:
            raise ImageError("permission_denied", f"{uri}: {error}") from error
        except (OSError, BeamIOError) as error:
            raise ImageError("unreadable", f"{uri}: {error}") from error
        if len(data) > max_bytes:
            raise too_many_bytes(uri, len(data), max_bytes)
        return Content(data, None)

    def open(self, uri: str) -> BinaryIO:
        """The object as Beam opens it, never decompressed."""
        return FileSystems.open(uri, compression_type=CompressionTypes.UNCOMPRESSED)

    def write(self, root: str, name: str, content: bytes) -> None:
        """Writes aside, then renames."""
        staged, target = join(root, STAGING, uuid.uuid4().hex), join(root, name)
        with FileSystems.create(staged, compression_type=CompressionTypes.UNCOMPRESSED) as file:
            file.write(content)
        FileSystems.rename([staged], [target])

    def names(self, folder: str) -> list[str]:
        """Objects below `folder`."""
        found = FileSystems.match([join(folder, "**")])[0].metadata_list
        return sorted(metadata.path for metadata in found)

    def check_writable(self, root: str) -> None:
        """Writes an empty object and deletes it."""
        probe = join(root, STAGING, "probe")
        with FileSystems.create(probe):
            pass
        FileSystems.delete([probe])
