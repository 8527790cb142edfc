"""What many tests need: a pipeline in this process, and Cloud Storage without a cloud."""

import importlib.util
import signal
from collections.abc import Generator, Iterator

import pytest
import pytest_timeout
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from apache_beam.testing.test_pipeline import TestPipeline
from hypothesis import settings

import transforms.storage
from tests.helpers.gcs_emulator import Emulator, Proxy
from transforms.storage import retries

# Whole commands on a machine with other things to do.
COMMANDS_S, SLOW_S = 600, 3600

# A suite started in the background is told to ignore SIGINT, and so is every command it starts.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Gives what takes longer its own limit."""
    for item in items:
        if item.get_closest_marker("timeout"):
            continue
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.timeout(SLOW_S))
        elif isinstance(item, pytest.Function) and "run" in item.fixturenames:
            item.add_marker(pytest.mark.timeout(COMMANDS_S))


@pytest.hookimpl(wrapper=True)
def pytest_timeout_set_timer(settings: pytest_timeout.Settings) -> Generator[None, object, object]:
    """Interrupts again, since leaving a pool or a pipeline may wait a second time."""
    result = yield
    signal.setitimer(signal.ITIMER_REAL, settings.timeout, 5)
    return result


@pytest.fixture
def p() -> TestPipeline:
    """A pipeline on the runner of local runs; `with p:` runs it."""
    return TestPipeline(runner=FnApiRunner())


@pytest.fixture(scope="session")
def emulator() -> Iterator[Emulator]:
    if importlib.util.find_spec("gcp_storage_emulator") is None:
        pytest.skip("the emulator is missing: pip install gcp-storage-emulator")
    emulator = Emulator()
    yield emulator
    emulator.stop()


@pytest.fixture
def cloud(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """Cloud Storage as this process sees it; tests name buckets of their own."""
    proxy = Proxy(emulator)
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", proxy.url)
    monkeypatch.setattr(retries, "shared", retries.Retries(delays_s=(0.001, 0.05)))
    transforms.storage._storage.cache_clear()
    yield proxy
    transforms.storage._storage.cache_clear()
    proxy.stop()
