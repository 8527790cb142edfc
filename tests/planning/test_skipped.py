"""What a plan says is skipped is what a run skips."""

import random
from collections.abc import Sequence

import pytest

from pipeline.planning.skipped import EarlierRows, Skipped
from transforms.cut_shards import cut_bucket
from transforms.failures import Failure
from transforms.ledger import uri_hash
from transforms.records import EarlierRow, ListedImage, Mentions


def seen(
    rows: Sequence[EarlierRow],
    images: Sequence[ListedImage],
    retry_all_errors: bool = False,
    most: int = 1000,
) -> Skipped:
    earlier = EarlierRows(rows, retry_all_errors, most)
    for image in images:
        earlier.see(uri_hash(image.uri), image)
    return earlier.skipped()


def row(uri: str, part: str = "p/1", **changes: object) -> EarlierRow:
    plain = EarlierRow(uri, part, True, None, False, 10, 7)
    return plain._replace(**changes)  # type: ignore[arg-type]  # named as its fields


def test_images_with_a_current_row_are_counted_once_each() -> None:
    rows = [row("/a"), row("/b"), row("/gone"), row("/t.tar::a.jpg"), row("/old", byte_size=9)]
    images = [ListedImage(uri, 10, 7) for uri in ("/a", "/b", "/t.tar::a.jpg", "/old", "/new")]
    images.append(ListedImage("/a"))
    assert seen(rows, images) == Skipped(images=3, members=1, is_exact=True)
    assert seen([], images) == Skipped(0, 0, True)


def test_the_latest_row_counts_in_whichever_order_they_come() -> None:
    rows = [row("/a", "p/1"), row("/a", "p/2", is_same_model=False), row("/b", "p/2")]
    rows += [row("/b", "p/1", is_same_model=False)]
    images = [ListedImage("/a", 10, 7), ListedImage("/b", 10, 7)]
    for order in (rows, rows[::-1]):
        assert seen(order, images).images == 1


def test_the_record_that_knows_more_counts_in_whichever_order_they_come() -> None:
    images = [ListedImage("/a"), ListedImage("/a", 11, 7)]
    for order in (images, images[::-1]):
        assert seen([row("/a")], order).images == 0
    assert seen([row("/a")], images[:1]).images == 1


@pytest.mark.parametrize("retry_all_errors", [False, True])
def test_the_count_is_that_of_the_run(retry_all_errors: bool) -> None:
    dice = random.Random(7)
    failure = Failure("not_found", "list", "gone")
    uris = [f"/{n}.jpg" for n in range(500)] + [f"/t.tar::{n}.jpg" for n in range(500)]
    rows = [
        EarlierRow(
            dice.choice(uris),
            f"p/{dice.randrange(3)}",
            dice.random() < 0.8,
            dice.choice([None, None, None, "corrupt", "not_found"]),
            dice.random() < 0.2,
            dice.choice([None, 10, 11]),
            dice.choice([None, 7, 8]),
        )
        for _ in range(2000)
    ]
    images = [
        ListedImage(dice.choice(uris), dice.choice([None, 10, 10, 10]), dice.choice([None, 7]))
        for _ in range(1500)
    ]
    images += [ListedImage(dice.choice(uris), failure=failure) for _ in range(50)]
    bucket = cut_bucket(0, [Mentions(images, rows)], 100, retry_all_errors)
    skipped = sum(line.images for line in bucket.lines if line.kind == "part")
    assert skipped > 100
    assert seen(rows, images, retry_all_errors).images == skipped


def test_of_many_rows_a_share_is_kept_and_what_is_skipped_estimated() -> None:
    rows = [row(f"/{n}") for n in range(40_000)]
    images = [ListedImage(f"/{n}", 10, 7) for n in range(20_000, 60_000)]
    earlier = EarlierRows(rows, False, most=4096)
    for image in images:
        earlier.see(uri_hash(image.uri), image)
        assert len(earlier._listed) <= 4096
    found = earlier.skipped()
    assert not found.is_exact
    assert abs(found.images - 20_000) < 0.09 * 20_000
