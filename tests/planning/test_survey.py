"""Counts of a survey beside those of the run's own cutting into shards."""

import random
from collections.abc import Sequence

import pytest

from pipeline.planning.survey import EarlierRows, Survey, survey
from transforms.cut_shards import cut_bucket
from transforms.failures import Failure
from transforms.ledger import uri_hash
from transforms.records import EarlierRow, ListedImage, Mentions

GONE = Failure("not_found", "list", "gone")


def images(count: int) -> list[ListedImage]:
    return [ListedImage(f"gs://b/{n}.jpg", byte_size=10) for n in range(count)]


def members(tar: str, count: int) -> list[ListedImage]:
    return [ListedImage(f"gs://b/{tar}.tar::{n}.jpg", 10, 7) for n in range(count)]


def row(uri: str, part: str = "p/1", **changes: object) -> EarlierRow:
    plain = EarlierRow(uri, part, True, None, False, 10, 7)
    return plain._replace(**changes)  # type: ignore[arg-type]  # named as its fields


def surveyed(
    listed: Sequence[ListedImage], rows: Sequence[EarlierRow] = (), retry_all_errors: bool = False
) -> Survey:
    return survey(listed, 10, EarlierRows(rows, retry_all_errors))


def test_every_uri_is_counted_once() -> None:
    gone = ListedImage("/gone.jpg", failure=GONE)
    found = surveyed([*images(3), ListedImage("gs://b/0.jpg"), ListedImage("/photo.jpg"), gone])
    assert (found.listed, found.distinct, found.failed, found.due) == (6, 5, 1, 5)
    assert (found.alone, found.in_tars, found.objects) == (4, 0, 4)
    assert found.mean_bytes == 10.0


def test_nothing_listed_is_nothing_to_do() -> None:
    found = surveyed([])
    assert (found.listed, found.distinct, found.due, found.skipped) == (0, 0, 0, 0)
    assert (found.mean_bytes, found.sample) == (None, ())


def test_the_sample_is_distinct_readable_and_the_same_in_any_order() -> None:
    listed = [*images(200), *images(200)]
    listed.append(ListedImage("gs://b/bad", failure=GONE))
    sample = survey(listed, 20, EarlierRows()).sample
    random.Random(1).shuffle(listed)
    assert survey(listed, 20, EarlierRows()).sample == sample
    assert list(sample) == sorted(images(200), key=lambda image: uri_hash(image.uri))[:20]


def test_fewer_images_than_the_sample_are_all_of_it() -> None:
    assert sorted(survey(images(3), 20, EarlierRows()).sample) == images(3)


def test_tars_are_counted_by_what_is_fetched_of_them() -> None:
    found = surveyed(
        [
            *members("1", 3),
            *members("2", 1),
            ListedImage("gs://b/2.tar::link.jpg", failure=GONE),
            ListedImage("gs://b/2.tar", 4096, failure=GONE),  # which breaks there
            ListedImage("gs://b/1.tar::0.jpg"),  # a manifest names it again
            ListedImage("gs://b/3.tar::0.jpg"),  # of this only a manifest does
            ListedImage("gs://b/4.tar", failure=GONE),
            ListedImage("gs://b/5.tar::link.jpg", failure=GONE),
            *images(2),
        ]
    )
    assert (found.listed, found.distinct, found.failed) == (12, 11, 4)
    assert (found.alone, found.in_tars) == (2, 5)
    assert (found.tars_listed, found.tars_read) == (4, 3)  # 1, 2, 4, 5; 1, 2, 3
    assert found.objects == 2 + 4


def test_what_is_skipped_is_not_read() -> None:
    done = [*images(3), *members("1", 4), *members("2", 1)]
    rows = [row(image.uri, last_modified=image.last_modified) for image in done]
    found = surveyed([*images(5), *members("1", 4), *members("2", 3)], rows)
    assert (found.distinct, found.skipped, found.due) == (12, 8, 4)
    assert (found.alone, found.in_tars) == (2, 2)
    assert (found.tars_listed, found.tars_read) == (2, 1)


def test_only_current_rows_of_what_is_listed_count() -> None:
    rows = [row("/a"), row("/b"), row("/gone"), row("/old", byte_size=9)]
    listed = [ListedImage(uri, 10, 7) for uri in ("/a", "/b", "/old", "/new")]
    assert surveyed([*listed, ListedImage("/a")], rows).skipped == 2


def test_the_latest_row_counts_in_whichever_order_they_come() -> None:
    rows = [row("/a", "p/1"), row("/a", "p/2", is_same_model=False), row("/b", "p/2")]
    rows += [row("/b", "p/1", is_same_model=False)]
    listed = [ListedImage("/a", 10, 7), ListedImage("/b", 10, 7)]
    for order in (rows, rows[::-1]):
        assert surveyed(listed, order).skipped == 1


def test_the_record_that_knows_more_counts_in_whichever_order_they_come() -> None:
    listed = [ListedImage("/a"), ListedImage("/a", 11, 7)]
    for order in (listed, listed[::-1]):
        assert surveyed(order, [row("/a")]).skipped == 0
    assert surveyed(listed[:1], [row("/a")]).skipped == 1


@pytest.mark.parametrize("retry_all_errors", [False, True])
def test_skipped_and_due_are_those_of_the_run(retry_all_errors: bool) -> None:
    dice = random.Random(7)
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
    listed = [
        ListedImage(dice.choice(uris), dice.choice([None, 10, 10, 10]), dice.choice([None, 7]))
        for _ in range(1500)
    ]
    listed += [ListedImage(dice.choice(uris), failure=GONE) for _ in range(50)]
    bucket = cut_bucket(0, [Mentions(listed, rows)], 100, retry_all_errors)
    found = surveyed(listed, rows, retry_all_errors)
    assert found.skipped == sum(line.images for line in bucket.lines if line.kind == "part") > 100
    assert found.due == sum(len(shard.images) for shard in bucket.shards) > 100
