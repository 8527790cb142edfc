"""Connections, credentials, and machines that do not answer."""

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter

from tests.helpers.gcs_emulator import Proxy, status
from transforms.failures import ImageError
from transforms.storage import gcs as gcs_module
from transforms.storage import gcs_client
from transforms.storage.gcs import GoogleCloudStorage

MB = 1_000_000
ROOT = Path(__file__).parents[2]

# Google's client drops an answer that it asks for again without closing the connection.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


def error_of(action: Callable[[], object]) -> ImageError:
    with pytest.raises(ImageError) as caught:
        action()
    return caught.value


def test_many_threads_read_through_one_client(
    gcs: GoogleCloudStorage, put: Callable[..., str]
) -> None:
    contents = {put(f"{i}.jpg", bytes([i]) * 1000): bytes([i]) * 1000 for i in range(8)}
    wrong: list[str] = []

    def read(uri: str) -> None:
        if gcs.read(uri, MB).data != contents[uri]:
            wrong.append(uri)

    threads = [threading.Thread(target=read, args=[uri]) for uri in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_no_request_waits_for_ever(
    gcs: GoogleCloudStorage, put: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[object] = []
    send = HTTPAdapter.send

    def noted(self: HTTPAdapter, *arguments: Any, **options: Any) -> requests.Response:
        limits.append(options["timeout"])
        return send(self, *arguments, **options)

    monkeypatch.setattr(HTTPAdapter, "send", noted)
    uri = put("in/a.jpg")
    folder = uri.rpartition("/")[0]
    requests_of: dict[str, Callable[[], object]] = {
        "read": lambda: gcs.read(uri, MB),
        "open": lambda: gcs.open(uri).close(),
        "find": lambda: list(gcs.find(uri)),
        "list": lambda: list(gcs.find(f"{folder}/*.jpg")),
        "names": lambda: gcs.names(folder),
        "write": lambda: gcs.write(folder, "part", b"x"),
        "check": lambda: gcs.check_writable(folder),
    }
    for name, request in requests_of.items():
        limits.clear()
        request()
        # Seconds to connect, and between any two bytes of the answer.
        assert (name, set(limits)) == (name, {(10, 60)})


def test_more_faults_than_connections_do_not_stop_the_reading(
    gcs: GoogleCloudStorage,
    cloud: Proxy,
    put: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gcs_client, "CONNECTIONS", 1)
    uri = put("a.jpg")
    read: list[bytes] = []

    def read_all() -> None:
        for fault in (503, 403, 503):
            cloud.faults.append(status(fault))
            with contextlib.suppress(ImageError):
                read.append(gcs.read(uri, MB).data)

    thread = threading.Thread(target=read_all, daemon=True)
    thread.start()
    thread.join(timeout=10)
    assert read == [b"x", b"x"]


def test_connections_are_used_again(
    gcs: GoogleCloudStorage, cloud: Proxy, put: Callable[..., str]
) -> None:
    uris = [put(f"{i}.jpg", bytes(50_000)) for i in range(5)]
    before = cloud.connections
    for uri in uris:
        gcs.read(uri, MB)
        error_of(partial(gcs.read, f"{uri}.gone", MB))
    assert cloud.connections == before + 1


def test_credentials_that_are_named_but_missing_are_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "gone.json"))
    with pytest.raises(OSError, match=r"^gs://b: DefaultCredentialsError: File .*gone\.json was"):
        list(GoogleCloudStorage().find("gs://b"))


def test_without_credentials_or_a_metadata_server_the_answer_comes_soon(
    cloud: Proxy, tmp_path: Path
) -> None:
    """No waiting where packets to the metadata server vanish, as on many networks."""
    cloud.faults.append(status(401))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "GCE_METADATA_IP": f"127.0.0.1:{silent.getsockname()[1]}",
            "GCE_METADATA_TIMEOUT": "1",
            "API_ENDPOINT_OVERRIDE": cloud.url,
        }
        code = (
            "from transforms.storage import storage_for\n"
            "try: list(storage_for('gs://b').find('gs://b'))\n"
            "except OSError as error: print(error)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, cwd=ROOT
        )
        silent.settimeout(0)
        silent.accept()[0].close()  # it was asked once
        with pytest.raises(BlockingIOError):
            silent.accept()
    assert done.stdout == (
        "gs://b is not public and no credentials were found: "
        "run `gcloud auth application-default login`\n"
    )


def test_the_first_question_of_all_is_given_up_soon_and_a_later_one_later(
    gcs: GoogleCloudStorage, cloud: Proxy, bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gcs_module, "FIRST_ANSWER_S", 0.2)
    monkeypatch.setattr(gcs_module, "CALL_S", 1.0)
    seconds = []
    for _ in range(2):
        cloud.lasting_fault = lambda request, reply: status(503)(reply)
        start = time.monotonic()
        with pytest.raises(OSError, match="Cloud Storage answers 503"):
            gcs.names(f"gs://{bucket.name}")
        seconds.append(time.monotonic() - start)
        cloud.lasting_fault = None
        gcs.names(f"gs://{bucket.name}")
    assert 0.2 <= seconds[0] < 1 <= seconds[1]
