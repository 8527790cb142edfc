from pipeline.planning.hash_sample import DistinctCount, HashSample
from transforms.ledger import uri_hash


def test_distinct_things_are_counted_exactly_up_to_the_limit() -> None:
    counter = DistinctCount(most=1000)
    for _ in range(2):
        for n in range(1000):
            counter.add(uri_hash(str(n)))
    assert counter.is_exact
    assert counter.estimate() == 1000
    counter.add(uri_hash("1000"))
    assert not counter.is_exact


def test_beyond_the_limit_a_known_share_is_kept_with_its_values() -> None:
    sample = HashSample[int](most=4096)
    for n in range(40_000):
        sample.put(uri_hash(str(n)), n)
        assert len(sample.kept) <= 4096
    assert all(digest == uri_hash(str(n)) for digest, n in sample.kept.items())
    assert sample.scaled(1) == 16
    assert abs(sample.scaled(len(sample.kept)) - 40_000) < 0.06 * 40_000
    even = sum(n % 2 == 0 for n in sample.kept.values())
    assert abs(sample.scaled(even) - 20_000) < 0.09 * 20_000


def test_the_last_value_of_a_hash_counts() -> None:
    sample = HashSample[str](most=2)
    for value in ("a", "b"):
        sample.put(1, value)
    assert (sample.kept, sample.is_exact) == ({1: "b"}, True)
