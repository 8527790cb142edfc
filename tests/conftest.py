"""What many tests need: a pipeline in this process, and Cloud Storage without a cloud."""

import importlib.util
import signal
from collections.abc import Iterator

import pytest
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner
from apache_beam.testing.test_pipeline import TestPipeline
from hypothesis import settings

import transforms.storage
from tests.helpers.gcs_emulator import Emulator, Proxy
from transforms.storage import retries

settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")


@pytest.fixture
def p() -> TestPipeline:
    """A pipeline on the runner of local runs; `with p:` runs it."""
    return TestPipeline(runner=FnApiRunner())


@pytest.fixture
def promptly() -> Iterator[None]:
    """Fails a test that waits for ten seconds, on a pipe for example."""

    def give_up(number: int, frame: object) -> None:
        raise TimeoutError("the test waited for ten seconds")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(10)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


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
