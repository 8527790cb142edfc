import pytest

from pipeline.options import UsageError
from pipeline.planning.estimate import (
    Requests,
    Speed,
    estimate,
    local_speed,
    requests_for,
    shuffled_gb,
    worker_speed,
    workers_for,
)
from pipeline.planning.measure_rates import Rates
from pipeline.planning.prices import Prices, Worker

PRICES = Prices()
PRICES.table["assumptions"] |= {
    "efficiency": {"value": 0.5, "why": ""},
    "vcpu_to_core": {"value": 0.5, "why": ""},
    "get_seconds": {"value": 0.01, "why": ""},
    "startup_hours": {"value": 0.25, "why": ""},
    "gpu_images_per_second": {"value": {"nvidia-tesla-t4": 2000}, "why": ""},
}
# 400 and 100 images/s a core: both one after the other 80, reading 32 / 0.001 s.
RATES = Rates(10, 10, 10, (), 0.001, 100.0, 400.0, 100.0, None)
CPU = Worker("n1-standard-4", 4, 15.0, 30)
GPU = Worker("n1-standard-8", 8, 30.0, 50, "nvidia-tesla-t4", 1)


def rounded(speed: Speed | None) -> tuple[float, str]:
    assert speed is not None
    return round(speed.images_per_second, 6), speed.bound


def test_a_cpu_does_decoding_and_inference_one_after_the_other() -> None:
    assert rounded(local_speed(RATES, 2, PRICES)) == (0.5 * 2 * 80, "CPU")
    assert rounded(worker_speed(CPU, RATES, PRICES)) == (0.5 * 4 * 80 * 0.5, "CPU")


def test_a_gpu_worker_is_as_fast_as_the_slower_of_its_two_halves() -> None:
    # 8 vCPUs decode 8 x 400 x 0.5 = 1600, less than the 2000 of the GPU.
    assert rounded(worker_speed(GPU, RATES, PRICES)) == (0.5 * 1600, "decoding")
    many = GPU._replace(vcpus=16)
    assert rounded(worker_speed(many, RATES, PRICES)) == (0.5 * 2000, "GPU")


def test_a_gpu_on_this_machine_is_measured_not_assumed() -> None:
    here = RATES._replace(infer_core=None, infer_gpu=300.0)
    assert rounded(local_speed(here, 2, PRICES)) == (0.5 * 300, "GPU")
    assert rounded(worker_speed(GPU, here, PRICES)) == (0.5 * 300, "GPU")
    assert worker_speed(CPU, here, PRICES) is None  # its inference is known to nobody


def test_slow_reads_bound_everything() -> None:
    slow = RATES._replace(read_seconds=1.0)
    assert local_speed(slow, 2, PRICES) == Speed(32.0, "reading")
    # Two bundles of 32 reads for each GPU, a hundredth of a second a read.
    fast = GPU._replace(vcpus=200, gpus=4)
    assert rounded(worker_speed(fast, RATES, PRICES)) == (0.5 * 4 * 2000, "GPU")
    many = fast._replace(gpus=9), RATES._replace(infer_gpu=9e9, decode=9e9)
    assert rounded(worker_speed(*many, PRICES)) == (9 * 2 * 32 / 0.01, "reading")


def test_reading_bounds_less_where_a_get_brings_many_images() -> None:
    slow = RATES._replace(read_seconds=1.0, infer_gpu=9e9, decode=9e9)
    assert local_speed(slow, 2, PRICES, 0.5) == Speed(64.0, "reading")
    assert rounded(worker_speed(GPU, slow, PRICES, 0.25)) == (2 * 32 / 0.01 / 0.25, "reading")


def test_workers_are_those_that_meet_the_deadline_after_their_start() -> None:
    speed = Speed(100.0, "CPU")
    assert workers_for(360_000, speed, 1.25, 0.25) == 1
    assert workers_for(360_001, speed, 1.25, 0.25) == 2
    assert workers_for(1, speed, 8, 0.25) == 1
    with pytest.raises(UsageError, match=r"--deadline-hours 0.2 is over before a worker"):
        workers_for(1, speed, 0.2, 0.25)


def test_objects_are_listed_twice_a_thousand_at_a_time() -> None:
    assert requests_for(1_000_001, 2_001, 245) == Requests(1_000_001, 2 * 3, 245)


def test_uris_alone_are_shuffled() -> None:
    assert shuffled_gb(1_000_000, uri_bytes=68) == pytest.approx(2 * 100 * 1_000_000 / 1e9)


def test_hours_and_dollars_are_the_printed_formulas() -> None:
    requests = Requests(gets=720_000, listings=1_440, uploads=176)
    found = estimate(CPU, Speed(100.0, "CPU"), RATES, 720_000, requests, 0.5, 1.25, None, PRICES)
    hourly = 4 * 0.056 + 15 * 0.003557 + 30 * 0.000054
    around = 720 * 0.0004 + (1.440 + 0.176) * 0.005 + 0.5 * 0.011
    assert found.workers == 2
    assert found.hours == pytest.approx(1.25)
    assert found.dollars == pytest.approx(2 * 1.25 * hourly + around)
    assert found.dollars_per_million == pytest.approx((2 * hourly + around) / 0.72)
    assert found.is_infer_measured


def test_workers_of_the_users_choice_are_kept() -> None:
    found = estimate(GPU, Speed(100.0, "GPU"), RATES, 720_000, Requests(0, 0, 0), 0, 8, 4, PRICES)
    assert found.workers == 4
    assert found.hours == pytest.approx(0.25 + 0.5)
    assert not found.is_infer_measured
