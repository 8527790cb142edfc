"""Every other filesystem Beam knows (s3://, hdfs://, ...), through Beam itself."""

import contextlib
from collections.abc import Iterator
from importlib.util import find_spec
from typing import BinaryIO, Final

from apache_beam.io.filesystem import CompressionTypes, FileMetadata, FileSystem
from apache_beam.io.filesystems import FileSystems

from transforms.failures import ImageError
from transforms.layout import staging_name
from transforms.records import ListedImage
from transforms.storage.base import Content, join, too_many_bytes
from transforms.storage.uris import canonical_uri, fixed_prefix, has_glob, scheme_of

# What each of Beam's filesystems imports when it is first used, and the extra that brings it.
_EXTRAS: Final = {"s3": ("boto3", "aws"), "hdfs": ("hdfs", "hadoop"), "azfs": ("azure", "azure")}


class BeamStorage:
    """Objects named by a scheme that a Beam filesystem is registered for."""

    def find(self, source: str) -> Iterator[ListedImage]:
        """A file, everything below a folder, or the matches of a Beam glob."""
        check_filesystem(source)
        filesystem = FileSystems.get_filesystem(source)
        name, below = source.partition("://")[2], join(source, "**")
        if "/" in name and not name.endswith("/") and filesystem.exists(source):
            found = [filesystem.metadata(source)]
        else:
            found = _matches(*([source, below] if has_glob(source) else [below]))
        for metadata in found:
            modified = metadata.last_updated_in_seconds
            yield ListedImage(
                canonical_uri(metadata.path),
                metadata.size_in_bytes,
                round(modified * 1_000_000) if modified else None,
            )

    def read(self, uri: str, max_bytes: int) -> Content:
        """The object whole."""
        try:
            with self.open(uri) as file:
                data = file.read(max_bytes + 1)
        except FileNotFoundError as error:
            raise ImageError("not_found", f"{uri} does not exist") from error
        except PermissionError as error:
            raise ImageError("permission_denied", f"{uri}: {error}") from error
        # Each filesystem raises what its own client raises: there is no common class.
        except Exception as error:
            raise ImageError("unreadable", f"{uri}: {type(error).__name__}: {error}") from error
        if len(data) > max_bytes:
            raise too_many_bytes(uri, None, max_bytes)
        return Content(data, None)

    def open(self, uri: str) -> BinaryIO:
        """The object as Beam opens it, never decompressed."""
        check_filesystem(uri)
        return FileSystems.open(uri, compression_type=CompressionTypes.UNCOMPRESSED)

    def write(self, root: str, name: str, content: bytes) -> None:
        """Writes aside, then renames."""
        filesystem = FileSystems.get_filesystem(root)
        staged, target = join(root, staging_name()), join(root, name)
        try:
            with FileSystems.create(staged, compression_type=CompressionTypes.UNCOMPRESSED) as file:
                file.write(content)
            if filesystem.has_dirs():  # hdfs:// renames into an existing folder, to a free name
                with contextlib.suppress(OSError):
                    filesystem.mkdirs(target.rpartition("/")[0])
                if filesystem.exists(target):
                    filesystem.delete([target])
            filesystem.rename([staged], [target])
        finally:
            with contextlib.suppress(OSError):  # it is no longer there
                filesystem.delete([staged])

    def create(self, root: str, name: str, content: bytes) -> None:
        """Looks whether it is there, then writes it."""
        if FileSystems.exists(join(root, name)):
            raise FileExistsError(f"{join(root, name)} is there already")
        self.write(root, name, content)

    def names(self, folder: str) -> list[str]:
        """Objects below `folder`."""
        check_filesystem(folder)
        above = join(folder, "")
        paths = [metadata.path for metadata in _matches(fixed_prefix(above) + "**")]
        return sorted(path.removeprefix(above) for path in paths if path.startswith(above))

    def check_writable(self, root: str) -> None:
        """Writes an empty object and deletes it."""
        check_filesystem(root)
        probe = join(root, staging_name())
        with FileSystems.create(probe):
            pass
        FileSystems.delete([probe])


def check_filesystem(uri: str) -> None:
    """Raises OSError if Beam has no filesystem for the scheme of `uri`, or one without its parts.

    Beam itself says of either that something may have to be installed, of some in an assertion.
    """
    scheme = scheme_of(uri)
    if scheme not in {known.scheme() for known in FileSystem.get_all_subclasses()}:
        raise OSError(
            f"there is no filesystem for {scheme}://; what works are local paths, gs://, and with "
            f"their extra of apache-beam {'://, '.join(_EXTRAS)}://; download what is elsewhere"
        )
    module, extra = _EXTRAS.get(scheme, ("apache_beam", ""))
    if find_spec(module) is None:
        raise OSError(f"{scheme}:// needs the command  pip install 'apache-beam[{extra}]'")


def _matches(*patterns: str) -> list[FileMetadata]:
    """What patterns match, without the empty objects by which some stores show a folder."""
    found = [each for result in FileSystems.match(list(patterns)) for each in result.metadata_list]
    return [each for each in found if not each.path.endswith("/")]
