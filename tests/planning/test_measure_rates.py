from pathlib import Path

import pytest

from pipeline.options import NetworkOptions
from pipeline.planning.measure_rates import measure_rates, rate
from tests.helpers.model_fixtures import PHOTOS, TINY_SIZE, TinyModel
from tests.helpers.tar_files import tar_of
from transforms.decode_images import Preprocessing, decode_image
from transforms.decoding.decode_image import Picture
from transforms.models.artifact import Artifact
from transforms.models.resolve import resolve_model
from transforms.read_images import read_image
from transforms.records import FetchedImage, ListedImage, Slot

PREPROCESSING = Preprocessing(TINY_SIZE, "crop", 10**9)


@pytest.fixture(scope="module")
def artifact(tiny_model: TinyModel, caches: dict[str, str]) -> Artifact:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in caches.items():
            patch.setenv(name, value)
        model, labels = str(tiny_model.path), str(tiny_model.labels)
        options = NetworkOptions(model=model, labels=labels, top_k=2, engine="litert")
        return resolve_model(options.model_choice(), say=lambda _: None)


class Clock:
    """Seconds that pass only when a test lets them."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_rate_is_calls_a_second_over_whole_passes() -> None:
    calls: list[int] = []
    found = rate(calls.append, [1, 2, 3], lambda: len(calls) * 0.1)
    assert calls == [1, 2, 3, 1, 2, 3]  # until half a second is over
    assert found == pytest.approx(10)


def test_the_time_of_a_process_that_decodes_apart_counts(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()

    def wait_for_another_process(content: bytes, preprocessing: Preprocessing) -> Picture:
        clock.now += 0.125
        return decode_image(content, preprocessing)

    monkeypatch.setattr("pipeline.planning.measure_rates.decode_image", wait_for_another_process)
    photo = ListedImage(str(PHOTOS / "cat.jpg"))
    assert measure_rates([photo], artifact, PREPROCESSING, 4, 10**9, clock).decode == 8


def test_what_cannot_be_read_or_decoded_is_counted_by_reason_and_not_timed(
    artifact: Artifact, tmp_path: Path
) -> None:
    (tmp_path / "page.jpg").write_text("<html>not a picture</html>")
    photos = [ListedImage(str(path)) for path in sorted(PHOTOS.iterdir())[:3]]
    odd = [ListedImage(str(tmp_path / name)) for name in ("page.jpg", "gone.jpg", "lost.jpg")]
    found = measure_rates([*photos, *odd], artifact, PREPROCESSING, 4, 10**9)
    assert (found.tried, found.decoded) == (6, 3)
    assert found.failures == {"not_found": 2, "not_an_image": 1}
    sizes = [Path(image.uri).stat().st_size for image in photos] + [26]
    assert found.mean_bytes == sum(sizes) / 4
    assert found.decode > 10
    assert found.infer_core is not None
    assert found.infer_core > 10
    assert found.infer_gpu is None
    assert 0 < found.get_seconds < 1


def test_a_sample_without_a_picture_names_the_first_reason(artifact: Artifact) -> None:
    with pytest.raises(ValueError, match=r"none of the 1 images .* /gone.jpg"):
        measure_rates([ListedImage("/gone.jpg")], artifact, PREPROCESSING, 4, 10**9)


def test_a_tar_is_one_get_for_all_its_images(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    photos = sorted(PHOTOS.iterdir())[:4]
    tar = tmp_path / "photos.tar"
    tar.write_bytes(tar_of((path.name, path.read_bytes()) for path in photos))

    clock = Clock()

    def read_slowly(slot: Slot, max_bytes: int) -> FetchedImage:
        clock.now += 0.125
        return read_image(slot, max_bytes)

    monkeypatch.setattr("pipeline.planning.measure_rates.read_image", read_slowly)
    members = [ListedImage(f"{tar}::{path.name}") for path in photos]
    # No image is decoded in no time at all.
    monkeypatch.setattr("pipeline.planning.measure_rates.rate", lambda *_: 1.0)
    found = measure_rates(members, artifact, PREPROCESSING, 4, 10**9, clock)
    assert found.decoded == 4
    assert found.get_seconds == 4 * 0.125
