import random

from pipeline.survey import DistinctCount, survey
from transforms.failures import Failure
from transforms.ledger import uri_hash
from transforms.records import ListedImage


def images(count: int) -> list[ListedImage]:
    return [ListedImage(f"gs://b/{n}.jpg", byte_size=10) for n in range(count)]


def test_every_kind_of_input_is_counted() -> None:
    gone = ListedImage("/gone.jpg", failure=Failure("not_found", "list", "gone"))
    listed = [*images(3), ListedImage("gs://b/0.jpg"), ListedImage("/photo.jpg"), gone]
    found = survey(listed, sample=10)
    assert (found.listed, found.distinct, found.duplicates, found.is_exact) == (6, 5, 1, True)
    assert (found.failed, found.sized, found.byte_size, found.on_gcs) == (1, 3, 30, 4)
    assert found.uri_bytes == 4 * len("gs://b/0.jpg") + len("/photo.jpg") + len("/gone.jpg")


def test_the_sample_is_distinct_readable_and_the_same_in_any_order() -> None:
    listed = [*images(200), *images(200)]
    listed.append(ListedImage("gs://b/bad", failure=Failure("not_found", "list", "gone")))
    sample = survey(listed, sample=20).sample
    random.Random(1).shuffle(listed)
    assert survey(listed, sample=20).sample == sample
    assert len({image.uri for image in sample}) == 20
    assert all(image.failure is None for image in sample)
    lowest = sorted(images(200), key=lambda image: uri_hash(image.uri))[:20]
    assert list(sample) == lowest


def test_fewer_images_than_the_sample_are_all_of_it() -> None:
    assert sorted(survey(images(3), sample=20).sample) == images(3)
    assert survey([], sample=20) == (0, 0, True, 0, 0, 0, 0, 0, ())


def test_distinct_images_are_counted_exactly_up_to_the_limit() -> None:
    counter = DistinctCount(most=1000)
    for _ in range(2):
        for n in range(1000):
            counter.add(uri_hash(str(n)))
    assert counter.is_exact
    assert counter.estimate() == 1000


def test_beyond_the_limit_they_are_estimated_in_bounded_memory() -> None:
    found = survey([*images(40_000), *images(20_000)], sample=1, most_hashes=4096)
    assert not found.is_exact
    assert abs(found.distinct - 40_000) < 0.06 * 40_000  # three times 1.2 / sqrt(4096)
    counter = DistinctCount(most=4096)
    for n in range(40_000):
        counter.add(uri_hash(str(n)))
        assert len(counter._kept) <= 4096
