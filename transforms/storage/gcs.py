"""Cloud Storage through one pooled client: one GET an image, checksums verified."""

import base64
import gzip
import hashlib
import io
import shutil
import tempfile
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property, partial
from typing import IO, Any, BinaryIO, Final, TypeVar, cast

from google.api_core import exceptions as api

from transforms.failures import ImageError
from transforms.layout import staging_name
from transforms.records import ListedImage
from transforms.storage import gcs_errors, retries
from transforms.storage.base import Content, join, too_many_bytes
from transforms.storage.billing import billing_project
from transforms.storage.gcs_client import has_credentials, pooled_client
from transforms.storage.gcs_errors import FAULTS, NoCredentials, WrongAnswerError
from transforms.storage.gcs_listing import find_object, list_page
from transforms.storage.uris import fixed_prefix, glob_regex, has_glob

_TIMEOUT_S: Final = (10, 60)  # to connect, to answer
# How long a call is tried while others succeed. For the first answer of all, a person waits.
FIRST_ANSWER_S, CALL_S = 15.0, 60.0
# A spell of 401 may be a token that is being renewed. Without credentials a longer one is not.
RENEWAL_S: Final = 60.0
# Pages of a listing are sometimes empty; after so many in a row it never ends.
_MOST_EMPTY_PAGES: Final = 1000

ResultT = TypeVar("ResultT")
FileT = TypeVar("FileT", bound=IO[bytes])


class GoogleCloudStorage:
    """Objects named `gs://bucket/name`."""

    def __init__(self) -> None:
        """The client is made on first use, once for all threads."""
        self._lock = threading.Lock()
        self._retries = retries.shared
        self._has_credentials = True

    def find(self, source: str) -> Iterator[ListedImage]:
        """An object, everything below a prefix, or the matches of a glob."""
        bucket, name = _split(source)
        with self._os_errors(source):
            exact = None
            if name and not name.endswith("/"):
                exact = self._ask(partial(find_object, self._bucket(bucket), name))
            if exact is not None:
                yield exact
                return
            regex = glob_regex(name.rstrip("/")) if has_glob(name) else None
            prefix = fixed_prefix(name) if regex else _folder(name)
            for name, image in self._list(bucket, prefix):
                is_folder_marker = image.byte_size == 0 and name.endswith("/")
                if (regex is None or regex.match(name)) and not is_folder_marker:
                    yield image

    def read(self, uri: str, max_bytes: int) -> Content:
        """The object in one GET, its checksum verified; passing faults are tried again."""
        try:
            file = self._fetched(uri, lambda: _BoundedBuffer(uri, max_bytes), CALL_S)
        except (*FAULTS, ValueError) as error:
            why = gcs_errors.explained(uri, error, self._has_credentials)
            raise ImageError(gcs_errors.reason_of(error), why) from error
        return Content(file.getvalue(), None)

    def open(self, uri: str) -> BinaryIO:
        """The object in one GET, its checksum verified, as an unnamed temporary file."""
        with self._os_errors(uri):
            # A manifest, a tar or a model stands for many images: worth waiting for.
            seconds = self._retries.outage_s if self._retries.has_succeeded else None
            file = self._fetched(uri, tempfile.TemporaryFile, seconds)
            file.seek(0)
        return cast(BinaryIO, file)

    def write(self, root: str, name: str, content: bytes) -> None:
        """One upload, which Cloud Storage puts in place whole; the right to create is enough."""
        with self._os_errors(join(root, name)):
            blob = self._blob(root, name)
            try:
                self._ask(partial(_upload, blob, content), self._retries.outage_s)
            except api.Forbidden as error:
                # What is there may be our own: an upload can succeed and its answer be lost.
                if not (gcs_errors.is_there(error) and self._holds(blob, content)):
                    raise

    def create(self, root: str, name: str, content: bytes) -> None:
        """One upload that Cloud Storage refuses if there is an object of that name."""
        with self._os_errors(join(root, name)):
            blob = self._blob(root, name)
            self._ask(partial(_upload, blob, content, if_generation_match=0))

    def names(self, folder: str) -> list[str]:
        """Objects below `folder`."""
        bucket, name = _split(folder)
        prefix = _folder(name)
        with self._os_errors(folder):
            found = [name.removeprefix(prefix) for name, _ in self._list(bucket, prefix)]
        return sorted(filter(None, found))

    def check_writable(self, root: str) -> None:
        """Begins an upload and sends nothing: that needs the right to create and no other."""
        with self._os_errors(root):
            blob = self._blob(root, staging_name())
            self._ask(partial(blob.create_resumable_upload_session, size=0))

    def _ask(self, request: Callable[..., ResultT], seconds: float | None = None) -> ResultT:
        """One request of the client's, tried again while what is wrong may pass.

        Args:
            request: takes `retry` and `timeout`.
            seconds: for how long; by default as for a question that a person may wait for.
        """
        is_question = seconds is None
        if seconds is None:
            seconds = CALL_S if self._retries.has_succeeded else FIRST_ANSWER_S

        def may_pass(error: Exception) -> bool:
            if isinstance(error, NoCredentials):
                return not is_question and self._retries.seconds_failing() < RENEWAL_S
            return gcs_errors.may_pass(error)

        request = partial(request, retry=None, timeout=_TIMEOUT_S)
        return self._retries.call(request, seconds, may_pass)

    def _fetched(self, uri: str, new_file: Callable[[], FileT], seconds: float | None) -> FileT:
        """A file with the content of an object."""

        def fetch(**options: Any) -> tuple[FileT, Any]:
            blob = self._blob(uri)
            with ExitStack() as on_failure:
                file = new_file()
                on_failure.callback(file.close)
                blob.download_to_file(file, raw_download=True, checksum="crc32c", **options)
                if blob.crc32c is None:
                    raise WrongAnswerError(
                        f"{file.tell():,} bytes of {blob.content_type} came without the checksum "
                        "that Cloud Storage sends"
                    )
                on_failure.pop_all()
            return file, blob.content_encoding

        file, encoding = self._ask(fetch, seconds)
        return _unpacked(file, new_file) if encoding == "gzip" else file

    def _holds(self, blob: Any, content: bytes) -> bool:
        """Whether the object can be seen to have this content."""
        try:
            self._ask(blob.reload)
        except FAULTS:
            return False
        digest = hashlib.md5(content, usedforsecurity=False).digest()
        return bool(blob.md5_hash == base64.b64encode(digest).decode())

    def _list(self, bucket: str, prefix: str) -> Iterator[tuple[str, ListedImage]]:
        """All objects whose names begin with `prefix`, each with its name in the bucket.

        Raises:
            WrongAnswerError: pages come again and again, or without end.
        """
        token, pages, empty_pages, first_of_earlier = None, 0, 0, ""
        while True:
            seconds = self._retries.outage_s if token else None
            page = partial(list_page, self._bucket(bucket), prefix, token)
            found, token = self._ask(page, seconds)
            yield from found
            if not token:
                return
            pages += 1
            empty_pages = 0 if found else empty_pages + 1
            first = found[0][0] if found else None
            if first == first_of_earlier or empty_pages == _MOST_EMPTY_PAGES:
                raise WrongAnswerError(
                    f"a listing that repeats itself or never ends, given up after {pages:,} pages"
                )
            # Any circle comes back to a page that is kept for ever longer (Brent 1980).
            if first is not None and pages & (pages - 1) == 0:
                first_of_earlier = first

    def _blob(self, root: str, name: str = "") -> Any:
        bucket, prefix = _split(root)
        return self._bucket(bucket).blob(_folder(prefix) + name if name else prefix)

    def _bucket(self, name: str) -> Any:
        if not name:
            raise ValueError("a bucket is missing")
        return self._client.bucket(name, user_project=billing_project())

    @contextmanager
    def _os_errors(self, uri: str) -> Iterator[None]:
        try:
            yield
        except (*FAULTS, ValueError) as error:
            raise gcs_errors.os_error(uri, error, self._has_credentials) from error

    @property
    def _client(self) -> Any:
        with self._lock:
            return self._pooled_client

    @cached_property
    def _pooled_client(self) -> Any:
        client = pooled_client()
        self._has_credentials = has_credentials(client)
        return client


class _BoundedBuffer(io.BytesIO):
    """Stops a download of unknown length at the limit."""

    def __init__(self, uri: str, limit: int) -> None:
        super().__init__()
        self._uri, self._limit = uri, limit

    def write(self, data: Any) -> int:
        if self.tell() + len(data) > self._limit:
            raise too_many_bytes(self._uri, None, self._limit)
        return super().write(data)


def _unpacked(file: FileT, new_file: Callable[[], FileT]) -> FileT:
    """What an object stored with `Content-Encoding: gzip` holds; itself if it is no whole gzip."""
    file.seek(0)
    with ExitStack() as on_failure:
        unpacked = new_file()
        on_failure.callback(unpacked.close)
        try:
            with gzip.GzipFile(fileobj=file) as stream:
                shutil.copyfileobj(stream, unpacked)
        except (gzip.BadGzipFile, EOFError, zlib.error):
            return file
        on_failure.pop_all()
    file.close()
    return unpacked


def _upload(blob: Any, content: bytes, **options: Any) -> None:
    blob.upload_from_string(content, "application/octet-stream", **options)
    if blob.size != len(content):
        raise WrongAnswerError()


def _split(uri: str) -> tuple[str, str]:
    bucket, _, name = uri.partition("://")[2].partition("/")
    return bucket, name


def _folder(name: str) -> str:
    """The prefix of all names below a folder; empty for the whole bucket."""
    return name.rstrip("/") + "/" if name.rstrip("/") else ""
