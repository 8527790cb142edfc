"""What a registry says of an image, over a real connection."""

import time
from collections.abc import Iterator
from pathlib import Path

import google.auth
import pytest
from google.auth.exceptions import DefaultCredentialsError, RefreshError
from google.oauth2.credentials import Credentials

from pipeline import image_name
from pipeline import registry as module
from pipeline.image_name import parse_image_name
from pipeline.registry import Image, NoSuchImageError, UnansweredError, read_image
from tests.image_registry import Registry

DIGEST = "sha256:" + "0" * 64


@pytest.fixture
def registry() -> Iterator[Registry]:
    server = Registry()
    yield server
    server.stop()


def read(name: str, platform: str = "linux/amd64", with_credentials: bool = True) -> Image:
    return read_image(parse_image_name(name), platform, with_credentials)


def unanswered(name: str, with_credentials: bool = True) -> str:
    with pytest.raises(UnansweredError) as error:
        read(name, with_credentials=with_credentials)
    return str(error.value)


def test_labels_and_platform_are_those_of_the_config(registry: Registry) -> None:
    name = registry.push("p/images/cpu", "1", {"a": "b"}, "linux/arm64")
    assert read(name) == Image(("linux/arm64",), {"a": "b"})
    manifest, config = registry.requests
    assert manifest == "/v2/p/images/cpu/manifests/1"
    assert config.startswith("/v2/p/images/cpu/blobs/sha256:")
    assert read(registry.push("p/plain", "1", None)) == Image(("linux/amd64",), {})


def test_of_several_platforms_the_right_one_is_read(registry: Registry) -> None:
    images = {"linux/arm64": {"for": "arm"}, "linux/amd64": {"for": "intel"}}
    name = registry.push_index("p/x", "1", images)
    both = ("linux/arm64", "linux/amd64")
    assert read(name) == Image(both, {"for": "intel"})
    assert read(name, "linux/arm64") == Image(both, {"for": "arm"})
    assert read(name, "linux/riscv64") == Image(both, {})


def test_an_image_that_is_not_there_is_said_to_be_none(registry: Registry) -> None:
    registry.push("p/x", "1", {})
    for gone in ("p/x:2", f"p/x@{DIGEST}", "p/y:1"):
        with pytest.raises(NoSuchImageError):
            read(f"{registry.host}/{gone}")


def test_a_token_for_everybody_is_fetched_when_one_is_asked_for(registry: Registry) -> None:
    registry.is_public = False
    name = registry.push("p/x", "1", {"a": "b"})
    assert read(name, with_credentials=False) == Image(("linux/amd64",), {"a": "b"})
    first, token, second, config = registry.requests
    assert (first, second) == (
        "/v2/p/x/manifests/1",
        "/v2/p/x/manifests/1 Bearer a-token-for-everybody",
    )
    assert token == "/token?service=here&scope=repository%3Ap%2Fx%3Apull"
    assert config.endswith(" Bearer a-token-for-everybody")


def test_a_netrc_changes_no_token(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".netrc").write_text("machine localhost login me password secret\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    registry.is_public = False
    assert read(registry.push("p/x", "1", {})) == Image(("linux/amd64",), {})
    assert not any("Basic" in request for request in registry.requests)


def test_a_registry_that_wants_more_says_what_is_missing(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.is_public = registry.has_tokens = False
    name, host = registry.push("p/x", "1", {}), registry.host
    wants = f"{host} wants credentials (401)"
    assert unanswered(name) == f"{wants}, and only Google's are known here"
    assert unanswered(name, with_credentials=False) == f"{wants}, and --no_auth gives none"

    def none(scopes: object) -> None:
        raise DefaultCredentialsError("none")

    monkeypatch.setattr(image_name, "_GOOGLE", image_name._THIS_MACHINE)
    monkeypatch.setattr(google.auth, "default", none)
    assert unanswered(name) == (
        f"{wants} and none were found: run `gcloud auth application-default login`"
    )


def test_googles_credentials_go_along_and_may_be_refused(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_name, "_GOOGLE", image_name._THIS_MACHINE)
    monkeypatch.setattr(google.auth, "default", lambda scopes: (Credentials("mine"), "project"))
    name = registry.push("p/x", "1", {"a": "b"})
    assert read(name) == Image(("linux/amd64",), {"a": "b"})
    assert all(request.endswith(" Bearer mine") for request in registry.requests)
    registry.answers["/v2/p/x/manifests/1"] = (403, b"{}")
    assert unanswered(name) == f"{registry.host} refuses the account in use (403)"
    registry.requests.clear()
    assert "--no_auth gives none" in unanswered(name, with_credentials=False)
    assert registry.requests == ["/v2/p/x/manifests/1"]


def test_credentials_that_have_expired_are_a_reason(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def expired(*arguments: object) -> None:
        raise RefreshError("Reauthentication is needed")

    monkeypatch.setattr(image_name, "_GOOGLE", image_name._THIS_MACHINE)
    monkeypatch.setattr(google.auth, "default", lambda scopes: (Credentials("old"), None))
    monkeypatch.setattr(Credentials, "before_request", expired)
    assert unanswered(registry.push("p/x", "1", {})) == (
        f"{registry.host}: RefreshError: Reauthentication is needed"
    )


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (429, b"{}", "answered 429"),
        (503, b"", "answered 503"),
        (200, b"<html>log in</html>", "answered with something that describes no image"),
        (200, b"[]", "answered with something that describes no image"),
        (200, b'{"schemaVersion": 1}', "answered with something that describes no image"),
        (200, b'{"config": null}', "answered with something that describes no image"),
    ],
)
def test_an_answer_that_is_none_is_a_reason(
    registry: Registry, status: int, body: bytes, reason: str
) -> None:
    name = registry.push("p/x", "1", {})
    registry.answers["/v2/p/x/manifests/1"] = (status, body)
    assert unanswered(name) == f"{registry.host} {reason}"


def test_a_registry_that_is_gone_or_silent_holds_nobody_up(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, host = registry.push("p/x", "1", {}), registry.host
    monkeypatch.setattr(module, "_WAIT_S", 0.2)
    registry.seconds = 0.5
    started = time.monotonic()
    assert unanswered(name) == f"{host} did not answer within 0.2 s"
    assert time.monotonic() - started < 0.45
    registry.stop()
    monkeypatch.setattr(module, "_WAIT_S", 5.0)
    assert unanswered(name) == f"{host} cannot be reached (Connection refused)"
