import pytest
from apache_beam.testing.load_tests import dataflow_cost_consts as beam_prices

from pipeline.dataflow.gpus import GPUS, Gpu
from pipeline.options import UsageError
from pipeline.planning.prices import PRICES_FILE, Prices, Worker

PRICES = Prices()


def test_dataflow_prices_are_those_that_beam_brings() -> None:
    dataflow = PRICES.table["dataflow"]
    assert dataflow == {
        "vcpu_hour": beam_prices.VCPU_PER_HR_BATCH,
        "memory_gb_hour": beam_prices.MEM_PER_GB_HR_BATCH,
        "disk_gb_hour": beam_prices.PD_PER_GB_HR,
        "shuffle_gb": beam_prices.SHUFFLE_PER_GB_BATCH,
        "gpu_hour": {
            "nvidia-tesla-p4": beam_prices.P4_PER_GPU_PER_HOUR,
            "nvidia-tesla-t4": beam_prices.T4_PER_GPU_PER_HOUR,
            "nvidia-l4": beam_prices.L4_PER_GPU_PER_HOUR,
            "nvidia-tesla-v100": beam_prices.V100_PER_GPU_PER_HOUR,
            "nvidia-tesla-a100": beam_prices.A100_40GB_PER_GPU_PER_HOUR,
        },
    }


def test_every_gpu_has_a_price_a_machine_and_an_assumed_rate() -> None:
    priced = set(PRICES.table["dataflow"]["gpu_hour"])
    for name in priced:
        for count, machine in GPUS[name].items():
            worker = PRICES.gpu_worker(Gpu(name, count))
            assert (worker.machine, worker.gpus) == (machine, count)
    assert priced == set(PRICES.assumed("gpu_images_per_second"))
    assert priced >= set(PRICES.table["workers"]["compared_gpus"])


def test_every_price_says_where_it_is_from_and_every_assumption_why() -> None:
    for source in PRICES.table["sources"].values():
        assert source["url"].startswith("https://cloud.google.com/")
        assert source["as_of"].startswith("20")
    assert set(PRICES.table["sources"]) == {"dataflow", "storage"}
    assert all(len(why) > 20 for why in PRICES.assumptions().values())


def test_a_machine_type_says_its_cores_and_memory() -> None:
    assert PRICES.cpu_worker("n1-standard-4", 25) == Worker("n1-standard-4", 4, 15.0, 25)
    assert PRICES.cpu_worker("a2-highgpu-1g").vcpus == 12
    two = PRICES.gpu_worker(Gpu("nvidia-tesla-t4", 2), "n1-highmem-16")
    assert (two.vcpus, two.memory_gb, two.gpus) == (16, 104.0, 2)
    assert two.name == "n1-highmem-16 + nvidia-tesla-t4 x 2"


def test_an_hour_of_a_worker_is_the_sum_of_its_parts() -> None:
    worker = Worker("n1-standard-8", 8, 30.0, 50, "nvidia-tesla-t4", 2)
    expected = 8 * 0.056 + 30 * 0.003557 + 50 * 0.000054 + 2 * 0.42
    assert PRICES.worker_hour(worker) == pytest.approx(expected)


@pytest.mark.parametrize("machine", ["n9-standard-4", "n1-standard-", "n1-standard-x", "custom"])
def test_an_unknown_machine_is_named_with_the_file_to_add_it_to(machine: str) -> None:
    with pytest.raises(UsageError, match=f"--machine_type '{machine}'.*{PRICES_FILE.name}"):
        PRICES.cpu_worker(machine)


def test_a_gpu_without_a_price_is_named_with_the_file_to_add_it_to() -> None:
    with pytest.raises(UsageError, match=f"--gpu nvidia-h100-80gb has no.*{PRICES_FILE.name}"):
        PRICES.gpu_worker(Gpu("nvidia-h100-80gb", 1))
