"""The client of Cloud Storage: one pool of connections, and a time limit for each body."""

import os
import time
from collections.abc import Iterator
from typing import Any, Final

import google.auth.exceptions
import requests
import requests.adapters
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

CONNECTIONS: Final = 64
# A body may take this long, and longer the larger it is: one that comes byte by byte would hold a
# thread for ever, since each byte is an answer.
BODY_S, _BODY_BYTES_A_SECOND = 30.0, 100_000
_SETTINGS: Final = {
    # Where no metadata server answers, each try takes 3 s; Google's machines have other marks too.
    "GCE_METADATA_DETECT_RETRIES": "1",
    # Else the client asks for the bucket as well, without credentials once for each object.
    "DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA": "true",
}


def pooled_client() -> Any:
    """A client for many threads; without credentials an anonymous one, for public buckets.

    Raises:
        google.auth.exceptions.GoogleAuthError: credentials are named, but of no use.
    """
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    try:
        client: Any = storage.Client(project=os.environ.get("GOOGLE_CLOUD_PROJECT", "none"))
    except google.auth.exceptions.DefaultCredentialsError:
        if "GOOGLE_APPLICATION_CREDENTIALS" in os.environ:
            raise
        client = storage.Client.create_anonymous_client()
    # Never pool_block: the client does not return the connection of an answer that it drops
    # to try again, and so would wait forever after as many faults as there are connections.
    adapter = _TimedAdapter(pool_maxsize=CONNECTIONS)
    for scheme in ("https://", "http://"):
        client._http.mount(scheme, adapter)
    return client


def has_credentials(client: Any) -> bool:
    """Whether requests carry credentials."""
    return not isinstance(client._credentials, AnonymousCredentials)


class _TimedAdapter(requests.adapters.HTTPAdapter):
    """Ends a body that comes too slowly with a timeout error."""

    def send(self, *arguments: Any, **options: Any) -> requests.Response:
        response = super().send(*arguments, **options)
        raw: Any = response.raw

        def stream(amount: int, decode_content: bool | None = None) -> Iterator[bytes]:
            start, size = time.monotonic(), 0
            while data := raw.read1(amount, decode_content=decode_content):
                yield data
                size += len(data)
                if time.monotonic() - start > BODY_S + size / _BODY_BYTES_A_SECOND:
                    raw.close()
                    raise requests.Timeout(f"{size:,} bytes came in more than {BODY_S:g} s")

        raw.stream = stream
        return response
