"""Downloads from a real HTTP server on loopback."""

import base64
import hashlib
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud.storage import Client

from tests.helpers.model_fixtures import needs_shared, shared_weights
from transforms.models.caches import keras_path
from transforms.models.errors import ModelError
from transforms.models.weights import own_weights, published_weights, sha256_of
from transforms.models.zoo import ARCHITECTURES, PublishedWeights

CONTENT = b"weights" * 1000


class _Handler(SimpleHTTPRequestHandler):
    """Serves a folder the way Cloud Storage does: with the checksum in a header."""

    stated_md5 = ""
    cut = False
    requests: ClassVar[list[str]]

    def end_headers(self) -> None:
        self.send_header("x-goog-hash", "crc32c=AAAAAA==")
        if self.stated_md5:
            self.send_header("x-goog-hash", f"md5={self.stated_md5}")
        super().end_headers()

    def copyfile(self, source: object, outputfile: object) -> None:
        self.wfile.write(CONTENT[:100] if self.cut else CONTENT)

    def log_message(self, *args: object) -> None:
        self.requests.append(self.path)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[_Handler]]:
    """A mirror that holds one file; its handler's attributes change what it does."""
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / "net.h5").write_bytes(CONTENT)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))

    class Handler(_Handler):
        requests: ClassVar[list[str]] = []

    handler = Handler
    handler.stated_md5 = base64.b64encode(hashlib.md5(CONTENT).digest()).decode()
    serve = partial(handler, directory=str(tmp_path / "mirror"))
    with ThreadingHTTPServer(("127.0.0.1", 0), serve) as http:
        thread = Thread(target=http.serve_forever)
        thread.start()
        monkeypatch.setenv("MOBILENET_WEIGHTS_URL", f"http://127.0.0.1:{http.server_port}/")
        yield handler
        http.shutdown()
        thread.join()


def placed(content: bytes) -> Path:
    """The weight file, put into the cache by somebody else."""
    path = keras_path("net.h5")
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return path


def weights(digest: str | None = None) -> PublishedWeights:
    checksum = ("sha256", digest) if digest else None
    return PublishedWeights("net.h5", "https://example.com/net.h5", checksum)


def test_weights_are_downloaded_once_into_keras_cache(server: type[_Handler]) -> None:
    said: list[str] = []
    for _ in range(2):
        path = published_weights(weights(hashlib.sha256(CONTENT).hexdigest()), said.append)
    assert path == keras_path("net.h5")
    assert path.read_bytes() == CONTENT
    assert server.requests == ["/net.h5"]
    assert len(said) == 1
    assert said[0].startswith("downloading http://127.0.0.1:")


def test_a_download_with_another_checksum_is_refused_and_not_kept(server: type[_Handler]) -> None:
    with pytest.raises(ModelError, match="is not the published file: its sha256 is"):
        published_weights(weights("0" * 64), print)
    assert list(keras_path("").iterdir()) == []


def test_without_a_published_checksum_the_servers_own_is_checked(server: type[_Handler]) -> None:
    server.stated_md5 = base64.b64encode(bytes(16)).decode()
    with pytest.raises(ModelError, match="its md5 is"):
        published_weights(weights(), print)
    server.stated_md5 = base64.b64encode(hashlib.md5(CONTENT).digest()).decode()
    assert published_weights(weights(), print).read_bytes() == CONTENT


def test_a_download_cut_short_is_refused_and_not_kept(server: type[_Handler]) -> None:
    server.cut = True
    with pytest.raises(ModelError, match=r"100 of 7,000 bytes came"):
        published_weights(weights(), print)
    assert list(keras_path("").iterdir()) == []


def test_a_damaged_file_in_the_cache_is_not_used(server: type[_Handler]) -> None:
    placed(b"half")
    with pytest.raises(ModelError, match="delete it to fetch it again"):
        published_weights(weights(hashlib.sha256(CONTENT).hexdigest()), print)


def test_what_was_downloaded_is_compared_with_itself_later(server: type[_Handler]) -> None:
    said: list[str] = []
    path = published_weights(weights(), said.append)
    note = path.with_name("net.h5.sha256")
    assert note.read_text() == f"{hashlib.sha256(CONTENT).hexdigest()}  net.h5\n"
    assert published_weights(weights(), said.append) == path
    assert len(said) == 1  # of the download
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(ModelError, match="is not the published file: its sha256 is"):
        published_weights(weights(), print)
    path.unlink()
    assert published_weights(weights(), print).read_bytes() == CONTENT


def test_a_file_of_which_nothing_is_known_is_named_once_and_compared_later(
    server: type[_Handler],
) -> None:
    said: list[str] = []
    path = placed(CONTENT)
    assert published_weights(weights(), said.append) == path
    assert published_weights(weights(), said.append) == path
    assert said == [
        f"{path} cannot be checked: its checksum is not published; later runs compare with it"
    ]
    path.write_bytes(b"other")
    with pytest.raises(ModelError, match="delete it to fetch it again"):
        published_weights(weights(), print)


def test_a_server_that_states_no_checksum_is_named(server: type[_Handler]) -> None:
    server.stated_md5 = ""
    said: list[str] = []
    path = published_weights(weights(), said.append)
    assert said[1].startswith(f"{path} cannot be checked: http://127.0.0.1:")
    assert said[1].endswith("/net.h5 states no checksum")


def test_a_file_the_server_lacks_gives_three_ways_out(server: type[_Handler]) -> None:
    missing = PublishedWeights("other.h5", "https://example.com/other.h5", None)
    with pytest.raises(ModelError, match=r"can't be reached \(File not found\)") as caught:
        published_weights(missing, print)
    assert "fetch https://example.com/other.h5 elsewhere" in str(caught.value)


def test_own_weights_must_be_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.h5"
    path.write_bytes(CONTENT)
    assert own_weights(str(path)) == path
    assert sha256_of(path) == hashlib.sha256(CONTENT).hexdigest()
    with pytest.raises(ModelError, match="is not a file"):
        own_weights(str(tmp_path))


@pytest.mark.usefixtures("cloud", "own_caches")
def test_own_weights_on_cloud_storage_are_fetched_anew_each_time() -> None:
    bucket = Client("test", credentials=AnonymousCredentials()).create_bucket("weights")
    for content in (CONTENT, CONTENT[::-1]):
        bucket.blob("a/mine.h5").upload_from_string(content)
        path = own_weights("gs://weights/a/mine.h5")
        assert (path.name, path.read_bytes()) == ("mine.h5", content)
        assert list(path.parent.iterdir()) == [path]
    with pytest.raises(ModelError, match=r"'gs://weights/gone\.h5' cannot be read: "):
        own_weights("gs://weights/gone.h5")


def test_the_checksums_of_v3_are_those_that_keras_publishes() -> None:
    from keras.src.applications.mobilenet_v3 import WEIGHTS_HASHES

    for name in ("small", "large"):
        entry = ARCHITECTURES[f"mobilenet_v3_{name}"]
        for alpha in entry.alphas:
            with_top, _ = WEIGHTS_HASHES[f"{name}_224_{alpha}_float"]
            assert entry.published(alpha, 224).checksum == ("md5", with_top)


@needs_shared
@pytest.mark.parametrize("alpha", [0.25, 0.75])
def test_the_checksums_of_v1_are_those_of_the_files(alpha: float) -> None:
    digest = sha256_of(Path(shared_weights(alpha)))
    assert ARCHITECTURES["mobilenet"].published(alpha, 224).checksum == ("sha256", digest)


@pytest.mark.parametrize("name", ["mobilenet", "mobilenet_v2", "mobilenet_v3_small"])
def test_published_urls_are_those_that_keras_itself_fetches(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import keras

    class FetchedError(Exception):
        pass

    def record(file_name: str, origin: str, **_: object) -> None:
        raise FetchedError(origin)

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", record)
    build = {
        "mobilenet": keras.applications.MobileNet,
        "mobilenet_v2": keras.applications.MobileNetV2,
        "mobilenet_v3_small": keras.applications.MobileNetV3Small,
    }[name]
    entry = ARCHITECTURES[name]
    for alpha in entry.alphas:
        with pytest.raises(FetchedError) as caught:
            build((224, 224, 3), alpha=alpha, weights="imagenet")
        assert entry.published(alpha, 224).url == str(caught.value)
