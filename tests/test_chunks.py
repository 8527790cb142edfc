import pytest

from transforms.chunks import CHUNK_BYTES, CHUNK_IMAGES, chunks
from transforms.records import Chunk, ListedImage, Shard, Slot

LEDGER = "ledger/r-1.jsonl"


def images(*sizes: int | None) -> list[ListedImage]:
    return [ListedImage(f"/{i}.jpg", size) for i, size in enumerate(sizes)]


def lengths(*sizes: int | None) -> list[int]:
    return [len(chunk) for chunk in chunks(Shard("s", images(*sizes)), LEDGER)]


def test_every_image_keeps_its_order_and_knows_its_shard_and_its_size() -> None:
    listed = images(*[1000] * (2 * CHUNK_IMAGES + 1))
    found = list(chunks(Shard("00000-00001", listed), LEDGER))
    assert all(type(chunk) is Chunk for chunk in found)
    slots = [slot for chunk in found for slot in chunk]
    assert slots == [Slot("00000-00001", len(listed), image) for image in listed]


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (0, []),
        (1, [1]),
        (CHUNK_IMAGES, [CHUNK_IMAGES]),
        (CHUNK_IMAGES + 1, [CHUNK_IMAGES, 1]),
    ],
)
def test_small_images_go_in_full_chunks(number: int, expected: list[int]) -> None:
    assert lengths(*[4000] * number) == expected


def test_large_images_go_in_smaller_chunks_or_alone() -> None:
    half, more = CHUNK_BYTES // 2, CHUNK_BYTES + 1
    assert lengths(half, half, half) == [2, 1]
    assert lengths(1, more, 1, 1) == [1, 1, 2]
    assert lengths(more, more) == [1, 1]


def test_images_of_unknown_size_go_alone() -> None:
    assert lengths(None, None, 1, 1) == [1, 1, 2]
