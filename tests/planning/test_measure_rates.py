import time
from pathlib import Path

import pytest

from pipeline.options import NetworkOptions
from pipeline.planning.measure_rates import measure_rates, rate
from tests.helpers.model_fixtures import PHOTOS, TINY_SIZE, TinyModel
from transforms.decode_images import Preprocessing
from transforms.models.artifact import Artifact
from transforms.models.resolve import resolve_model
from transforms.records import ListedImage

PREPROCESSING = Preprocessing(TINY_SIZE, "crop", 10**9)


@pytest.fixture(scope="module")
def artifact(tiny_model: TinyModel, caches: dict[str, str]) -> Artifact:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in caches.items():
            patch.setenv(name, value)
        model, labels = str(tiny_model.path), str(tiny_model.labels)
        options = NetworkOptions(model=model, labels=labels, top_k=2, engine="litert")
        return resolve_model(options.model_choice(), say=lambda _: None)


def test_a_rate_is_calls_a_second_over_whole_passes() -> None:
    calls: list[int] = []

    def work(item: int) -> None:
        calls.append(item)
        time.sleep(0.02)

    found = rate(work, [1, 2, 3], time.monotonic)
    assert calls == [1, 2, 3] * (len(calls) // 3)
    assert len(calls) * 0.02 >= 0.4
    assert 20 < found <= 50


def test_a_cores_time_does_not_run_while_something_else_does() -> None:
    def work(_: int) -> None:
        time.sleep(0.01)
        end = time.process_time() + 0.02
        while time.process_time() < end:
            pass

    assert 40 < rate(work, [1, 2, 3]) <= 50  # 33 by the clock on the wall


def test_what_cannot_be_read_or_decoded_is_counted_by_reason_and_not_timed(
    artifact: Artifact, tmp_path: Path
) -> None:
    (tmp_path / "page.jpg").write_text("<html>not a picture</html>")
    photos = [ListedImage(str(path)) for path in sorted(PHOTOS.iterdir())[:3]]
    odd = [ListedImage(str(tmp_path / name)) for name in ("page.jpg", "gone.jpg", "lost.jpg")]
    found = measure_rates([*photos, *odd], artifact, PREPROCESSING, 2, 4, 10**9)
    assert (found.tried, found.read, found.decoded) == (6, 4, 3)
    assert found.reasons == {"not_found": 2, "not_an_image": 1}
    sizes = [Path(image.uri).stat().st_size for image in photos] + [26]
    assert found.mean_bytes == sum(sizes) / 4
    assert found.decode > 10
    assert found.infer_core is not None
    assert found.infer_core > 10
    assert found.infer_gpu is None
    assert 0 < found.read_seconds < 1


def test_a_sample_without_a_picture_names_the_first_reason(artifact: Artifact) -> None:
    with pytest.raises(ValueError, match=r"none of the 1 images .* /gone.jpg"):
        measure_rates([ListedImage("/gone.jpg")], artifact, PREPROCESSING, 2, 4, 10**9)
