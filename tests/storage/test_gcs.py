"""Objects read and written, a request each."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.helpers.gcs_emulator import (
    Proxy,
    cut_off,
    flipped_byte,
    not_allowed_to_replace,
    reset,
    status,
)
from tests.helpers.storages import creators
from transforms.failures import ImageError
from transforms.layout import part_name
from transforms.records import Chunk, ClassifiedImage, ListedImage, Slot, WrittenShard
from transforms.storage import NotReplacedError, storage_for
from transforms.storage.gcs import GoogleCloudStorage
from transforms.write_shards import WriteShard

MB = 1_000_000

# Google's client drops an answer that it asks for again without closing the connection.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


def error_of(action: Callable[[], object]) -> ImageError:
    with pytest.raises(ImageError) as caught:
        action()
    return caught.value


@pytest.mark.parametrize("name", ["a b#c?d%41e.jpg", "é ü/☃.jpg", "a&b=c+d;e.jpg", "..jpg", "a//b"])
def test_odd_names_are_found_and_read(
    gcs: GoogleCloudStorage, bucket: Any, put: Callable[..., str], name: str
) -> None:
    uri = put(name, b"content")
    assert [image.uri for image in gcs.find(f"gs://{bucket.name}")] == [uri]
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


@pytest.mark.parametrize("fault", [status(503), cut_off], ids=["503", "cut off"])
def test_passing_fault_is_tried_again(
    gcs: GoogleCloudStorage, cloud: Proxy, put: Callable[..., str], fault: Any
) -> None:
    content = bytes(range(256)) * 1000
    uri = put("a.jpg", content)
    cloud.faults.append(fault)
    assert gcs.read(uri, MB).data == content
    assert len(cloud.requests) == 2


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


def test_of_many_who_create_an_object_one_succeeds(
    gcs: GoogleCloudStorage, cloud: Proxy, bucket: Any
) -> None:
    root = f"gs://{bucket.name}/out"
    (winner,) = creators(gcs, root, "a/claim.json", 8)
    assert bucket.blob("out/a/claim.json").download_as_bytes() == winner
    assert len([request for request in cloud.requests if request.startswith("POST")]) == 8
    with pytest.raises(FileExistsError, match=r"out/a/claim\.json is there already"):
        gcs.create(root, "a/claim.json", winner)
    cloud.faults.append(not_allowed_to_replace)  # as a role that may only create could be told
    with pytest.raises(FileExistsError, match=r"out/a/claim\.json: .*storage\.objects\.delete"):
        gcs.create(root, "a/claim.json", b"another")


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


@pytest.mark.parametrize("may_replace", [True, False])
def test_checking_the_output_leaves_nothing(
    gcs: GoogleCloudStorage, cloud: Proxy, bucket: Any, may_replace: bool
) -> None:
    cloud.may_replace = may_replace
    gcs.check_writable(f"gs://{bucket.name}/out")
    assert gcs.names(f"gs://{bucket.name}") == []


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
        assert list(write.process(Chunk([image]))) == [WrittenShard("a", 1)]
    assert storage_for("gs://").names(f"gs://{bucket.name}") == [f"out/{part_name('a', 'r-1')}"]
