"""What is said of each error, and which reason it becomes."""

import socket
from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from google.auth.credentials import AnonymousCredentials

from tests.helpers.gcs_emulator import Proxy, flipped_byte, page_of_a_proxy, status, zipped_error
from transforms.failures import ImageError
from transforms.storage import gcs as gcs_module
from transforms.storage import retries
from transforms.storage.gcs import GoogleCloudStorage

MB = 1_000_000

# Google's client drops an answer that it asks for again without closing the connection.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


def error_of(action: Callable[[], object]) -> ImageError:
    with pytest.raises(ImageError) as caught:
        action()
    return caught.value


def test_missing_object_is_not_found(
    gcs: GoogleCloudStorage, cloud: Proxy, bucket: Any, put: Callable[..., str]
) -> None:
    uri = f"gs://{bucket.name}/gone.jpg"
    error = error_of(lambda: gcs.read(uri, MB))
    assert (error.error, str(error)) == ("not_found", f"{uri} does not exist")
    assert len(cloud.requests) == 1


@pytest.mark.parametrize("uri", ["gs://", "gs://bucket", "gs:///a.jpg", "gs://-x/a.jpg"])
def test_what_can_be_no_object_is_not_found(gcs: GoogleCloudStorage, uri: str) -> None:
    error = error_of(lambda: gcs.read(uri, MB))
    assert error.error == "not_found"
    assert str(error).startswith(f"{uri} cannot be the name of an object: ")


LOGIN = "no credentials were found: run `gcloud auth application-default login`"


def test_without_credentials_what_stays_unauthorized_is_permission_denied(
    gcs: GoogleCloudStorage,
    cloud: Proxy,
    put: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    uri = put("private.jpg")
    monkeypatch.setattr(gcs_module, "RENEWAL_S", 0.2)
    cloud.lasting_fault = lambda request, reply: status(401)(reply)
    for _ in range(2):
        error = error_of(lambda: gcs.read(uri, MB))
        assert (error.error, str(error)) == (
            "permission_denied",
            f"{uri} is not public and {LOGIN}",
        )
        tries = len(cloud.requests)
        cloud.requests.clear()
    assert tries == 1  # the others need not be waited for


def test_with_credentials_what_is_unauthorized_may_be_tried_again(
    gcs: GoogleCloudStorage,
    cloud: Proxy,
    put: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    uri = put("a.jpg")
    monkeypatch.setattr(gcs_module, "CALL_S", 0.2)
    monkeypatch.setattr(AnonymousCredentials, "refresh", lambda *_: None)
    cloud.lasting_fault = lambda request, reply: status(401, "Invalid Credentials")(reply)
    error = error_of(lambda: gcs.read(uri, MB))
    assert (error.error, str(error)) == (
        "unreadable",
        f"{uri}: Cloud Storage answers 401 Invalid Credentials",
    )
    cloud.lasting_fault = None
    assert gcs.read(uri, MB).data == b"x"


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (
            status(403, "ann@example.com does not have storage.objects.get access"),
            ": Cloud Storage refuses it: 403 ann@example.com does not have storage.objects.get "
            f"access; {LOGIN}",
        ),
        (status(403), f": Cloud Storage refuses it: 403 Forbidden; {LOGIN}"),
        (zipped_error, f": Cloud Storage refuses it: 403 Access denied.; {LOGIN}"),
        (
            status(400, "The target object is encrypted by a customer-supplied encryption key."),
            " is encrypted with a key that only its owner has (CSEK): Cloud Storage gives it to "
            "nobody without that key",
        ),
        (
            status(400, "Bucket is a requester pays bucket but no user project provided."),
            " is in a bucket where the reader pays: name the project that pays with "
            "--billing-project or in GOOGLE_CLOUD_QUOTA_PROJECT",
        ),
    ],
    ids=["role", "no words", "compressed words", "key", "payer"],
)
def test_refused_object_is_permission_denied_in_the_words_of_the_storage(
    gcs: GoogleCloudStorage, cloud: Proxy, put: Callable[..., str], fault: Any, why: str
) -> None:
    uri = put("private.jpg")
    cloud.faults.append(fault)
    error = error_of(lambda: gcs.read(uri, MB))
    assert (error.error, str(error)) == ("permission_denied", uri + why)
    assert len(cloud.requests) == 1


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (flipped_byte, "other bytes came than those stored: their checksum differs"),
        (
            page_of_a_proxy,
            "52 bytes of text/html came without the checksum that Cloud Storage sends; a proxy "
            "may have given it",
        ),
        (status(503), "Cloud Storage answers 503 Service Unavailable"),
        (status(503, "Backend error"), "Cloud Storage answers 503 Backend error"),
    ],
    ids=["flipped byte", "proxy", "503", "503 with words"],
)
def test_lasting_fault_is_unreadable_and_says_what_came(
    gcs: GoogleCloudStorage,
    cloud: Proxy,
    put: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    fault: Any,
    why: str,
) -> None:
    uri = put("a.jpg", bytes(1000))
    monkeypatch.setattr(gcs_module, "CALL_S", 0.1)
    cloud.lasting_fault = lambda request, reply: fault(reply)
    error = error_of(lambda: gcs.read(uri, MB))
    assert (error.error, str(error)) == ("unreadable", f"{uri}: {why}")
    assert error.at("read").retryable
    assert len(cloud.requests) > 1
    cloud.lasting_fault = None
    assert gcs.read(uri, MB).data == bytes(1000)


def test_an_output_where_nothing_may_be_created_says_so_in_the_words_of_the_storage(
    gcs: GoogleCloudStorage, cloud: Proxy, bucket: Any
) -> None:
    output, said = f"gs://{bucket.name}/out", "ann@example.com lacks storage.objects.create"
    for action in (partial(gcs.check_writable, output), partial(gcs.write, output, "a", b"1")):
        cloud.faults.append(status(403, said))
        with pytest.raises(PermissionError, match=f"Cloud Storage refuses it: 403 {said}; no cred"):
            action()


def test_missing_bucket_is_an_os_error_everywhere(gcs: GoogleCloudStorage, cloud: Proxy) -> None:
    missing = f"gs://missing-{uuid4().hex}"
    actions: list[Callable[[], object]] = [
        lambda: list(gcs.find(missing)),
        lambda: gcs.names(missing),
        lambda: gcs.write(missing, "a", b""),
        lambda: gcs.create(missing, "a", b""),
        lambda: gcs.check_writable(missing),
        lambda: gcs.open(f"{missing}/a"),
    ]
    for action in actions:
        with pytest.raises(FileNotFoundError, match=f"{missing}.* does not exist"):
            action()


def test_refused_bucket_is_an_os_error_with_the_way_out(
    gcs: GoogleCloudStorage, cloud: Proxy, bucket: Any
) -> None:
    cloud.faults.append(status(401))
    with pytest.raises(OSError, match="run `gcloud auth application-default login`"):
        list(gcs.find(f"gs://{bucket.name}"))


def test_a_storage_that_cannot_be_reached_is_one_line_with_the_cause_and_the_way_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = closed.getsockname()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{address[1]}")
    for name in ("FIRST_ANSWER_S", "CALL_S"):
        monkeypatch.setattr(gcs_module, name, 0.1)
    monkeypatch.setattr(retries, "shared", retries.Retries(delays_s=(0.01, 0.01)))
    message = (
        "gs://b/a.jpg: Cloud Storage cannot be reached (Connection refused); check the network, "
        "and if the bucket is not public run `gcloud auth application-default login`"
    )
    with pytest.raises(OSError) as listing:
        list(GoogleCloudStorage().find("gs://b/a.jpg"))
    assert str(listing.value) == message
    with pytest.raises(ImageError) as reading:
        GoogleCloudStorage().read("gs://b/a.jpg", MB)
    assert (reading.value.error, str(reading.value)) == ("unreadable", message)
