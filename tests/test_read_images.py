import os
from pathlib import Path

import pytest
from apache_beam import Create, FlatMap, Map, Pipeline
from apache_beam.testing.util import assert_that, equal_to

from transforms.failures import Failure
from transforms.read_images import ReadImages, read_image, with_content
from transforms.records import Chunk, FetchedImage, ListedImage, Slot
from transforms.storage import Content, canonical_uri

MB = 1_000_000


def slot_of(path: object, size: int | None = None, modified: int | None = None) -> Slot:
    return Slot("00000-00000", 1, ListedImage(canonical_uri(str(path)), size, modified))


def failure_of(slot: Slot, max_bytes: int = MB) -> Failure:
    fetched = read_image(slot, max_bytes)
    assert fetched.content is None
    assert fetched.failure
    return fetched.failure


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"12345")
    os.utime(path, ns=(0, 7_000))
    return path


def test_bytes_come_with_size_and_time_as_read(image: Path) -> None:
    for slot in (slot_of(image), slot_of(image, 99, 88)):
        assert read_image(slot, MB) == FetchedImage(slot_of(image, 5, 7), b"12345", None)


def test_size_and_time_are_of_one_look_at_the_object() -> None:
    """As listed, where reading does not tell the time; then the next listing finds it unchanged."""
    for slot, size in ((slot_of("gs://b/a.jpg", 99, 88), 99), (slot_of("gs://b/a.jpg"), 5)):
        image = with_content(slot, Content(b"12345", None)).slot.image
        assert (image.byte_size, image.last_modified) == (size, slot.image.last_modified)


def test_time_at_the_epoch_is_a_time(image: Path) -> None:
    os.utime(image, (0, 0))
    assert read_image(slot_of(image), MB).slot.image.last_modified == 0


def test_empty_file_is_empty_and_its_size_known(tmp_path: Path) -> None:
    path = tmp_path / "empty.jpg"
    path.touch()
    os.utime(path, ns=(0, 7_000))
    assert read_image(slot_of(path), MB) == FetchedImage(
        slot_of(path, 0, 7), None, Failure("empty", "read", f"{path} has no bytes")
    )


def test_failed_listing_passes_through_unread(image: Path) -> None:
    failure = Failure("permission_denied", "list", "why")
    slot = Slot("s", 1, ListedImage(str(image), failure=failure))
    assert read_image(slot, MB) == FetchedImage(slot, None, failure)


def test_vanished_file_is_not_found_and_keeps_what_was_listed(tmp_path: Path) -> None:
    slot = slot_of(tmp_path / "gone.jpg", 5, 7)
    assert read_image(slot, MB) == FetchedImage(
        slot,
        None,
        Failure("not_found", "read", f"{tmp_path}/gone.jpg: No such file or directory"),
    )


@pytest.mark.parametrize(
    ("uri", "error", "retryable"),
    [
        ("/", "not_a_file", False),
        ("/dev/zero", "not_a_file", False),
        ("/gone/a.jpg", "not_found", False),
        ("file:///a%00b.jpg", "not_found", False),
        ("gs:///a.jpg", "not_found", False),
        ("http://example.org/a.jpg", "unreadable", True),
        ("hdfs://host/a.jpg", "unreadable", True),
    ],
)
def test_no_line_of_a_manifest_raises(uri: str, error: str, retryable: bool) -> None:
    failure = failure_of(slot_of(uri))
    assert (failure.error, failure.stage, failure.retryable) == (error, "read", retryable)


@pytest.mark.timeout(40)
def test_pipe_named_by_a_manifest_never_waits(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    assert failure_of(slot_of(tmp_path / "pipe.jpg")) == Failure(
        "not_a_file", "read", f"{tmp_path}/pipe.jpg is a named pipe, not a file"
    )


def test_listed_size_above_the_limit_is_not_read_at_all(tmp_path: Path) -> None:
    failure = failure_of(slot_of(tmp_path / "gone.jpg", 1_001), max_bytes=1_000)
    assert failure == Failure(
        "too_many_bytes",
        "read",
        f"{tmp_path}/gone.jpg has 1,001 bytes, more than the limit of 1,000 bytes; "
        "raise --max-bytes to take it",
    )
    assert failure_of(slot_of(tmp_path / "gone.jpg", 1_000), 1_000).error == "not_found"


def test_unlisted_size_above_the_limit_is_a_row(image: Path) -> None:
    assert read_image(slot_of(image), 5).content == b"12345"
    assert failure_of(slot_of(image), 4).error == "too_many_bytes"


def test_transform_reads_every_slot_in_order_of_shards(p: Pipeline, tmp_path: Path) -> None:
    slots = []
    for i in range(200):  # more than are read ahead
        path = tmp_path / f"{i}.jpg"
        path.write_bytes(b"%d" % i)
        slots.append(slot_of(path))
    slots.append(slot_of(tmp_path / "gone.jpg"))
    with p:
        fetched = p | Create([Chunk(slots[i : i + 3]) for i in range(0, 201, 3)]) | ReadImages(MB)
        fetched = fetched | FlatMap(list)
        contents = fetched | Map(lambda image: (image.slot.image.uri, image.content))
        expected = [(slot.image.uri, b"%d" % i) for i, slot in enumerate(slots[:-1])]
        assert_that(contents, equal_to([*expected, (slots[-1].image.uri, None)]))
