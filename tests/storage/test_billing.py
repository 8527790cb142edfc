"""The project that pays stands in every request, wherever it is made."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from apache_beam.options.value_provider import RuntimeValueProvider
from apache_beam.runners.portability.portable_runner import JobServiceHandle
from apache_beam.runners.worker import sdk_worker_main

from pipeline.options import RunOptions
from pipeline.running.runner import settle_runner
from tests.helpers.gcs_emulator import Proxy
from transforms.storage.billing import bill_to
from transforms.storage.gcs import GoogleCloudStorage

# Google's client drops an answer that it asks for again without closing the connection.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


@pytest.fixture(autouse=True)
def _no_payer(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test sets does not stay."""
    monkeypatch.setattr(RuntimeValueProvider, "runtime_options", None)
    yield
    bill_to(None)


def bill_this_process() -> None:
    bill_to("my-project")


def bill_as_a_worker() -> None:
    """What Beam does with the options of a run when a worker starts in its container."""
    runner = settle_runner(RunOptions(runner="DataflowRunner", billing_project="my-project"))
    options = runner.options.get_all_options(drop_default=True)
    sent = JobServiceHandle.encode_pipeline_options(options).fields
    text = json.dumps({name: value.string_value for name, value in sent.items()})
    RuntimeValueProvider.set_runtime_options(sdk_worker_main._load_pipeline_options(text))


@pytest.mark.parametrize("bill", [bill_this_process, bill_as_a_worker])
def test_every_request_names_who_pays(
    cloud: Proxy, bucket: Any, put: Callable[..., str], bill: Callable[[], None]
) -> None:
    uri, gcs, folder = put("a.jpg"), GoogleCloudStorage(), f"gs://{bucket.name}"
    actions: list[Callable[[], object]] = [
        lambda: list(gcs.find(uri)),
        lambda: list(gcs.find(folder)),
        partial(gcs.names, folder),
        partial(gcs.read, uri, 10),
        lambda: gcs.open(uri).close(),
        partial(gcs.write, folder, "part", b"1"),
        partial(gcs.check_writable, folder),
    ]
    for action in actions:
        action()
    assert "userProject" not in "".join(cloud.requests)
    cloud.requests.clear()
    bill()
    for action in actions:
        action()
    assert len(cloud.requests) == len(actions)
    assert [request for request in cloud.requests if "userProject=my-project" not in request] == []


def test_nobody_pays_unless_asked() -> None:
    sent = settle_runner(RunOptions()).options.get_all_options(drop_default=True)
    assert "billing_project" not in sent
