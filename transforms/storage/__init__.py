"""Where images come from and rows go to: local disks, Cloud Storage, whatever Beam knows."""

from functools import cache

from transforms.storage.base import Content, NotReplacedError, Storage, join, too_many_bytes
from transforms.storage.uris import canonical_uri, container_of, is_local, scheme_of, tar_member

__all__ = [
    "Content",
    "NotReplacedError",
    "Storage",
    "canonical_uri",
    "check_scheme",
    "is_local",
    "join",
    "storage_for",
    "too_many_bytes",
]


def storage_for(uri: str) -> Storage:
    """The storage that holds `uri`, one instance a scheme and process."""
    if tar_member(uri):
        return _storage("::")
    return _storage("file" if is_local(uri) else scheme_of(uri))


def check_scheme(uri: str) -> None:
    """Raises OSError if `uri` is of a scheme that nothing here can read or write."""
    if scheme_of(container_of(uri)) not in ("", "file", "gs"):
        from transforms.storage.beam_filesystem import check_filesystem

        check_filesystem(container_of(uri))


@cache
def _storage(scheme: str) -> Storage:
    if scheme == "file":
        from transforms.storage.local import LocalStorage

        return LocalStorage()
    if scheme == "::":
        from transforms.storage.tar import TarStorage

        return TarStorage()
    if scheme == "gs":
        from transforms.storage.gcs import GoogleCloudStorage

        return GoogleCloudStorage()
    from transforms.storage.beam_filesystem import BeamStorage

    return BeamStorage()
