import random

import pytest

from pipeline.dataflow.gpus import Gpu
from pipeline.dataflow.options import bundles_at_once
from pipeline.planning.estimate import Estimate, Requests, here, on_workers, requests_for
from pipeline.planning.measure_rates import Rates
from pipeline.planning.prices import Worker, prices
from pipeline.planning.survey import EarlierRows, survey
from transforms.cut_shards import cut_bucket
from transforms.read_images import THREADS
from transforms.records import ListedImage, Mentions
from transforms.storage.uris import container_of

# 400 and 100 images/s a core: both one after the other 80. Reading 32 / 0.001 s.
RATES = Rates(10, 10, {}, 0.001, 100.0, 400.0, 100.0, None)
CPU = Worker("n1-standard-4", 4, None, 0.25)
GPU = Worker("n1-standard-8", 8, Gpu("nvidia-tesla-t4", 1), 1.0)
NOTHING = Requests(0, 0, 0, 0, 0, 0, 1.0)


@pytest.fixture(autouse=True)
def _assumptions(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "efficiency": 0.5,
        "vcpu_to_core": 0.5,
        "get_seconds": 0.01,
        "python_seconds": 1e-9,
        "startup_hours": 0.25,
        "gpu_images_per_second": {"nvidia-tesla-t4": 2000},
    }.items():
        monkeypatch.setitem(prices()["assumptions"], name, {"value": value})


def on(
    worker: Worker,
    rates: Rates = RATES,
    images: int = 720_000,
    requests: Requests = NOTHING,
    deadline: float = 8.0,
    workers: int | None = None,
) -> Estimate:
    found = on_workers(worker, rates, images, requests, deadline, workers)
    assert found is not None
    return found


def speed(found: Estimate) -> tuple[float, str]:
    return round(found.images_per_second, 6), found.bound


def test_a_cpu_does_decoding_and_inference_one_after_the_other() -> None:
    assert speed(here(RATES, 2, 1, NOTHING)) == (0.5 * 2 * 80, "CPU")
    assert speed(on(CPU)) == (0.5 * 4 * 80 * 0.5, "CPU")


def test_a_gpu_worker_is_as_fast_as_the_slower_of_its_two_halves() -> None:
    # 8 vCPUs decode 8 x 400 x 0.5 = 1600, less than the 2000 of the GPU.
    assert speed(on(GPU)) == (0.5 * 1600, "decoding")
    assert speed(on(GPU._replace(vcpus=16))) == (0.5 * 2000, "GPU")
    four = GPU._replace(vcpus=200, gpu=Gpu("nvidia-tesla-t4", 4))
    assert speed(on(four)) == (0.5 * 4 * 2000, "GPU")


def test_a_gpu_on_this_machine_is_measured_not_assumed() -> None:
    measured = RATES._replace(infer_core=None, infer_gpu=300.0)
    assert speed(here(measured, 2, 1, NOTHING)) == (0.5 * 300, "GPU")
    assert speed(on(GPU, measured)) == (0.5 * 300, "GPU")
    assert (on(GPU, measured).is_infer_measured, on(GPU).is_infer_measured) == (True, False)
    assert on_workers(CPU, measured, 1, NOTHING, 8, None) is None  # its inference is not known


def test_reading_bounds_by_what_the_bundles_of_a_worker_have_in_flight() -> None:
    slow = RATES._replace(get_seconds=1.0)
    assert speed(here(slow, 2, 1, NOTHING)) == (32.0, "reading")
    fast = RATES._replace(infer_gpu=9e9, decode=9e9)
    two = GPU._replace(gpu=Gpu("nvidia-tesla-t4", 2))
    assert (THREADS, bundles_at_once(None), bundles_at_once(two.gpu)) == (32, 2, 4)
    assert speed(on(GPU, fast)) == (2 * 32 / 0.01, "reading")
    assert speed(on(two, fast)) == (4 * 32 / 0.01, "reading")


def test_reading_bounds_less_where_a_get_brings_many_images() -> None:
    fast, tars = RATES._replace(infer_gpu=9e9, decode=9e9), NOTHING._replace(gets_an_image=0.25)
    assert speed(here(fast._replace(get_seconds=1.0), 2, 1, tars)) == (32 / 0.25, "reading")
    assert speed(on(GPU, fast, requests=tars)) == (2 * 32 / 0.01 / 0.25, "reading")


def test_a_worker_is_no_faster_than_its_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(prices()["assumptions"], "python_seconds", {"value": 0.002})
    assert speed(on(GPU)) == (500, "Python")
    assert speed(here(RATES, 64, 1, NOTHING)) == (500, "Python")


def test_workers_are_those_that_meet_the_deadline_after_their_start() -> None:
    # 80 images/s are 288,000 an hour.
    assert on(CPU, images=288_000, deadline=1.25).machines == 1
    assert on(CPU, images=288_001, deadline=1.25).machines == 2
    assert on(CPU, images=1).machines == 1
    assert on(CPU, images=288_000, deadline=1.25, workers=4).machines == 4


def test_hours_and_dollars_count_the_start_of_every_worker() -> None:
    requests = Requests(720_000, 0, 0, 0, 1_440, 176, 1.0)
    assert requests.dollars == pytest.approx(720 * 0.0004 + (1.440 + 0.176) * 0.005)
    found = on(CPU, images=576_000, requests=requests, deadline=1.25)
    assert (found.machine, found.machines, found.hours) == ("n1-standard-4", 2, 1.25)
    assert found.dollars == pytest.approx(2 * 1.25 * 0.25 + requests.dollars)


def test_this_machine_starts_at_once_and_costs_only_requests() -> None:
    requests = NOTHING._replace(images=1_000_000)
    found = here(RATES, 2, 288_000, requests)
    assert (found.machine, found.machines, found.hours) == ("this machine, 2 cores", 1, 1.0)
    assert found.dollars == pytest.approx(0.40)


def requested(images: list[ListedImage], shard_size: int) -> Requests:
    return requests_for(survey(images, 1, EarlierRows()), shard_size, earlier_parts=2)


def tars(sizes: list[int]) -> list[ListedImage]:
    return [
        ListedImage(f"gs://b/{number:04}.tar::{member:06}.jpg", 10)
        for number, size in enumerate(sizes)
        for member in range(size)
    ]


def test_an_image_by_itself_is_one_get() -> None:
    photos = [ListedImage(f"gs://b/{n}.jpg", 10) for n in range(2001)]
    found = requested([*photos, *photos], 1000)
    # Objects are listed a thousand at a time, by the check and by the run.
    assert found == Requests(2001, 0, 0, 2, 2 * 3, 3, 1.0)
    assert found.gets == 2003


def test_a_tar_is_one_get_to_be_listed_and_one_for_each_shard_with_images_of_it() -> None:
    images = [*(ListedImage(f"gs://b/{n}.jpg", 10) for n in range(5)), *tars([12, 12, 12])]
    assert requested(images, 4096) == Requests(5, 3, 3, 2, 2, 1, 8 / 41)
    assert requested(images, 5).tars_to_read == 3 + round(33 / 5)
    assert requested(images, 1).tars_to_read == 36
    assert requested(images, 1).gets == 5 + 3 + 36 + 2


@pytest.mark.parametrize(("shard_size", "error"), [(100, 0.01), (1000, 0.02)])
def test_tars_are_fetched_as_often_as_shards_of_the_run_hold_some_of_them(
    shard_size: int, error: float
) -> None:
    dice = random.Random(1)
    images = tars([dice.randrange(1, 900) for _ in range(60)])
    bucket = cut_bucket(0, [Mentions(images, [])], shard_size, False)
    fetches = sum(len({container_of(i.uri) for i in shard.images}) for shard in bucket.shards)
    assert requested(images, shard_size).tars_to_read == pytest.approx(fetches, rel=error)
