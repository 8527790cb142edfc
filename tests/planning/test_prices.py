import pytest
from apache_beam.testing.load_tests import dataflow_cost_consts as beam_prices

from pipeline.dataflow.gpus import Gpu
from pipeline.options import UsageError
from pipeline.planning.prices import PRICES_FILE, assumed, prices, workers_to_compare


def names(*options: object) -> list[str]:
    return [worker.name for worker in workers_to_compare(*options)]  # type: ignore[arg-type]  # as given


def test_dataflow_prices_are_those_that_beam_brings() -> None:
    assert prices()["dataflow"] == {
        "vcpu_hour": beam_prices.VCPU_PER_HR_BATCH,
        "memory_gb_hour": beam_prices.MEM_PER_GB_HR_BATCH,
        "disk_gb_hour": beam_prices.PD_PER_GB_HR,
        "gpu_hour": {
            "nvidia-tesla-p4": beam_prices.P4_PER_GPU_PER_HOUR,
            "nvidia-tesla-t4": beam_prices.T4_PER_GPU_PER_HOUR,
            "nvidia-l4": beam_prices.L4_PER_GPU_PER_HOUR,
            "nvidia-tesla-v100": beam_prices.V100_PER_GPU_PER_HOUR,
            "nvidia-tesla-a100": beam_prices.A100_40GB_PER_GPU_PER_HOUR,
        },
    }


def test_every_priced_gpu_has_a_machine_of_known_size_and_an_assumed_rate() -> None:
    priced = set(prices()["dataflow"]["gpu_hour"])
    assert priced == set(assumed("gpu_images_per_second"))
    for name in priced:
        (worker,) = workers_to_compare(Gpu(name, 1))
        assert worker.vcpus >= 8


def test_every_price_says_where_it_is_from_and_every_assumption_why() -> None:
    for source in prices()["sources"].values():
        assert source["url"].startswith("https://cloud.google.com/")
        assert source["as_of"].startswith("20")
    assert set(prices()["sources"]) == {"dataflow", "storage"}
    assert all(len(each["why"]) > 20 for each in prices()["assumptions"].values())


def test_workers_are_those_that_the_options_ask_for() -> None:
    t4 = "nvidia-tesla-t4"
    assert names(Gpu(t4, 2)) == ["n1-standard-16 + nvidia-tesla-t4 x 2"]
    assert names(Gpu(t4, 1), "n1-highmem-4") == ["n1-highmem-4 + nvidia-tesla-t4"]
    assert names(None, "e2-standard-4") == ["e2-standard-4"]
    usual = ["n2-standard-8", "n1-standard-8 + nvidia-tesla-t4", "g2-standard-16 + nvidia-l4"]
    assert names() == usual


@pytest.mark.parametrize(
    ("machine", "gpu", "disk_gb", "vcpus", "dollars"),
    [
        ("n1-standard-4", None, None, 4, 4 * 0.056 + 15 * 0.003557 + 25 * 0.000054),
        ("n1-standard-4", None, 200, 4, 4 * 0.056 + 15 * 0.003557 + 200 * 0.000054),
        ("a2-highgpu-1g", None, None, 12, 12 * 0.056 + 85 * 0.003557 + 25 * 0.000054),
        (
            "n1-highmem-16",
            Gpu("nvidia-tesla-t4", 2),
            None,
            16,
            16 * 0.056 + 104 * 0.003557 + 50 * 0.000054 + 2 * 0.42,
        ),
    ],
)
def test_an_hour_of_a_worker_is_the_sum_of_its_parts(
    machine: str, gpu: Gpu | None, disk_gb: int | None, vcpus: int, dollars: float
) -> None:
    (worker,) = workers_to_compare(gpu, machine, disk_gb)
    assert worker.vcpus == vcpus
    assert worker.dollars_an_hour == pytest.approx(dollars)


@pytest.mark.parametrize("machine", ["n9-standard-4", "n1-standard-", "n1-standard-x", "custom"])
def test_an_unknown_machine_is_named_with_the_file_to_add_it_to(machine: str) -> None:
    with pytest.raises(UsageError, match=f"--machine_type '{machine}'.*{PRICES_FILE.name}"):
        workers_to_compare(machine_type=machine)


def test_a_gpu_without_a_price_is_named_with_the_file_to_add_it_to() -> None:
    with pytest.raises(UsageError, match=f"--gpu nvidia-a100-80gb has no.*{PRICES_FILE.name}"):
        workers_to_compare(Gpu("nvidia-a100-80gb", 1), "a2-highgpu-1g")
    with pytest.raises(UsageError, match=f"--gpu nvidia-h100-80gb has no.*{PRICES_FILE.name}"):
        workers_to_compare(Gpu("nvidia-h100-80gb", 1))
