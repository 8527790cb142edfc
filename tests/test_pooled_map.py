import threading
from collections.abc import Callable, Iterator
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.testing.test_pipeline import TestPipeline as Pipeline
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.utils.windowed_value import WindowedValue

from transforms.pooled_map import PooledMap
from transforms.records import Chunk


def outputs(pool: PooledMap[int, Any], elements: range) -> Iterator[Any]:
    """What one bundle of `elements` gives, each in its own chunk."""
    pool.setup()
    pool.start_bundle()
    try:
        for element in elements:
            for chunk in pool.process(Chunk([element])):
                yield from chunk
        for last in pool.finish_bundle():
            assert isinstance(last, WindowedValue)
            yield from last.value
    finally:
        pool.teardown()


def squares(threads: int = 4, ahead: int = 8) -> PooledMap[int, int]:
    def square(element: int) -> int:
        return element * element

    return PooledMap(square, lambda: threads, ahead)


def test_the_order_is_kept_however_long_each_element_takes() -> None:
    done = [threading.Event() for _ in range(50)]

    def even_after_odd(element: int) -> int:
        if element % 2 == 0:
            assert done[element + 1].wait(10)
        done[element].set()
        return element * 10

    pool = PooledMap(even_after_odd, lambda: 4, 6)
    assert list(outputs(pool, range(50))) == [element * 10 for element in range(50)]


@pytest.mark.parametrize("elements", [0, 1, 7, 8, 9, 30])
def test_the_end_of_a_bundle_hands_on_what_is_still_under_way(elements: int) -> None:
    expected = [element * element for element in range(elements)]
    assert list(outputs(squares(), range(elements))) == expected


@pytest.mark.parametrize(("threads", "ahead"), [(1, 0), (2, 1), (3, 4)])
def test_a_chunk_for_each_thread_and_those_ahead_are_under_way_before_the_first_is_handed_on(
    threads: int, ahead: int
) -> None:
    pool, most = squares(threads, ahead), threads + ahead
    pool.setup()
    pool.start_bundle()
    handed_on = [list(pool.process(Chunk([n, n + 1]))) for n in range(10)]
    assert handed_on == [[]] * most + [[[n * n, (n + 1) ** 2]] for n in range(10 - most)]
    pool.teardown()


def test_elements_are_worked_on_at_the_same_time() -> None:
    together = threading.Barrier(4, timeout=10)

    def meet(element: int) -> int:
        together.wait()
        return element

    assert list(outputs(PooledMap(meet, lambda: 4, 4), range(8))) == list(range(8))


def test_the_metric_of_each_item_is_the_microseconds_that_it_took(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = iter([5_000_000, 5_012_999, 7_000_000, 8_000_000])
    monkeypatch.setattr("transforms.pooled_map.time.perf_counter_ns", lambda: next(clock))
    seen: list[tuple[str, list[int]]] = []
    monkeypatch.setattr("transforms.pooled_map.observe", lambda *metric: seen.append(metric))
    pool: PooledMap[int, int] = PooledMap(abs, lambda: 1, 4, metric="read_us")
    pool.setup()
    pool.start_bundle()
    assert list(pool.process(Chunk([0, 1]))) == []
    assert [last.value for last in pool.finish_bundle()] == [[0, 1]]
    pool.teardown()
    assert seen == [("read_us", [12, 1000])]


def fails_at(bad: int) -> Callable[[int], int]:
    def fail(element: int) -> int:
        if element == bad:
            raise ValueError(f"element {bad} is a bug")
        return element

    return fail


@pytest.mark.parametrize("bad", [0, 3, 19])
def test_an_exception_comes_out_after_the_results_before_it(bad: int) -> None:
    seen = []
    with pytest.raises(ValueError, match=f"element {bad} is a bug"):
        for value in outputs(PooledMap(fails_at(bad), lambda: 4, 5), range(20)):
            seen.append(value)
    assert seen == list(range(bad))


def test_a_bundle_after_a_failed_one_has_nothing_of_it() -> None:
    pool = PooledMap(fails_at(2), lambda: 2, 10)
    pool.setup()
    pool.start_bundle()
    for element in range(4):
        assert list(pool.process(Chunk([element]))) == []
    with pytest.raises(ValueError, match="is a bug"):
        list(pool.finish_bundle())
    pool.start_bundle()
    assert list(pool.process(Chunk([7]))) == []
    assert [last.value for last in pool.finish_bundle()] == [[7]]
    pool.teardown()


def test_a_pipeline_gives_every_result_once(p: Pipeline) -> None:
    with p:
        chunks = p | beam.Create([Chunk(range(60)), Chunk(range(60, 100))])
        found = chunks | beam.ParDo(squares()) | beam.FlatMap(list)
        assert_that(found, equal_to([element * element for element in range(100)]))


def test_results_of_the_end_of_a_bundle_can_be_grouped(p: Pipeline) -> None:
    with p:
        found = (
            p
            | beam.Create([Chunk([0, 1]), Chunk([2, 3, 4])])
            | beam.ParDo(squares(ahead=100))
            | beam.FlatMap(list)
            | beam.Map(lambda square: (square % 2, square))
            | beam.GroupByKey()
            | beam.MapTuple(lambda key, values: (key, sorted(values)))
        )
        assert_that(found, equal_to([(0, [0, 4, 16]), (1, [1, 9])]))


def test_an_exception_fails_the_pipeline(p: Pipeline) -> None:
    pool = PooledMap(fails_at(3), lambda: 2, 10)
    with pytest.raises(Exception, match="element 3 is a bug"), p:
        p | beam.Create([Chunk(range(5))]) | beam.ParDo(pool)


def test_chunks_under_way_weigh_no_more_than_they_may_together() -> None:
    pool: PooledMap[int, int] = PooledMap(abs, lambda: 1, 100, lambda weight: weight, 10)
    pool.setup()
    pool.start_bundle()
    chunks = [[4], [3, 1], [2], [1], [10, 20], [1], [9]]
    handed_on = [list(pool.process(Chunk(weights))) for weights in chunks]
    # A single chunk that weighs more goes alone.
    assert handed_on == [[], [], [], [[4]], [[3, 1], [2], [1]], [[10, 20]], []]
    assert [last.value for last in pool.finish_bundle()] == [[1], [9]]
    pool.teardown()
