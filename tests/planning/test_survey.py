import random

from pipeline.planning.skipped import EarlierRows, Skipped
from pipeline.planning.survey import Tars, survey
from transforms.failures import Failure
from transforms.ledger import uri_hash
from transforms.records import EarlierRow, ListedImage


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
    assert survey([], sample=20) == (
        *(0, 0, True, 0, 0, 0, 0, 0),
        *(Tars(0, 0, 0), Skipped(0, 0, True), ()),
    )


def test_beyond_the_limit_distinct_images_are_estimated() -> None:
    found = survey([*images(40_000), *images(20_000)], sample=1, most_hashes=4096)
    assert not found.is_exact
    assert abs(found.distinct - 40_000) < 0.06 * 40_000  # three times 1.2 / sqrt(4096)


def test_tars_are_counted_by_what_is_fetched_of_them() -> None:
    gone = Failure("not_found", "list", "gone")
    found = survey(
        [
            *(ListedImage(f"gs://b/1.tar::{n}.jpg", 10) for n in range(3)),
            ListedImage("gs://b/2.tar::0.jpg", 10),
            ListedImage("gs://b/2.tar::link.jpg", failure=gone),
            ListedImage("gs://b/2.tar", 4096, failure=gone),  # which breaks there
            ListedImage("gs://b/1.tar::0.jpg"),  # a manifest names it again
            ListedImage("gs://b/3.tar::0.jpg"),  # of this only a manifest does
            ListedImage("gs://b/4.tar", failure=gone),
            ListedImage("gs://b/5.tar::link.jpg", failure=gone),
            *images(2),
        ],
        sample=10,
    )
    # 1, 2, 4 and 5 are listed; 1, 2 and 3 have images to be read.
    assert found.tars == Tars(members=7, listed=4, read=3)
    assert (found.listed, found.distinct) == (12, 11)
    assert found.objects == 2 + 2 + 4  # two images, two tars as rows of their own, four tars


def test_what_is_current_is_not_due() -> None:
    members = [ListedImage(f"gs://b/1.tar::{n}.jpg", 10) for n in range(4)]
    rows = [
        EarlierRow(image.uri, "p", True, None, False, 10, None)
        for image in (*images(3), *members[:1])
    ]
    found = survey([*images(5), *members], sample=1, earlier=EarlierRows(rows, False))
    assert found.skipped == Skipped(images=4, members=1, is_exact=True)
    assert (found.distinct, found.due, found.due_members) == (9, 5, 3)
