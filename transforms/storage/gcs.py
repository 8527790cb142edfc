"""Cloud Storage through one pooled client: one GET an image, checksums verified."""

import io
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta, timezone
from functools import cached_property
from typing import Any, BinaryIO, Final, cast

import google.auth.exceptions
import requests
import requests.adapters
from google.api_core import exceptions as api
from google.api_core.retry import Retry
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage
from google.cloud.storage import retry as storage_retry
from google.cloud.storage.exceptions import DataCorruption

from transforms.failures import ImageError
from transforms.layout import staging_name
from transforms.records import ListedImage
from transforms.storage.base import Content, join, too_many_bytes
from transforms.storage.uris import fixed_prefix, glob_regex, has_glob

CONNECTIONS: Final = 64
_LISTING_FIELDS = "items(name,size,updated),nextPageToken"
# Reads and writes outlast a passing fault; in front of a listing or a check a person waits.
_RETRY: Final[Retry] = storage_retry.DEFAULT_RETRY.with_timeout(60.0)
_SHORT_RETRY: Final[Retry] = storage_retry.DEFAULT_RETRY.with_timeout(15.0)
_TIMEOUT_S: Final = (10, 60)  # to connect, to answer
# A body may take this long, and longer the larger it is: one that comes byte by byte would hold a
# thread for ever, since each byte is an answer.
_BODY_S, _BODY_BYTES_A_SECOND = 30.0, 100_000
_CLIENT_SETTINGS: Final = {
    # Where no metadata server answers, each try takes 3 s; Google's machines have other marks too.
    "GCE_METADATA_DETECT_RETRIES": "1",
    # Else the client asks for the bucket as well, without credentials once for each object.
    "DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA": "true",
}
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_REFUSALS: Final = (
    api.Forbidden,
    api.Unauthorized,
    google.auth.exceptions.InvalidOperation,  # refused without credentials
)
_UNREACHABLE: Final = (
    requests.ConnectionError,
    google.auth.exceptions.TransportError,
)
_FAULTS: Final = (
    api.GoogleAPICallError,
    api.RetryError,
    google.auth.exceptions.GoogleAuthError,
    DataCorruption,
    OSError,  # what `requests` raises is one
)


class GoogleCloudStorage:
    """Objects named `gs://bucket/name`."""

    def __init__(self) -> None:
        """The client is made on first use, once for all threads."""
        self._lock = threading.Lock()

    def find(self, source: str) -> Iterator[ListedImage]:
        """An object, everything below a prefix, or the matches of a glob."""
        bucket, name = _split(source)
        with self._os_errors(source):
            exact = None
            if name and not name.endswith("/"):
                exact = self._bucket(bucket).get_blob(name, retry=_SHORT_RETRY)
            if exact is not None:
                yield _listed(bucket, exact)
                return
            regex = glob_regex(name.rstrip("/")) if has_glob(name) else None
            prefix = fixed_prefix(name) if regex else _folder(name)
            for blob in self._list(bucket, prefix):
                if (regex is None or regex.match(blob.name)) and not _is_folder_marker(blob):
                    yield _listed(bucket, blob)

    def read(self, uri: str, max_bytes: int) -> Content:
        """The object in one GET, its checksum verified; passing faults are tried again."""
        sink = _BoundedBuffer(uri, max_bytes)
        try:
            self._blob(uri).download_to_file(sink, retry=_RETRY, timeout=_TIMEOUT_S)
        except api.NotFound as error:
            raise ImageError("not_found", f"{uri} does not exist") from error
        except _REFUSALS as error:
            raise ImageError("permission_denied", self._reason(uri, error)) from error
        except _FAULTS as error:
            raise ImageError("unreadable", self._reason(uri, error)) from error
        except ValueError as error:
            message = f"{uri} cannot be the name of an object: {error}"
            raise ImageError("not_found", message) from error
        return Content(sink.getvalue(), None)

    def open(self, uri: str) -> BinaryIO:
        """The object in one GET, its checksum verified, as an unnamed temporary file."""
        with ExitStack() as on_failure, self._os_errors(uri):
            file = on_failure.enter_context(tempfile.TemporaryFile())
            self._blob(uri).download_to_file(file, retry=_RETRY, timeout=_TIMEOUT_S)
            file.seek(0)
            on_failure.pop_all()
        return cast(BinaryIO, file)

    def write(self, root: str, name: str, content: bytes) -> None:
        """One upload, which Cloud Storage puts in place whole."""
        with self._os_errors(join(root, name)):
            self._blob(root, name).upload_from_string(
                content, "application/octet-stream", retry=_RETRY, timeout=_TIMEOUT_S
            )

    def names(self, folder: str) -> list[str]:
        """Objects below `folder`."""
        bucket, name = _split(folder)
        prefix = _folder(name)
        with self._os_errors(folder):
            found = [blob.name.removeprefix(prefix) for blob in self._list(bucket, prefix)]
        return sorted(filter(None, found))

    def check_writable(self, root: str) -> None:
        """Uploads an empty object and deletes it."""
        with self._os_errors(root):
            blob = self._blob(root, staging_name())
            blob.upload_from_string(b"", retry=_SHORT_RETRY)
            blob.delete(retry=_SHORT_RETRY)

    def _list(self, bucket: str, prefix: str) -> Iterator[Any]:
        return self._client.list_blobs(
            bucket, prefix=prefix, fields=_LISTING_FIELDS, retry=_SHORT_RETRY
        )

    def _blob(self, root: str, name: str = "") -> Any:
        bucket, prefix = _split(root)
        return self._bucket(bucket).blob(_folder(prefix) + name if name else prefix)

    def _bucket(self, name: str) -> Any:
        if not name:
            raise ValueError("a bucket is missing")
        return self._client.bucket(name)

    @contextmanager
    def _os_errors(self, uri: str) -> Iterator[None]:
        try:
            yield
        except api.NotFound as error:
            raise FileNotFoundError(f"{uri} does not exist, or its bucket does not") from error
        except _REFUSALS as error:
            raise PermissionError(self._reason(uri, error)) from error
        except (*_FAULTS, ValueError) as error:
            raise OSError(self._reason(uri, error)) from error

    def _reason(self, uri: str, error: Exception) -> str:
        tried = error.cause if isinstance(error, api.RetryError) else error
        if isinstance(tried, _UNREACHABLE):
            return (
                f"{uri}: Cloud Storage cannot be reached ({root_cause(tried)}); "
                "check the network, and if the bucket is not public run "
                "`gcloud auth application-default login`"
            )
        if not isinstance(error, _REFUSALS):
            return f"{uri}: {type(error).__name__}: {error}"
        if isinstance(self._client._credentials, AnonymousCredentials):
            return (
                f"{uri} is not public and no credentials were found: "
                "run `gcloud auth application-default login`"
            )
        return f"{uri}: the credentials in use have no access to it: {error}"

    @property
    def _client(self) -> Any:
        with self._lock:
            return self._pooled_client

    @cached_property
    def _pooled_client(self) -> Any:
        set_client_environment()
        try:
            client: Any = storage.Client(project=os.environ.get("GOOGLE_CLOUD_PROJECT", "none"))
        except google.auth.exceptions.DefaultCredentialsError:
            if "GOOGLE_APPLICATION_CREDENTIALS" in os.environ:  # named, but of no use
                raise
            client = storage.Client.create_anonymous_client()  # public buckets still work
        # Never pool_block: the client does not return the connection of an answer that it drops
        # to try again, and so would wait forever after as many faults as there are connections.
        adapter = _TimedAdapter(pool_maxsize=CONNECTIONS)
        for scheme in ("https://", "http://"):
            client._http.mount(scheme, adapter)
        return client


def set_client_environment() -> None:
    """Settings of Google's clients, unless the user has others; before one is made."""
    for name, value in _CLIENT_SETTINGS.items():
        os.environ.setdefault(name, value)


def root_cause(error: BaseException) -> str:
    """What the system said, without the layers of clients that it came through."""
    while deeper := error.__cause__ or error.__context__:
        error = deeper
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


class _TimedAdapter(requests.adapters.HTTPAdapter):
    """Gives up bodies that come too slowly; the client then asks again, as for any timeout."""

    def send(self, *arguments: Any, **options: Any) -> requests.Response:
        response = super().send(*arguments, **options)
        raw: Any = response.raw

        def stream(amount: int, decode_content: bool | None = None) -> Iterator[bytes]:
            start, size = time.monotonic(), 0
            while data := raw.read1(amount, decode_content=decode_content):
                yield data
                size += len(data)
                if time.monotonic() - start > _BODY_S + size / _BODY_BYTES_A_SECOND:
                    raw.close()
                    raise requests.Timeout(f"{size:,} bytes came in more than {_BODY_S:g} s")

        raw.stream = stream
        return response


class _BoundedBuffer(io.BytesIO):
    """Stops a download of unknown length at the limit."""

    def __init__(self, uri: str, limit: int) -> None:
        super().__init__()
        self._uri, self._limit = uri, limit

    def write(self, data: Any) -> int:
        if self.tell() + len(data) > self._limit:
            raise too_many_bytes(self._uri, None, self._limit)
        return super().write(data)


def _split(uri: str) -> tuple[str, str]:
    bucket, _, name = uri.partition("://")[2].partition("/")
    return bucket, name


def _folder(name: str) -> str:
    """The prefix of all names below a folder; empty for the whole bucket."""
    return name.rstrip("/") + "/" if name.rstrip("/") else ""


def _listed(bucket: str, blob: Any) -> ListedImage:
    updated = (blob.updated - _EPOCH) // timedelta(microseconds=1) if blob.updated else None
    return ListedImage(f"gs://{bucket}/{blob.name}", blob.size, updated)


def _is_folder_marker(blob: Any) -> bool:
    return bool(blob.size == 0 and blob.name.endswith("/"))
