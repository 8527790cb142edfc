import contextlib
import gc
import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from tests.helpers.gcs_emulator import (
    Proxy,
    Reply,
    cut_off,
    flipped_byte,
    nothing,
    page_of_a_proxy,
    reset,
    status,
    zipped_error,
)
from transforms.failures import ImageError
from transforms.layout import part_name
from transforms.records import ClassifiedImage, ListedImage, Slot, WrittenShard
from transforms.storage import NotReplacedError, gcs_client, retries, storage_for
from transforms.storage import gcs as gcs_module
from transforms.storage.gcs import GoogleCloudStorage
from transforms.write_shards import WriteShard

MB = 1_000_000
ROOT = Path(__file__).parents[2]

# Google's client drops an answer that it asks for again without closing the connection.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


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


def found(gcs: GoogleCloudStorage, bucket: Any, source: str) -> list[str]:
    """Names of what is found, without the bucket."""
    prefix = f"gs://{bucket.name}/"
    return [image.uri.removeprefix(prefix) for image in gcs.find(prefix + source)]


def error_of(action: Callable[[], object]) -> ImageError:
    with pytest.raises(ImageError) as caught:
        action()
    return caught.value


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


@pytest.mark.parametrize("name", ["a b#c?d%41e.jpg", "é ü/☃.jpg", "a&b=c+d;e.jpg", "..jpg", "a//b"])
def test_odd_names_are_found_and_read(
    gcs: GoogleCloudStorage, bucket: Any, put: Callable[..., str], name: str
) -> None:
    uri = put(name, b"content")
    assert found(gcs, bucket, "") == [name]
    assert gcs.read(uri, MB).data == b"content"


def test_reading_is_one_request(
    gcs: GoogleCloudStorage, cloud: Proxy, put: Callable[..., str]
) -> None:
    uris = [put(f"{i}.jpg", bytes(100_000)) for i in range(3)]
    for uri in uris:
        assert gcs.read(uri, MB).data == bytes(100_000)
    assert [request.split("?")[0].split("/")[1] for request in cloud.requests] == ["download"] * 3
    assert all(request.startswith("GET ") for request in cloud.requests)


def test_an_empty_object_has_no_bytes(gcs: GoogleCloudStorage, put: Callable[..., str]) -> None:
    assert gcs.read(put("empty.jpg", b""), MB).data == b""


def test_many_threads_read_through_one_client(
    gcs: GoogleCloudStorage, put: Callable[..., str]
) -> None:
    contents = {put(f"{i}.jpg", bytes([i]) * 1000): bytes([i]) * 1000 for i in range(8)}
    wrong: list[str] = []

    def read(uri: str) -> None:
        if gcs.read(uri, MB).data != contents[uri]:
            wrong.append(uri)

    threads = [threading.Thread(target=read, args=[uri]) for uri in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


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
    monkeypatch.setattr(gcs_module, "_RENEWAL_S", 0.2)
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
    monkeypatch.setattr(gcs_module, "_CALL_S", 0.2)
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
            "--billing-project",
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


def test_limit_on_bytes_holds_for_an_object_of_unknown_size(
    gcs: GoogleCloudStorage, put: Callable[..., str]
) -> None:
    uri = put("large.jpg", bytes(3 * MB))
    assert len(gcs.read(uri, 3 * MB).data) == 3 * MB
    error = error_of(lambda: gcs.read(uri, 3 * MB - 1))
    assert (error.error, str(error)) == (
        "too_many_bytes",
        f"{uri} has more than the limit of 2,999,999 bytes; raise --max-bytes to take it",
    )


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
    monkeypatch.setattr(gcs_module, "_CALL_S", 0.1)
    cloud.lasting_fault = lambda request, reply: fault(reply)
    error = error_of(lambda: gcs.read(uri, MB))
    assert (error.error, str(error)) == ("unreadable", f"{uri}: {why}")
    assert error.at("read").retryable
    assert len(cloud.requests) > 1
    cloud.lasting_fault = None
    assert gcs.read(uri, MB).data == bytes(1000)


@pytest.mark.parametrize("fault", [status(503), cut_off], ids=["503", "cut off"])
def test_passing_fault_is_tried_again(
    gcs: GoogleCloudStorage, cloud: Proxy, put: Callable[..., str], fault: Any
) -> None:
    content = bytes(range(256)) * 1000
    uri = put("a.jpg", content)
    cloud.faults.append(fault)
    assert gcs.read(uri, MB).data == content
    assert len(cloud.requests) == 2


def test_more_faults_than_connections_do_not_stop_the_reading(
    gcs: GoogleCloudStorage,
    cloud: Proxy,
    put: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gcs_client, "CONNECTIONS", 1)
    uri = put("a.jpg")
    read: list[bytes] = []

    def read_all() -> None:
        for fault in (503, 403, 503):
            cloud.faults.append(status(fault))
            with contextlib.suppress(ImageError):
                read.append(gcs.read(uri, MB).data)

    thread = threading.Thread(target=read_all, daemon=True)
    thread.start()
    thread.join(timeout=10)
    assert read == [b"x", b"x"]


def test_open_gives_a_verified_seekable_file_with_one_request(
    gcs: GoogleCloudStorage, cloud: Proxy, put: Callable[..., str]
) -> None:
    uri = put("list.txt", b"first\nsecond\n")
    with gcs.open(uri) as file:
        assert file.readlines() == [b"first\n", b"second\n"]
        file.seek(6)
        assert file.read() == b"second\n"
    assert len(cloud.requests) == 1
    cloud.faults.append(flipped_byte)
    with gcs.open(uri) as file:
        assert file.read() == b"first\nsecond\n"
    assert len(cloud.requests) == 3


def test_opening_what_is_not_there_is_file_not_found(gcs: GoogleCloudStorage, bucket: Any) -> None:
    with pytest.raises(FileNotFoundError, match=r"gone\.txt does not exist"):
        gcs.open(f"gs://{bucket.name}/gone.txt")


@pytest.mark.parametrize("root", ["", "/", "/out", "/out/"])
def test_write_is_one_upload_and_replaces(
    gcs: GoogleCloudStorage, cloud: Proxy, bucket: Any, root: str
) -> None:
    folder = f"gs://{bucket.name}{root}"
    for content in (b"one", bytes(range(256)) * 100):
        cloud.requests.clear()
        gcs.write(folder, "predictions/part.parquet", content)
        assert [request.split("?")[0].split("/")[1] for request in cloud.requests] == ["upload"]
        assert gcs.names(folder) == ["predictions/part.parquet"]
        uri = f"{folder.rstrip('/')}/predictions/part.parquet"
        assert gcs.read(uri, MB).data == content


def test_names_are_those_below_the_folder(
    gcs: GoogleCloudStorage, bucket: Any, put: Callable[..., str]
) -> None:
    for name in ("out/b", "out/a/c", "outer/d", "out/"):
        put(name)
    assert gcs.names(f"gs://{bucket.name}/out") == ["a/c", "b"]
    assert gcs.names(f"gs://{bucket.name}/out/") == ["a/c", "b"]
    assert gcs.names(f"gs://{bucket.name}/nothing") == []


@pytest.mark.parametrize("may_replace", [True, False])
def test_checking_the_output_leaves_nothing(
    gcs: GoogleCloudStorage, cloud: Proxy, bucket: Any, may_replace: bool
) -> None:
    cloud.may_replace = may_replace
    gcs.check_writable(f"gs://{bucket.name}/out")
    assert gcs.names(f"gs://{bucket.name}") == []


def test_an_output_where_nothing_may_be_created_says_so_in_the_words_of_the_storage(
    gcs: GoogleCloudStorage, cloud: Proxy, bucket: Any
) -> None:
    output, said = f"gs://{bucket.name}/out", "ann@example.com lacks storage.objects.create"
    for action in (partial(gcs.check_writable, output), partial(gcs.write, output, "a", b"1")):
        cloud.faults.append(status(403, said))
        with pytest.raises(PermissionError, match=f"Cloud Storage refuses it: 403 {said}; no cred"):
            action()


def test_the_right_to_create_is_enough_to_write(
    gcs: GoogleCloudStorage, cloud: Proxy, bucket: Any
) -> None:
    cloud.may_replace = False
    output = f"gs://{bucket.name}/out"
    gcs.write(output, "part", b"1")
    assert [request.split("?")[0].split("/")[1] for request in cloud.requests] == ["upload"]
    gcs.write(output, "part", b"1")
    with pytest.raises(NotReplacedError, match=r"out/part: Cloud Storage refuses it: 403 ann@ex"):
        gcs.write(output, "part", b"2")
    assert gcs.read(f"{output}/part", MB).data == b"1"


def test_an_upload_whose_answer_is_lost_is_done(
    gcs: GoogleCloudStorage, cloud: Proxy, bucket: Any
) -> None:
    for cloud.may_replace in (True, False):
        cloud.faults.append(reset)
        gcs.write(f"gs://{bucket.name}", f"part-{cloud.may_replace}", b"1")
    assert gcs.names(f"gs://{bucket.name}") == ["part-False", "part-True"]


def test_a_shard_that_is_there_and_may_not_be_replaced_is_written(
    cloud: Proxy, bucket: Any
) -> None:
    cloud.may_replace = False
    write = WriteShard(f"gs://{bucket.name}/out", "r-1", (), "m@1")
    write.start_bundle()
    for width in (1, 2):  # other bytes than those of the first time
        slot = Slot("a", 1, ListedImage("gs://b/a.jpg"))
        image = ClassifiedImage(slot, width, 1, "PNG", (), None)
        assert list(write.process(image)) == [WrittenShard("a", 1)]
    assert storage_for("gs://").names(f"gs://{bucket.name}") == [f"out/{part_name('a', 'r-1')}"]


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


def test_connections_are_used_again(
    gcs: GoogleCloudStorage, cloud: Proxy, put: Callable[..., str]
) -> None:
    uris = [put(f"{i}.jpg", bytes(50_000)) for i in range(5)]
    before = cloud.connections
    for uri in uris:
        gcs.read(uri, MB)
        error_of(partial(gcs.read, f"{uri}.gone", MB))
    assert cloud.connections == before + 1


def test_missing_bucket_is_an_os_error_everywhere(gcs: GoogleCloudStorage, cloud: Proxy) -> None:
    missing = f"gs://missing-{uuid4().hex}"
    actions: list[Callable[[], object]] = [
        lambda: list(gcs.find(missing)),
        lambda: gcs.names(missing),
        lambda: gcs.write(missing, "a", b""),
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
    for name in ("_FIRST_ANSWER_S", "_CALL_S"):
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


def test_credentials_that_are_named_but_missing_are_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "gone.json"))
    with pytest.raises(OSError, match=r"^gs://b: DefaultCredentialsError: File .*gone\.json was"):
        list(GoogleCloudStorage().find("gs://b"))


def test_without_credentials_or_a_metadata_server_the_answer_comes_soon(
    cloud: Proxy, tmp_path: Path
) -> None:
    """No waiting where packets to the metadata server vanish, as on many networks."""
    cloud.faults.append(status(401))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "GCE_METADATA_IP": f"127.0.0.1:{silent.getsockname()[1]}",
            "GCE_METADATA_TIMEOUT": "1",
            "API_ENDPOINT_OVERRIDE": cloud.url,
        }
        code = (
            "from transforms.storage import storage_for\n"
            "try: list(storage_for('gs://b').find('gs://b'))\n"
            "except OSError as error: print(error)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, cwd=ROOT
        )
        silent.settimeout(0)
        silent.accept()[0].close()  # it was asked once
        with pytest.raises(BlockingIOError):
            silent.accept()
    assert done.stdout == (
        "gs://b is not public and no credentials were found: "
        "run `gcloud auth application-default login`\n"
    )
