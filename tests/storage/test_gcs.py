import contextlib
import gc
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from tests.helpers.gcs_emulator import Proxy, cut_off, flipped_byte, status
from transforms.failures import ImageError
from transforms.records import ListedImage
from transforms.storage import gcs as gcs_module
from transforms.storage.gcs import _RETRY, GoogleCloudStorage

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
    updated = bucket.get_blob("a/cat.jpg").updated
    microseconds = int(updated.replace(microsecond=0).timestamp()) * MB + updated.microsecond
    assert list(gcs.find(uri)) == [ListedImage(uri, 5, microseconds)]
    assert abs(datetime.now(timezone.utc) - updated).total_seconds() < 60


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


@pytest.mark.parametrize("code", [401, 403])
def test_refused_object_is_permission_denied(
    gcs: GoogleCloudStorage, cloud: Proxy, put: Callable[..., str], code: int
) -> None:
    uri = put("private.jpg")
    cloud.faults.append(status(code))
    error = error_of(lambda: gcs.read(uri, MB))
    assert error.error == "permission_denied"
    assert str(error) == (
        f"{uri} is not public and no credentials were found: "
        "run `gcloud auth application-default login`"
    )


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


def test_flipped_byte_is_unreadable_and_not_an_image(
    gcs: GoogleCloudStorage, cloud: Proxy, put: Callable[..., str]
) -> None:
    uri = put("a.jpg", bytes(1000))
    cloud.faults.append(flipped_byte)
    error = error_of(lambda: gcs.read(uri, MB))
    assert error.error == "unreadable"
    assert str(error).startswith(f"{uri}: DataCorruption: Checksum mismatch")
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
    monkeypatch.setattr("transforms.storage.gcs.CONNECTIONS", 1)
    monkeypatch.setattr("transforms.storage.gcs._RETRY", _RETRY.with_delay(0.001, 0.001))
    uri = put("a.jpg")
    read: list[bytes] = []

    def read_all() -> None:
        for fault in (503, 401, 503):
            cloud.faults.append(status(fault))
            with contextlib.suppress(ImageError):
                read.append(gcs.read(uri, MB).data)

    thread = threading.Thread(target=read_all, daemon=True)
    thread.start()
    thread.join(timeout=10)
    assert read == [b"x", b"x"]


def test_lasting_fault_is_unreadable(
    gcs: GoogleCloudStorage,
    cloud: Proxy,
    put: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    uri = put("a.jpg")
    monkeypatch.setattr("transforms.storage.gcs._RETRY", None)
    cloud.faults.append(status(503))
    error = error_of(lambda: gcs.read(uri, MB))
    assert error.error == "unreadable"
    assert str(error).startswith(f"{uri}: ServiceUnavailable: 503 ")


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
    with pytest.raises(OSError, match="DataCorruption"):
        gcs.open(uri)


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


def test_checking_the_output_leaves_nothing(gcs: GoogleCloudStorage, bucket: Any) -> None:
    gcs.check_writable(f"gs://{bucket.name}/out")
    assert gcs.names(f"gs://{bucket.name}") == []


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
    for name in ("_RETRY", "_SHORT_RETRY"):
        monkeypatch.setattr(gcs_module, name, _RETRY.with_delay(0.01, 0.01).with_timeout(0.1))
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
