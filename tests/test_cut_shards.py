import random
from collections.abc import Iterable, Iterator

import pytest
from apache_beam import Create, FlatMap, Map, Pipeline
from apache_beam.coders.typecoders import registry
from apache_beam.pvalue import PCollection
from apache_beam.testing.util import assert_that
from hypothesis import given
from hypothesis import strategies as st

from transforms.cut_shards import (
    Bucket,
    CutShards,
    bucket_of,
    count_buckets,
    cut_bucket,
)
from transforms.failures import Failure
from transforms.ledger import LedgerLine, uri_digest
from transforms.records import EarlierRow, ListedImage, Mentions, Shard

FAILURE = Failure("not_found", "list", "a dangling link")


def images(*uris: str) -> list[ListedImage]:
    return [ListedImage(uri) for uri in uris]


def row(uri: str, part: str = "r-1/p", is_same_model: bool = True) -> EarlierRow:
    return EarlierRow(uri, part, is_same_model, None, False, None, None)


def cut(
    listed: Iterable[ListedImage], size: int, earlier: Iterable[EarlierRow] = (), number: int = 0
) -> Bucket:
    mentions = [Mentions(listed=[image]) for image in listed]
    mentions += [Mentions(earlier=[each]) for each in earlier]
    random.Random(1).shuffle(mentions)  # as a shuffle leaves them
    return cut_bucket(number, mentions, size, retry_all_errors=False)


def lines(bucket: Bucket, kind: str) -> list[LedgerLine]:
    return [line for line in bucket.lines if line.kind == kind]


def test_bucket_is_cut_exactly_in_the_order_of_uris() -> None:
    bucket = cut(images("e", "b", "a", "d", "c"), 2, number=3)
    assert bucket.shards == [
        Shard("00003-00000", images("a", "b")),
        Shard("00003-00001", images("c", "d")),
        Shard("00003-00002", images("e")),
    ]
    assert bucket.lines == [
        LedgerLine("bucket", "00003", 5, 0, uri_digest("abcde")),
        LedgerLine("shard", "00003-00000", 2, 0, uri_digest("ab")),
        LedgerLine("shard", "00003-00001", 2, 0, uri_digest("cd")),
        LedgerLine("shard", "00003-00002", 1, 0, uri_digest("e")),
    ]


def test_duplicates_are_counted_once() -> None:
    bucket = cut(images("a", "c", "a", "b", "a"), 2)
    assert [shard.images for shard in bucket.shards] == [images("a", "b"), images("c")]
    assert lines(bucket, "bucket") == [LedgerLine("bucket", "00000", 3, 2, uri_digest("abc"))]


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
        (shard,) = cut(listed, 10).shards
        assert shard.images == [kept]


def test_images_with_a_current_row_are_skipped_and_accounted_to_its_file() -> None:
    rows = [row("a", "p1"), row("c", "p2"), row("d", "p2"), row("e", is_same_model=False)]
    bucket = cut(images("a", "b", "c", "d", "e"), 2, rows)
    assert [shard.images for shard in bucket.shards] == [images("b", "e")]
    assert lines(bucket, "part") == [
        LedgerLine("part", "p1", 1, 0, uri_digest("a")),
        LedgerLine("part", "p2", 2, 0, uri_digest("cd")),
    ]


def test_the_latest_row_of_an_image_decides() -> None:
    old, new = row("a", "run_id=r-1/p"), row("a", "run_id=r-2/p", is_same_model=False)
    for rows in ([old, new], [new, old]):
        assert len(cut(images("a"), 2, rows).shards) == 1
        assert cut(images("a"), 2, [r._replace(is_same_model=True) for r in rows]).shards == []


def test_rows_of_images_that_are_no_longer_listed_change_nothing() -> None:
    assert cut(images("a"), 2, [row("b")]) == cut(images("a"), 2)
    assert cut([], 2, [row("b")]) == Bucket([], [])


@given(
    st.lists(st.text(max_size=3), max_size=60),
    st.sets(st.text(max_size=3), max_size=30),
    st.integers(1, 7),
)
def test_every_uri_is_in_one_shard_or_skipped_whatever_the_order(
    uris: list[str], done: set[str], size: int
) -> None:
    bucket = cut(images(*uris), size, map(row, done))
    shuffled = random.Random(0).sample(uris, len(uris))
    assert cut(images(*shuffled), size, map(row, done)) == bucket
    due = sorted(set(uris) - done)
    assert [i.uri for shard in bucket.shards for i in shard.images] == due
    assert all(len(shard.images) == size for shard in bucket.shards[:-1])
    assert sum(line.images for line in lines(bucket, "part")) == len(set(uris) & done)
    assert sum(line.duplicates for line in bucket.lines) == len(uris) - len(set(uris))


def test_bucket_of_a_uri_is_the_same_on_every_machine() -> None:
    assert [bucket_of("gs://bucket/é.jpg", n) for n in (1, 7, 1000)] == [0, 4, 235]


@pytest.mark.parametrize(
    ("listed", "shard_size", "buckets"),
    [(0, 4096, 1), (1, 1, 1), (262_144, 4096, 1), (1_000_000, 4096, 4), (640, 1, 10)],
)
def test_a_bucket_holds_about_64_shards(listed: int, shard_size: int, buckets: int) -> None:
    assert count_buckets(listed, shard_size) == buckets


def test_shards_and_images_survive_their_coders() -> None:
    listed = [
        ListedImage("gs://b/é\u2028.jpg", 2**40, -7),
        ListedImage("file:///%FF.jpg", 0, 0),
        ListedImage("/a", failure=FAILURE),
    ]
    coder = registry.get_coder(Shard)
    shard = Shard("00000-00000", listed)
    decoded = coder.decode(coder.encode(shard))
    assert decoded == shard
    assert decoded.images[2].failure.retryable is False


def test_both_sides_of_the_join_survive_their_coder() -> None:
    earlier = EarlierRow("/a", "p", True, "unreadable", True, None, -1)
    coder = registry.get_coder(Mentions)
    mentions = Mentions([ListedImage("/a", failure=FAILURE)], [earlier])
    assert coder.decode(coder.encode(mentions)) == mentions


def shards_of(p: Pipeline, listed: PCollection, size: int) -> PCollection[Bucket]:
    nothing = p | "None" >> Create([]).with_output_types(EarlierRow)
    return listed | CutShards(nothing, size)


def test_transform_cuts_what_was_listed_once(p: Pipeline) -> None:
    uris = [f"/data/{i:03}.jpg" for i in range(300)]
    again = uris[::3]

    def check(buckets: list[Bucket]) -> None:
        shards = [shard for bucket in buckets for shard in bucket.shards]
        found = [image.uri for shard in shards for image in shard.images]
        assert sorted(found) == uris
        assert sum(line.duplicates for bucket in buckets for line in bucket.lines) == 100
        assert len({shard.name for shard in shards}) == len(shards)
        # 400 were named, so 3 buckets of about 64 shards of 2.
        assert {shard.name.split("-")[0] for shard in shards} == {"00000", "00001", "00002"}
        for shard in shards:
            assert {bucket_of(image.uri, 3) for image in shard.images} == {int(shard.name[:5])}
        odd = [shard for shard in shards if len(shard.images) != 2]
        assert len({shard.name[:5] for shard in odd}) == len(odd)  # only the last of a bucket

    with p:
        listed = p | Create(uris + again) | Map(ListedImage).with_output_types(ListedImage)
        assert_that(shards_of(p, listed, 2), check)


def test_transform_joins_listing_and_earlier_rows(p: Pipeline) -> None:
    uris = [f"/data/{i:03}.jpg" for i in range(200)]

    def check(buckets: list[Bucket]) -> None:
        due = [i.uri for bucket in buckets for shard in bucket.shards for i in shard.images]
        assert sorted(due) == uris[1::2]
        assert sum(line.images for b in buckets for line in lines(b, "part")) == 100
        assert len(buckets) == 2

    with p:
        listed = p | Create(uris) | Map(ListedImage).with_output_types(ListedImage)
        earlier = p | "Rows" >> Create(uris[::2]) | "Row" >> Map(row).with_output_types(EarlierRow)
        assert_that(listed | CutShards(earlier, 2), check)


def test_failures_of_the_listing_cross_the_shuffle(p: Pipeline) -> None:
    listed = [ListedImage("/a", failure=FAILURE), ListedImage("/b", 5, 7)]

    def check(buckets: list[Bucket]) -> None:
        assert [bucket.shards for bucket in buckets] == [[Shard("00000-00000", listed)]]

    with p:
        elements = p | Create(listed).with_output_types(ListedImage)
        assert_that(shards_of(p, elements, 10), check)


CALLS: list[int] = []


def list_once(source: int) -> Iterator[ListedImage]:
    CALLS.append(source)
    yield from images("/a", "/b")


def test_what_lists_runs_once_although_it_is_counted_first(p: Pipeline) -> None:
    CALLS.clear()
    with p:
        listed = p | Create([1]) | FlatMap(list_once).with_output_types(ListedImage)
        _ = shards_of(p, listed, 10)
    assert CALLS == [1]


def test_nothing_listed_is_no_bucket(p: Pipeline) -> None:
    def check(buckets: list[Bucket]) -> None:
        assert buckets == []

    with p:
        listed = p | Create([]).with_output_types(ListedImage)
        assert_that(shards_of(p, listed, 10), check)
