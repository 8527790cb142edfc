"""Every kind of fault of a storage: the right bytes come out, or an error, and soon."""

import gc
import gzip
import random
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from uuid import uuid4

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from tests.helpers import gcs_emulator as fault
from tests.helpers.gcs_emulator import Proxy, status
from transforms.failures import ImageError
from transforms.storage import gcs as gcs_module
from transforms.storage.gcs import GoogleCloudStorage

MB = 1_000_000
Fault = Callable[[fault.Reply], fault.Reply]

pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


class Expected(NamedTuple):
    """One request spoilt in one way: how often it is asked, and the error if none helps."""

    spoil: Fault
    requests: int
    error: str | None


FAULTS = {
    **{f"status {code}": Expected(status(code), 2, None) for code in (408, 429)},
    **{f"status {code}": Expected(status(code), 2, None) for code in (500, 502, 503, 504)},
    "reset": Expected(fault.reset, 2, None),
    "reset within the body": Expected(fault.reset_within, 2, None),
    "cut off": Expected(fault.cut_off, 2, None),
    "dribbling": Expected(fault.dribbling, 2, None),
    "flipped byte": Expected(fault.flipped_byte, 1, "unreadable"),
    "too short": Expected(fault.too_short, 1, "unreadable"),
    "too long": Expected(fault.too_long, 1, "unreadable"),
    "empty": Expected(fault.empty, 1, "unreadable"),
    "compressed on its way": Expected(fault.zipped, 1, "unreadable"),
    "status 401": Expected(status(401), 1, "permission_denied"),
    "status 403": Expected(status(403), 1, "permission_denied"),
    "status 404": Expected(status(404), 1, "not_found"),
}


@pytest.fixture(scope="module", autouse=True)
def _collect_sockets() -> Iterator[None]:
    """Before another module's filter of warnings holds."""
    yield
    gc.collect()


@pytest.fixture
def in_haste(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries at once, and bodies given up soon."""
    quick = gcs_module._RETRY.with_delay(0.001, 0.001).with_timeout(5.0)
    monkeypatch.setattr(gcs_module, "_RETRY", quick)
    monkeypatch.setattr(gcs_module, "_BODY_S", 0.1)


def stored(bucket: Any, count: int) -> dict[str, bytes]:
    """Objects of all sizes, by URI."""
    dice = random.Random(1)
    found = {}
    for number in range(count):
        content = dice.randbytes(dice.choice((50, 1000, 20_000, 100_000)))
        bucket.blob(f"{number}.jpg").upload_from_string(content)
        found[f"gs://{bucket.name}/{number}.jpg"] = content
    return found


@pytest.fixture
def bucket(cloud: Proxy) -> Any:
    client = storage.Client("test", credentials=AnonymousCredentials())
    return client.create_bucket(f"bucket-{uuid4().hex}")


def read_all(cloud: Proxy, contents: dict[str, bytes], expected: Expected) -> list[str]:
    """Reads each object with one fault; what went wrong, silent corruption above all."""
    gcs, wrong = GoogleCloudStorage(), []
    for uri, content in contents.items():
        cloud.requests.clear()
        cloud.faults[:] = [expected.spoil]
        try:
            data, error = gcs.read(uri, MB).data, None
        except ImageError as problem:
            data, error = content, problem.error
        if data != content:
            wrong.append(f"{uri}: {len(data)} other bytes")
        if (error, len(cloud.requests)) != (expected.error, expected.requests):
            wrong.append(f"{uri}: {error} after {len(cloud.requests)} requests")
    return wrong


@pytest.mark.parametrize("name", sorted(FAULTS))
def test_one_fault_is_recovered_from_or_becomes_its_error(
    cloud: Proxy, bucket: Any, in_haste: None, name: str
) -> None:
    assert read_all(cloud, stored(bucket, 3), FAULTS[name]) == []


@pytest.mark.slow
def test_all_kinds_of_faults_by_a_hundred_objects(
    cloud: Proxy, bucket: Any, in_haste: None
) -> None:
    contents = stored(bucket, 100)
    wrong = {name: read_all(cloud, contents, FAULTS[name]) for name in sorted(FAULTS)}
    print(f"\n{len(FAULTS)} kinds of faults by {len(contents)} objects")
    assert {name: found for name, found in wrong.items() if found} == {}


def test_a_body_that_comes_byte_by_byte_is_given_up(
    cloud: Proxy, bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gcs_module, "_RETRY", None)
    monkeypatch.setattr(gcs_module, "_BODY_S", 0.3)
    (uri,) = stored(bucket, 1)
    cloud.faults[:] = [fault.dribbling] * 9
    start = time.monotonic()
    with pytest.raises(ImageError) as caught:
        GoogleCloudStorage().read(uri, MB)
    assert time.monotonic() - start < 3
    assert caught.value.error == "unreadable"
    assert "bytes came in more than 0.3 s" in str(caught.value)
    assert caught.value.at("read").retryable


def test_an_object_that_is_stored_compressed_is_read_as_it_was(cloud: Proxy, bucket: Any) -> None:
    content = bytes(range(256)) * 100
    blob = bucket.blob("0.jpg")
    blob.upload_from_string(gzip.compress(content))
    cloud.requests.clear()
    cloud.faults[:] = [fault.declared_as_gzip]
    assert GoogleCloudStorage().read(f"gs://{bucket.name}/0.jpg", MB).data == content
    assert len(cloud.requests) == 1


def test_an_object_replaced_between_listing_and_reading_is_read_once_and_whole(
    cloud: Proxy, bucket: Any
) -> None:
    (uri,) = stored(bucket, 1)
    (listed,) = GoogleCloudStorage().find(uri)
    bucket.blob("0.jpg").upload_from_string(b"something else")
    cloud.requests.clear()
    assert GoogleCloudStorage().read(listed.uri, MB).data == b"something else"
    assert len(cloud.requests) == 1
