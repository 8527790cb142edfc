import random
from collections.abc import Iterator

import pytest
from apache_beam import Create, FlatMap, Map, Pipeline
from apache_beam.coders.typecoders import registry
from apache_beam.testing.util import assert_that
from hypothesis import given
from hypothesis import strategies as st

from transforms.cut_shards import (
    CutShards,
    bucket_of,
    count_buckets,
    cut_bucket,
    slots,
    uri_digest,
)
from transforms.failures import Failure
from transforms.records import ListedImage, Shard, Slot

FAILURE = Failure("not_found", "list", "a dangling link")


def images(*uris: str) -> list[ListedImage]:
    return [ListedImage(uri) for uri in uris]


def test_bucket_is_cut_exactly_in_the_order_of_uris() -> None:
    assert list(cut_bucket((3, images("e", "b", "a", "d", "c")), 2)) == [
        Shard("00003-00000", images("a", "b"), 0),
        Shard("00003-00001", images("c", "d"), 0),
        Shard("00003-00002", images("e"), 0),
    ]
    assert list(cut_bucket((0, images("a", "b")), 2)) == [Shard("00000-00000", images("a", "b"), 0)]


def test_duplicates_are_counted_once_and_in_one_shard() -> None:
    assert list(cut_bucket((0, images("a", "c", "a", "b", "a")), 2)) == [
        Shard("00000-00000", images("a", "b"), 2),
        Shard("00000-00001", images("c"), 0),
    ]


def test_of_duplicates_the_one_that_knows_most_is_kept_in_any_order() -> None:
    plain, failed = ListedImage("a"), ListedImage("a", failure=FAILURE)
    seen = ListedImage("a", 0, 7)
    for listed, kept in (
        ([plain, failed], failed),
        ([failed, plain], failed),
        ([plain, seen, failed], seen),
        ([seen, plain], seen),
        ([failed, seen], seen),
    ):
        (shard,) = cut_bucket((0, listed), 10)
        assert shard.images == [kept]


@given(st.lists(st.text(max_size=3), max_size=60), st.integers(1, 7))
def test_every_uri_is_in_one_shard_whatever_the_order(uris: list[str], size: int) -> None:
    shards = list(cut_bucket((0, images(*uris)), size))
    shuffled = random.Random(0).sample(uris, len(uris))
    assert list(cut_bucket((0, images(*shuffled)), size)) == shards
    assert [i.uri for shard in shards for i in shard.images] == sorted(set(uris))
    assert all(len(shard.images) == size for shard in shards[:-1])
    assert sum(shard.duplicates for shard in shards) == len(uris) - len(set(uris))


def test_bucket_of_a_uri_is_the_same_on_every_machine() -> None:
    assert [bucket_of("gs://bucket/é.jpg", n) for n in (1, 7, 1000)] == [0, 4, 235]


@pytest.mark.parametrize(
    ("listed", "shard_size", "buckets"),
    [(0, 4096, 1), (1, 1, 1), (262_144, 4096, 1), (1_000_000, 4096, 4), (640, 1, 10)],
)
def test_a_bucket_holds_about_64_shards(listed: int, shard_size: int, buckets: int) -> None:
    assert count_buckets(listed, shard_size) == buckets


def test_digest_is_that_of_the_set_of_uris() -> None:
    assert uri_digest([]) == 0
    assert uri_digest(["a", "b", "c"]) == uri_digest(iter("cab"))
    assert uri_digest(["a", "b"]) != uri_digest(["a", "c"])
    assert uri_digest(["a"]) == 4681665781835383343  # of `b2sum -l 64`
    assert 0 <= uri_digest(map(str, range(1000))) < 2**64


def test_slots_know_their_shard_and_its_size() -> None:
    shard = Shard("00000-00001", images("a", "b"), 0)
    assert list(slots(shard)) == [Slot("00000-00001", 2, image) for image in shard.images]


def test_shards_and_images_survive_their_coders() -> None:
    listed = [
        ListedImage("gs://b/é\u2028.jpg", 2**40, -7),
        ListedImage("file:///%FF.jpg", 0, 0),
        ListedImage("/a", failure=FAILURE),
    ]
    coder = registry.get_coder(Shard)
    shard = Shard("00000-00000", listed, 3)
    decoded = coder.decode(coder.encode(shard))
    assert decoded == shard
    assert decoded.images[2].failure.retryable is False


def test_transform_cuts_what_was_listed_once(p: Pipeline) -> None:
    uris = [f"/data/{i:03}.jpg" for i in range(300)]
    again = uris[::3]

    def check(shards: list[Shard]) -> None:
        found = [image.uri for shard in shards for image in shard.images]
        assert sorted(found) == uris
        assert sum(shard.duplicates for shard in shards) == 100
        assert len({shard.name for shard in shards}) == len(shards)
        # 400 were named, so 3 buckets of about 64 shards of 2.
        assert {shard.name.split("-")[0] for shard in shards} == {"00000", "00001", "00002"}
        for shard in shards:
            assert {bucket_of(image.uri, 3) for image in shard.images} == {int(shard.name[:5])}
        odd = [shard for shard in shards if len(shard.images) != 2]
        assert len({shard.name[:5] for shard in odd}) == len(odd)  # only the last of a bucket

    with p:
        listed = p | Create(uris + again) | Map(ListedImage).with_output_types(ListedImage)
        assert_that(listed | CutShards(2), check)


def test_failures_of_the_listing_cross_the_shuffle(p: Pipeline) -> None:
    listed = [ListedImage("/a", failure=FAILURE), ListedImage("/b", 5, 7)]

    def check(shards: list[Shard]) -> None:
        assert shards == [Shard("00000-00000", listed, 0)]

    with p:
        elements = p | Create(listed).with_output_types(ListedImage)
        assert_that(elements | CutShards(10), check)


CALLS: list[int] = []


def list_once(source: int) -> Iterator[ListedImage]:
    CALLS.append(source)
    yield from images("/a", "/b")


def test_what_lists_runs_once_although_it_is_counted_first(p: Pipeline) -> None:
    CALLS.clear()
    with p:
        listed = p | Create([1]) | FlatMap(list_once).with_output_types(ListedImage)
        _ = listed | CutShards(10)
    assert CALLS == [1]


def test_nothing_listed_is_no_shard(p: Pipeline) -> None:
    def check(shards: list[Shard]) -> None:
        assert shards == []

    def nothing(_: int) -> Iterator[ListedImage]:
        yield from ()

    with p:
        listed = p | Create([0]) | FlatMap(nothing).with_output_types(ListedImage)
        assert_that(listed | CutShards(10), check)
