"""Every kind of fault of a storage: the right bytes come out, or an error, and soon."""

import gzip
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import pytest

from tests.helpers import gcs_emulator as fault
from tests.helpers.gcs_emulator import Proxy, status
from transforms.earlier_rows import is_current
from transforms.failures import ImageError
from transforms.read_images import read_image
from transforms.records import EarlierRow, Slot
from transforms.storage import gcs, gcs_client
from transforms.storage.gcs import GoogleCloudStorage

MB = 1_000_000
Fault = Callable[[fault.Reply], fault.Reply]

pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


class Expected(NamedTuple):
    """One request spoilt in one way: how often it is asked, and the error if none helps."""

    spoil: Fault
    requests: int
    error: str | None


PASSING = (401, 407, 408, 421, 425, 429, 500, 502, 503, 504, 507, 520)
REFUSED = (400, 403, 405, 414, 451)
CSEK = "The target object is encrypted by a customer-supplied encryption key."
REQUESTER_PAYS = "Bucket is a requester pays bucket but no user project provided."
FAULTS = {
    **{f"status {code}": Expected(status(code), 2, None) for code in PASSING},
    **{f"status {code}": Expected(status(code), 1, "permission_denied") for code in REFUSED},
    **{f"status {code}": Expected(status(code), 1, "not_found") for code in (404, 410)},
    "status 403 for a rate": Expected(status(403, "Slow down.", "rateLimitExceeded"), 2, None),
    "status 403 for a quota": Expected(
        status(403, "The project has exceeded its egress bandwidth quota."), 2, None
    ),
    "status 403 for no quota": Expected(
        status(403, "The API requires a quota project, which is not set."), 1, "permission_denied"
    ),
    "a key of the customer's": Expected(status(400, CSEK), 1, "permission_denied"),
    "the reader pays": Expected(status(400, REQUESTER_PAYS), 1, "permission_denied"),
    "reset": Expected(fault.reset, 2, None),
    "reset within the body": Expected(fault.reset_within, 2, None),
    "cut off": Expected(fault.cut_off, 2, None),
    "dribbling": Expected(fault.dribbling, 2, None),
    "chunk cut off": Expected(fault.chunk_cut_off, 2, None),
    "flipped byte": Expected(fault.flipped_byte, 2, None),
    "too short": Expected(fault.too_short, 2, None),
    "too long": Expected(fault.too_long, 2, None),
    "empty": Expected(fault.empty, 2, None),
    "compressed on its way": Expected(fault.zipped, 2, None),
    "page of a proxy": Expected(fault.page_of_a_proxy, 2, None),
    "half without a checksum": Expected(fault.half_unchecked, 2, None),
}


@pytest.fixture
def in_haste(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bodies given up soon."""
    monkeypatch.setattr(gcs_client, "BODY_S", 0.1)


def stored(bucket: Any, count: int) -> dict[str, bytes]:
    """Objects of all sizes, by URI."""
    dice = random.Random(1)
    found = {}
    for number in range(count):
        content = dice.randbytes(dice.choice((50, 1000, 20_000, 100_000)))
        bucket.blob(f"{number}.jpg").upload_from_string(content)
        found[f"gs://{bucket.name}/{number}.jpg"] = content
    return found


def read_all(cloud: Proxy, contents: dict[str, bytes], expected: Expected) -> list[str]:
    """Reads each object with one fault; what went wrong, silent corruption above all."""
    storage_, wrong = GoogleCloudStorage(), []
    for uri, content in contents.items():
        cloud.requests.clear()
        cloud.faults[:] = [expected.spoil]
        try:
            data, error = storage_.read(uri, MB).data, None
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
    monkeypatch.setattr(gcs, "CALL_S", 0)
    monkeypatch.setattr(gcs_client, "BODY_S", 0.3)
    (uri,) = stored(bucket, 1)
    cloud.faults[:] = [fault.dribbling] * 9
    start = time.monotonic()
    with pytest.raises(ImageError) as caught:
        GoogleCloudStorage().read(uri, MB)
    assert time.monotonic() - start < 3
    assert caught.value.error == "unreadable"
    assert "bytes came in more than 0.3 s" in str(caught.value)
    assert caught.value.at("read").retryable


def during(seconds: float, spoil: Fault) -> Callable[[str, fault.Reply], fault.Reply]:
    """A fault of every answer from now on, for a while."""
    end = time.monotonic() + seconds
    return lambda request, reply: spoil(reply) if time.monotonic() < end else reply


STORM = [status(429), status(401), fault.reset, fault.page_of_a_proxy]


@pytest.mark.parametrize("spoil", STORM, ids=["429", "401", "reset", "proxy"])
def test_a_storm_slows_reading_down_and_costs_no_image(
    cloud: Proxy, bucket: Any, monkeypatch: pytest.MonkeyPatch, spoil: Fault
) -> None:
    contents = stored(bucket, 20)
    monkeypatch.setattr(gcs, "CALL_S", 0.3)
    storage_ = GoogleCloudStorage()
    cloud.lasting_fault = during(1.5, spoil)
    start = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        read = list(pool.map(lambda uri: storage_.read(uri, MB).data, contents))
    assert read == list(contents.values())
    assert time.monotonic() - start > 1.4


def test_one_bad_object_among_good_ones_is_given_up_in_its_own_time(
    cloud: Proxy, bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = stored(bucket, 60)
    monkeypatch.setattr(gcs, "CALL_S", 0.3)
    storage_ = GoogleCloudStorage()
    cloud.lasting_fault = lambda request, reply: (
        status(503)(reply) if "/7.jpg" in request else reply
    )
    failed = []

    def read(uri: str) -> None:
        try:
            assert storage_.read(uri, MB).data == contents[uri]
        except ImageError as error:
            failed.append((uri, error.error))

    start = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(read, contents))
    assert failed == [(f"gs://{bucket.name}/7.jpg", "unreadable")]
    assert time.monotonic() - start < 20


def test_writing_and_a_listing_under_way_outlast_a_storm_alone(
    cloud: Proxy, bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored(bucket, 4)
    folder, storage_ = f"gs://{bucket.name}", GoogleCloudStorage()
    for name in ("CALL_S", "FIRST_ANSWER_S"):
        monkeypatch.setattr(gcs, name, 0.1)
    cloud.page_size = 2
    listing = storage_.find(folder)
    next(listing)
    cloud.lasting_fault = during(0.5, status(503))
    assert len(list(listing)) == 3
    cloud.lasting_fault = during(0.5, status(503))
    storage_.write(folder, "part", b"1")
    cloud.lasting_fault = during(10, status(503))
    with pytest.raises(OSError, match="Cloud Storage answers 503"):  # a person waits
        storage_.names(folder)


GZIPPED = gzip.compress(bytes(range(256)) * 100)


@pytest.mark.parametrize(
    ("as_stored", "as_read"),
    [
        (GZIPPED, bytes(range(256)) * 100),
        (b"no gzip, whatever is said of it", b"no gzip, whatever is said of it"),
        (GZIPPED[:-9], GZIPPED[:-9]),  # cut off before it was stored
    ],
    ids=["gzip", "plain", "cut"],
)
def test_an_object_said_to_be_gzip_is_unpacked_if_it_is_and_current_afterwards(
    cloud: Proxy, bucket: Any, as_stored: bytes, as_read: bytes
) -> None:
    bucket.blob("0.jpg").upload_from_string(as_stored)
    uri = f"gs://{bucket.name}/0.jpg"
    (listed,) = GoogleCloudStorage().find(uri)
    cloud.requests.clear()
    cloud.faults[:] = [fault.declared_as_gzip]
    fetched = read_image(Slot("0", 1, listed), MB)
    assert len(cloud.requests) == 1
    assert fetched.content == as_read
    read = fetched.slot.image
    assert read == listed
    row = EarlierRow(uri, "p", True, None, False, read.byte_size, read.last_modified)
    assert is_current(row, listed, retry_all_errors=False)
    cloud.faults[:] = [fault.declared_as_gzip]
    with GoogleCloudStorage().open(uri) as file:
        assert file.read() == as_read
    if as_read != as_stored:
        cloud.faults[:] = [fault.declared_as_gzip]
        with pytest.raises(ImageError, match="more than the limit of 25,599 bytes"):
            GoogleCloudStorage().read(uri, len(as_read) - 1)


def test_an_object_replaced_between_listing_and_reading_is_read_once_and_whole(
    cloud: Proxy, bucket: Any
) -> None:
    (uri,) = stored(bucket, 1)
    (listed,) = GoogleCloudStorage().find(uri)
    bucket.blob("0.jpg").upload_from_string(b"something else")
    cloud.requests.clear()
    assert GoogleCloudStorage().read(listed.uri, MB).data == b"something else"
    assert len(cloud.requests) == 1
