"""What a registry tells of an image, without pulling it: the OCI distribution API."""

from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from threading import Thread
from typing import Any, Final, NamedTuple

import google.auth
import google.auth.exceptions
import requests
from google.auth.transport.requests import AuthorizedSession
from requests.utils import parse_dict_header

from pipeline.image_name import ImageName
from transforms.storage.gcs import root_cause, set_client_environment

_WAIT_S: Final = 5.0  # a person does, until all is asked and answered

_SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"
_ACCEPTED: Final = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)


class NoSuchImageError(Exception):
    """The registry has no such image."""


class UnansweredError(Exception):
    """The registry cannot be asked; the message says why and goes on from `was not checked:`."""


class Image(NamedTuple):
    """The platforms there are of an image, such as `linux/amd64`, and the labels of one."""

    platforms: tuple[str, ...]
    labels: dict[str, str]


def read_image(name: ImageName, platform: str, with_credentials: bool) -> Image:
    """Asks the registry for an image, within five seconds.

    Labels are those of `platform`, none if there is no image for it.

    Args:
        name: the image.
        platform: such as `linux/amd64`.
        with_credentials: whether Google's registries get those of this machine, if there are any.

    Raises:
        NoSuchImageError: there is none of this name.
        UnansweredError: it cannot be asked, or did not answer in time.
    """
    answer: Future[Image] = Future()

    def ask() -> None:
        try:
            answer.set_result(_ask(name, platform, with_credentials))
        except Exception as error:
            answer.set_exception(error)

    # Looking up names and credentials takes no timeout: the thread is left to itself instead.
    Thread(target=ask, daemon=True).start()
    try:
        return answer.result(_WAIT_S)
    except FutureTimeoutError as error:
        raise UnansweredError(f"{name.host} did not answer within {_WAIT_S:g} s") from error


def _ask(name: ImageName, platform: str, with_credentials: bool) -> Image:
    try:
        with _session(name, with_credentials) as session:
            return _image(_Registry(name, session, with_credentials), name.reference, platform)
    except (requests.JSONDecodeError, LookupError, TypeError, AttributeError) as error:
        what = f"{name.host} answered with something that describes no image"
        raise UnansweredError(what) from error
    except (requests.ConnectionError, google.auth.exceptions.TransportError) as error:
        why = f"{name.host} cannot be reached ({root_cause(error)})"
        raise UnansweredError(why) from error
    # All other errors of `requests` are the first of these.
    except (OSError, google.auth.exceptions.GoogleAuthError) as error:
        raise UnansweredError(f"{name.host}: {type(error).__name__}: {error}") from error


def _session(name: ImageName, with_credentials: bool) -> requests.Session:
    """One with this machine's credentials, if they are for this registry and there are any."""
    session = requests.Session()
    if name.is_google and with_credentials:
        set_client_environment()
        # Without any, public images still are there.
        with suppress(google.auth.exceptions.DefaultCredentialsError):
            credentials, _ = google.auth.default(scopes=[_SCOPE])
            session = AuthorizedSession(credentials)
    session.auth = _nothing_more
    return session


def _nothing_more(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Else `requests` puts what it finds in a .netrc in place of the token."""
    return request


class _Registry:
    """Answers of one registry about one image."""

    def __init__(self, name: ImageName, session: requests.Session, with_credentials: bool) -> None:
        self._name, self._session, self._with_credentials = name, session, with_credentials
        self._token: dict[str, str] = {}

    def manifest(self, reference: str) -> Any:
        """What an image, or a list of images, consists of."""
        return self._json(f"{self._name.root}/manifests/{reference}")

    def blob(self, digest: str) -> Any:
        """One of its parts that is JSON."""
        return self._json(f"{self._name.root}/blobs/{digest}")

    def _json(self, url: str) -> Any:
        response = self._get(url)
        challenge = response.headers.get("WWW-Authenticate", "")
        if response.status_code == 401 and not isinstance(self._session, AuthorizedSession):
            self._token = self._anonymous_token(challenge)
            response = self._get(url) if self._token else response
        if response.status_code == 404:
            raise NoSuchImageError(url)
        if response.status_code in (401, 403):
            raise UnansweredError(self._refusal(response.status_code))
        if response.status_code != 200:
            raise UnansweredError(f"{self._name.host} answered {response.status_code}")
        return response.json()

    def _get(self, url: str) -> requests.Response:
        headers = {"Accept": _ACCEPTED, **self._token}
        return self._session.get(url, headers=headers, timeout=2 * _WAIT_S)

    def _anonymous_token(self, challenge: str) -> dict[str, str]:
        """What the service that the registry names gives to everybody, or nothing."""
        scheme, _, rest = challenge.partition(" ")
        said = parse_dict_header(rest)
        if scheme.lower() != "bearer" or not said.get("realm"):
            return {}
        asked = {key: value for key, value in said.items() if key in ("service", "scope")}
        response = self._session.get(str(said["realm"]), params=asked, timeout=2 * _WAIT_S)
        if response.status_code != 200:
            return {}
        answer = response.json()
        return {"Authorization": f"Bearer {answer.get('token') or answer['access_token']}"}

    def _refusal(self, status: int) -> str:
        host = self._name.host
        if isinstance(self._session, AuthorizedSession):
            return f"{host} refuses the account in use ({status})"
        if not self._with_credentials:
            return f"{host} wants credentials ({status}), and --no_auth gives none"
        if not self._name.is_google:
            return f"{host} wants credentials ({status}), and only Google's are known here"
        return (
            f"{host} wants credentials ({status}) and none were found: "
            f"run `gcloud auth application-default login`"
        )


def _image(registry: _Registry, reference: str, platform: str) -> Image:
    manifest = registry.manifest(reference)
    platforms: tuple[str, ...] = ()
    if "manifests" in manifest:  # of an image for each platform, and of what is said about them
        images = [each for each in manifest["manifests"] if "platform" in each]
        digests = {_platform(each["platform"]): each["digest"] for each in images}
        digests.pop("unknown/unknown", None)
        platforms = tuple(digests)
        if platform not in digests:
            return Image(platforms, {})
        manifest = registry.manifest(digests[platform])
    config = registry.blob(manifest["config"]["digest"])
    labels = config.get("config", {}).get("Labels") or {}
    return Image(platforms or (_platform(config),), dict(labels))


def _platform(described: dict[str, str]) -> str:
    return f"{described['os']}/{described['architecture']}"
