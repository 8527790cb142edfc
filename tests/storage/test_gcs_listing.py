"""What is found by name, and listings that lie."""

import json
import re
from collections.abc import Callable
from datetime import datetime, timezone
from functools import partial
from typing import Any
from uuid import uuid4

import pytest

from tests.helpers.gcs_emulator import Proxy, Reply, nothing, page_of_a_proxy, status
from transforms.records import ListedImage
from transforms.storage import gcs as gcs_module
from transforms.storage.gcs import GoogleCloudStorage

MB = 1_000_000

# Google's client drops an answer that it asks for again without closing the connection.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


def found(gcs: GoogleCloudStorage, bucket: Any, source: str) -> list[str]:
    """Names of what is found, without the bucket."""
    prefix = f"gs://{bucket.name}/"
    return [image.uri.removeprefix(prefix) for image in gcs.find(prefix + source)]


def test_object_is_found_with_its_size_and_exact_time(
    gcs: GoogleCloudStorage, bucket: Any, put: Callable[..., str]
) -> None:
    uri = put("a/cat.jpg", b"12345")
    created = bucket.get_blob("a/cat.jpg").time_created
    microseconds = int(created.replace(microsecond=0).timestamp()) * MB + created.microsecond
    assert list(gcs.find(uri)) == [ListedImage(uri, 5, microseconds)]
    assert list(gcs.find(f"gs://{bucket.name}")) == [ListedImage(uri, 5, microseconds)]
    assert abs(datetime.now(timezone.utc) - created).total_seconds() < 60


@pytest.mark.parametrize("source", ["", "/cat.jpg"])
def test_time_is_that_of_the_content_and_not_of_its_metadata(
    gcs: GoogleCloudStorage, cloud: Proxy, bucket: Any, put: Callable[..., str], source: str
) -> None:
    put("cat.jpg")
    before = list(gcs.find(f"gs://{bucket.name}{source}"))

    def touched(reply: Reply) -> Reply:
        body = re.sub(rb'"updated": "\d{4}', b'"updated": "2999', reply.body)
        assert body != reply.body
        return reply._replace(body=body)

    cloud.faults.append(touched)
    assert list(gcs.find(f"gs://{bucket.name}{source}")) == before


def test_object_is_found_with_one_request(
    gcs: GoogleCloudStorage, cloud: Proxy, put: Callable[..., str]
) -> None:
    assert len(list(gcs.find(put("cat.jpg")))) == 1
    assert len(cloud.requests) == 1


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("", ["a.jpg", "dir/b.jpg", "dir/sub/c.jpg", "dir/sub/d.png", "dirt/e.jpg"]),
        ("dir", ["dir/b.jpg", "dir/sub/c.jpg", "dir/sub/d.png"]),
        ("dir/", ["dir/b.jpg", "dir/sub/c.jpg", "dir/sub/d.png"]),
        ("dir/sub", ["dir/sub/c.jpg", "dir/sub/d.png"]),
        ("**", ["a.jpg", "dir/b.jpg", "dir/sub/c.jpg", "dir/sub/d.png", "dirt/e.jpg"]),
        ("*.jpg", ["a.jpg"]),
        ("*/*.jpg", ["dir/b.jpg", "dirt/e.jpg"]),
        ("**/*.jpg", ["a.jpg", "dir/b.jpg", "dir/sub/c.jpg", "dirt/e.jpg"]),
        ("dir/**/?.png", ["dir/sub/d.png"]),
        ("dir/sub/[!c].*", ["dir/sub/d.png"]),
        ("di?", ["dir/b.jpg", "dir/sub/c.jpg", "dir/sub/d.png"]),
        ("di?/", ["dir/b.jpg", "dir/sub/c.jpg", "dir/sub/d.png"]),
        ("nothing", []),
        ("nothing*", []),
    ],
)
def test_find_takes_objects_folders_and_globs(
    gcs: GoogleCloudStorage,
    bucket: Any,
    put: Callable[..., str],
    source: str,
    expected: list[str],
) -> None:
    for name in ("a.jpg", "dir/b.jpg", "dir/sub/c.jpg", "dir/sub/d.png", "dirt/e.jpg"):
        put(name)
    put("dir/marker/", b"")  # what the console makes for an empty folder
    assert found(gcs, bucket, source) == expected


def test_object_named_like_a_glob_wins(
    gcs: GoogleCloudStorage, bucket: Any, put: Callable[..., str]
) -> None:
    put("a[1].jpg")
    put("a1.jpg")
    assert found(gcs, bucket, "a[1].jpg") == ["a[1].jpg"]
    assert found(gcs, bucket, "a[0-9].jpg") == ["a1.jpg"]


def test_every_page_of_a_listing_is_read(
    gcs: GoogleCloudStorage, cloud: Proxy, bucket: Any, put: Callable[..., str]
) -> None:
    for i in range(5):
        put(f"{i}.jpg")
    cloud.page_size = 2
    assert found(gcs, bucket, "") == [f"{i}.jpg" for i in range(5)]
    assert len(cloud.requests) == 3
    assert len(gcs.names(f"gs://{bucket.name}")) == 5


def test_names_are_those_below_the_folder(
    gcs: GoogleCloudStorage, bucket: Any, put: Callable[..., str]
) -> None:
    for name in ("out/b", "out/a/c", "outer/d", "out/"):
        put(name)
    assert gcs.names(f"gs://{bucket.name}/out") == ["a/c", "b"]
    assert gcs.names(f"gs://{bucket.name}/out/") == ["a/c", "b"]
    assert gcs.names(f"gs://{bucket.name}/nothing") == []


@pytest.mark.parametrize(
    "fault", [page_of_a_proxy, nothing, status(200, "of another kind")], ids=lambda f: f.__name__
)
def test_an_answer_that_is_not_of_the_storage_is_no_listing_and_no_upload(
    gcs: GoogleCloudStorage, cloud: Proxy, put: Callable[..., str], bucket: Any, fault: Any
) -> None:
    uri, output = put("a.jpg"), f"gs://{bucket.name}/out"
    for action in (
        partial(gcs.names, f"gs://{bucket.name}"),
        lambda: list(gcs.find(uri)),
        partial(gcs.write, output, "part", b"1"),
        partial(gcs.check_writable, output),
    ):
        expected = action()
        cloud.requests.clear()
        cloud.faults.append(fault)
        assert action() == expected
        assert len(cloud.requests) == 2


def repeated(page: dict[str, Any]) -> dict[str, Any]:
    return page | {"nextPageToken": "again"}


def ever_new(page: dict[str, Any]) -> dict[str, Any]:
    return page | {"nextPageToken": uuid4().hex}


def empty_and_ever_new(page: dict[str, Any]) -> dict[str, Any]:
    return {"nextPageToken": uuid4().hex}


@pytest.mark.parametrize("spoil", [repeated, ever_new, empty_and_ever_new])
def test_a_listing_that_never_ends_is_given_up(
    gcs: GoogleCloudStorage,
    cloud: Proxy,
    put: Callable[..., str],
    bucket: Any,
    monkeypatch: pytest.MonkeyPatch,
    spoil: Callable[[dict[str, Any]], dict[str, Any]],
) -> None:
    monkeypatch.setattr(gcs_module, "_MOST_EMPTY_PAGES", 20)
    put("a.jpg")
    folder = f"gs://{bucket.name}"

    def fault(request: str, reply: Reply) -> Reply:
        body = json.dumps(spoil(json.loads(reply.body))).encode()
        return reply._replace(body=body, length=len(body))

    cloud.lasting_fault = fault
    for action in (lambda: list(gcs.find(folder)), lambda: gcs.names(folder)):
        with pytest.raises(
            OSError, match=f"^{folder}: a listing that repeats itself or never ends"
        ):
            action()
    assert len(cloud.requests) <= 40


@pytest.mark.parametrize("before", range(4))
@pytest.mark.parametrize("circle", [1, 2, 5])
def test_a_listing_that_comes_back_to_a_page_is_given_up_wherever_the_circle_begins(
    gcs: GoogleCloudStorage,
    cloud: Proxy,
    put: Callable[..., str],
    bucket: Any,
    before: int,
    circle: int,
) -> None:
    for number in range(before + circle):
        put(f"{number}.jpg")
    cloud.page_size = 1

    def fault(request: str, reply: Reply) -> Reply:
        page = json.loads(reply.body)
        if "nextPageToken" not in page:
            page["nextPageToken"] = str(before)
        body = json.dumps(page).encode()
        return reply._replace(body=body, length=len(body))

    cloud.lasting_fault = fault
    with pytest.raises(OSError, match="a listing that repeats itself"):
        gcs.names(f"gs://{bucket.name}")
    assert len(cloud.requests) < 4 * (before + circle + 1)
