"""A bucket of one's own on the emulator."""

import gc
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from tests.helpers.gcs_emulator import Proxy
from transforms.storage.gcs import GoogleCloudStorage


@pytest.fixture(scope="module", autouse=True)
def _collect_sockets() -> Iterator[None]:
    """Before another module's filter of warnings holds."""
    yield
    gc.collect()


@pytest.fixture
def gcs(cloud: Proxy) -> GoogleCloudStorage:
    return GoogleCloudStorage()


@pytest.fixture
def bucket(cloud: Proxy) -> Any:
    """An empty bucket; what the test asks of the storage is counted from here on."""
    client = storage.Client("test", credentials=AnonymousCredentials())
    bucket = client.create_bucket(f"bucket-{uuid4().hex}")
    cloud.requests.clear()
    return bucket


@pytest.fixture
def put(cloud: Proxy, bucket: Any) -> Callable[[str, bytes], str]:
    """Stores an object and says its URI."""

    def put(name: str, content: bytes = b"x") -> str:
        bucket.blob(name).upload_from_string(content)
        cloud.requests.clear()
        return f"gs://{bucket.name}/{name}"

    return put
