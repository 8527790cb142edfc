"""GETs of a plan beside those that shards cut by the run would take."""

import random

import pytest

from pipeline.planning.fetches import Fetches, count_objects, fetches_for, tars_to_read
from pipeline.planning.skipped import EarlierRows
from pipeline.planning.survey import survey
from transforms.cut_shards import cut_bucket
from transforms.records import EarlierRow, ListedImage, Mentions


def tars(sizes: list[int]) -> list[ListedImage]:
    return [
        ListedImage(f"gs://b/{number:04}.tar::{member:06}.jpg", 10)
        for number, size in enumerate(sizes)
        for member in range(size)
    ]


def photos(count: int) -> list[ListedImage]:
    return [ListedImage(f"gs://b/a/{n}.jpg", 10) for n in range(count)]


def test_an_image_by_itself_is_one_get() -> None:
    found = fetches_for(survey([*photos(5), *photos(3)], 1), 2, earlier_parts=0)
    assert found == Fetches(5, 0, 0, 0)
    assert (found.gets, found.an_image(5)) == (5, 1.0)


def test_a_tar_is_one_get_to_be_listed_and_one_for_each_shard_with_images_of_it() -> None:
    images = [*photos(5), *tars([12, 12, 12])]
    assert fetches_for(survey(images, 1), 4096, 0) == Fetches(5, 3, 3, 0)
    assert fetches_for(survey(images, 1), 5, 2) == Fetches(5, 3, 3 + 33 // 5 + 1, 2)
    assert fetches_for(survey(images, 1), 1, 0) == Fetches(5, 3, 36, 0)
    assert fetches_for(survey(images, 1), 4096, 0).an_image(41) == 8 / 41


def test_what_is_skipped_is_not_fetched() -> None:
    images = [*photos(4), *tars([10, 10])]
    skipped = [*photos(3), *tars([10, 10])[:10]]
    rows = [EarlierRow(image.uri, "p", True, None, False, 10, None) for image in skipped]
    surveyed = survey(images, 1, earlier=EarlierRows(rows, False))
    assert fetches_for(surveyed, 4096, 1) == Fetches(1, 2, 1, 1)
    rows += [EarlierRow(image.uri, "p", True, None, False, 10, None) for image in images]
    surveyed = survey(images, 1, earlier=EarlierRows(rows, False))
    nothing = fetches_for(surveyed, 4096, 1)
    assert nothing == Fetches(0, 2, 0, 1)
    assert nothing.an_image(0) == 1.0


@pytest.mark.parametrize(("shard_size", "error"), [(100, 0.01), (1000, 0.02)])
def test_tars_are_fetched_as_often_as_shards_of_the_run_hold_some_of_them(
    shard_size: int, error: float
) -> None:
    dice = random.Random(1)
    images = tars([dice.randrange(1, 900) for _ in range(60)])
    bucket = cut_bucket(0, [Mentions(images, [])], shard_size, False)
    fetches = sum(count_objects(shard.images) for shard in bucket.shards)
    assert tars_to_read(len(images), 60, shard_size) == pytest.approx(fetches, rel=error)
