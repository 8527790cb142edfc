"""Cloud Storage through one pooled client: one GET an image, checksums verified."""

import io
import os
import threading
from collections.abc import Iterator
from functools import cached_property
from typing import Any, BinaryIO, cast

import google.auth.exceptions
import requests.adapters
import requests.exceptions
from google.api_core import exceptions as api
from google.api_core.retry import Retry
from google.cloud import storage
from google.cloud.storage import retry as storage_retry

from transforms.failures import ImageError
from transforms.records import ListedImage
from transforms.storage.base import Content
from transforms.storage.local import too_many_bytes
from transforms.storage.uris import fixed_prefix, glob_regex, has_glob

CONNECTIONS = 64
_LISTING_FIELDS = "items(name,size,updated),nextPageToken"
_RETRY: Retry = storage_retry.DEFAULT_RETRY.with_timeout(60.0)


class GoogleCloudStorage:
    """Objects named `gs://bucket/name`."""

    def __init__(self) -> None:
        """The client is made on first use, once for all threads."""
        self._lock = threading.Lock()

    def find(self, source: str) -> Iterator[ListedImage]:
        """An object, everything below a prefix, or the matches of a glob."""
        bucket, name = _split(source)
        exact = self._bucket(bucket).get_blob(name) if name and not name.endswith("/") else None
        if exact is not None:
            yield _listed(bucket, exact)
            return
        regex = glob_regex(name) if has_glob(name) else None
        prefix = fixed_prefix(name) if regex else (name and name.rstrip("/") + "/")
        found = self._client.list_blobs(bucket, prefix=prefix, fields=_LISTING_FIELDS)
        for blob in found:
            if (regex is None or regex.match(blob.name)) and not _is_folder_marker(blob):
                yield _listed(bucket, blob)

    def read(self, uri: str, max_bytes: int) -> Content:
        """The object in one GET, its checksum verified; passing faults are tried again."""
        bucket, name = _split(uri)
        sink = _BoundedBuffer(uri, max_bytes)
        try:
            blob = self._bucket(bucket).blob(name)
            blob.download_to_file(sink, retry=_RETRY, timeout=(10, 60))
        except api.NotFound as error:
            raise ImageError("not_found", f"{uri} does not exist") from error
        except (api.Forbidden, api.Unauthorized) as error:
            message = f"{uri}: the credentials in use may not read it ({error.code})"
            raise ImageError("permission_denied", message) from error
        except (
            api.GoogleAPICallError,
            api.RetryError,
            google.auth.exceptions.GoogleAuthError,
            requests.exceptions.RequestException,
            OSError,
        ) as error:
            raise ImageError("unreadable", f"{uri}: {type(error).__name__}: {error}") from error
        return Content(sink.getvalue(), None)

    def open(self, uri: str) -> BinaryIO:
        """The object as a seekable stream."""
        bucket, name = _split(uri)
        blob = self._bucket(bucket).blob(name)
        try:
            if not blob.exists():
                raise FileNotFoundError(f"{uri} does not exist")
        except api.GoogleAPICallError as error:
            raise OSError(f"{uri}: {error}") from error
        return cast(BinaryIO, blob.open("rb"))

    def write(self, root: str, name: str, content: bytes) -> None:
        """One upload, which Cloud Storage puts in place whole."""
        bucket, prefix = _split(root)
        blob = self._bucket(bucket).blob(f"{prefix.rstrip('/')}/{name}".lstrip("/"))
        try:
            blob.upload_from_string(content, content_type="application/octet-stream", retry=_RETRY)
        except (api.GoogleAPICallError, api.RetryError) as error:
            raise OSError(f"{root}/{name}: {error}") from error

    def names(self, folder: str) -> list[str]:
        """Objects below `folder`."""
        bucket, prefix = _split(folder)
        found = self._client.list_blobs(bucket, prefix=prefix.rstrip("/") + "/")
        return [f"gs://{bucket}/{blob.name}" for blob in found]

    def check_writable(self, root: str) -> None:
        """Uploads an empty object and deletes it."""
        bucket, prefix = _split(root)
        blob = self._bucket(bucket).blob(f"{prefix.rstrip('/')}/.staging/probe".lstrip("/"))
        try:
            blob.upload_from_string(b"")
            blob.delete()
        except (api.GoogleAPICallError, google.auth.exceptions.GoogleAuthError) as error:
            raise OSError(f"{root}: {error}") from error

    def _bucket(self, name: str) -> Any:
        return self._client.bucket(name)

    @property
    def _client(self) -> Any:
        with self._lock:
            return self._pooled_client

    @cached_property
    def _pooled_client(self) -> Any:
        try:
            client: Any = storage.Client(project=os.environ.get("GOOGLE_CLOUD_PROJECT", "none"))
        except google.auth.exceptions.DefaultCredentialsError:
            client = storage.Client.create_anonymous_client()  # public buckets still work
        adapter = requests.adapters.HTTPAdapter(pool_maxsize=CONNECTIONS, pool_block=True)
        for scheme in ("https://", "http://"):
            client._http.mount(scheme, adapter)
        return client


class _BoundedBuffer(io.BytesIO):
    """Stops a download of unknown length at the limit."""

    def __init__(self, uri: str, limit: int) -> None:
        super().__init__()
        self._uri, self._limit = uri, limit

    def write(self, data: Any) -> int:
        if self.tell() + len(data) > self._limit:
            raise too_many_bytes(self._uri, self.tell() + len(data), self._limit)
        return super().write(data)


def _split(uri: str) -> tuple[str, str]:
    bucket, _, name = uri.removeprefix("gs://").partition("/")
    return bucket, name


def _listed(bucket: str, blob: Any) -> ListedImage:
    updated = int(blob.updated.timestamp() * 1_000_000) if blob.updated else None
    return ListedImage(f"gs://{bucket}/{blob.name}", blob.size, updated)


def _is_folder_marker(blob: Any) -> bool:
    return bool(blob.size == 0 and blob.name.endswith("/"))
