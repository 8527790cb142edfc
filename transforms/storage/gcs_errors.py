"""What goes wrong with Cloud Storage: which error may pass, which reason it is, and its words."""

import contextlib
import http.client
import json
import re
import zlib
from typing import Final, Literal

import google.auth.exceptions
import requests
import urllib3
from google.api_core import exceptions as api
from google.cloud.storage.exceptions import DataCorruption

from transforms.storage.base import NotReplacedError

# Everything that asking Cloud Storage raises, apart from ValueError for impossible names.
FAULTS: Final = (
    api.GoogleAPICallError,
    google.auth.exceptions.GoogleAuthError,
    http.client.HTTPException,
    urllib3.exceptions.HTTPError,
    DataCorruption,
    OSError,  # what `requests` raises is one
)
Reason = Literal["not_found", "permission_denied", "unreadable"]

# What an anonymous client makes of 401: it has no credentials that it could renew.
NoCredentials: Final = google.auth.exceptions.InvalidOperation

# Of 4xx these may pass: a token that is being renewed, too many requests, a timeout.
_PASSING_CODES: Final = (401, 407, 408, 421, 425, 429)
_OVER_QUOTA: Final = re.compile(
    r"exceed\w* .{0,60}(quota|limit)|(quota|limit) ?exceed", re.IGNORECASE | re.DOTALL
)
_UNREACHABLE: Final = (requests.ConnectionError, google.auth.exceptions.TransportError)
# What a role lacks that may create objects but not replace them.
_MAY_NOT_REPLACE: Final = "storage.objects.delete"
_LONGEST_ANSWER: Final = 100_000
_LOGIN: Final = "run `gcloud auth application-default login`"
# Refusals by what the storage says of them, in words for whoever reads the row.
_REFUSALS: Final = (
    (
        re.compile(r"customer-?supplied.encryption|customerencryptionkey", re.IGNORECASE),
        "is encrypted with a key that only its owner has (CSEK): Cloud Storage gives it to nobody "
        "without that key",
    ),
    (
        re.compile(r"requester.?pays|userprojectmissing", re.IGNORECASE),
        "is in a bucket where the reader pays: name the project that pays with --billing-project "
        "or in GOOGLE_CLOUD_QUOTA_PROJECT",
    ),
)


class WrongAnswerError(OSError):
    """An answer that does not come from Cloud Storage, such as the page of a proxy."""

    def __init__(self, what: str = "the answer is none of Cloud Storage's") -> None:
        """`what` came instead."""
        super().__init__(f"{what}; a proxy may have given it")


def may_pass(error: Exception) -> bool:
    """Whether the same request may succeed later."""
    if isinstance(error, api.GoogleAPICallError):
        code = error.code or 500
        is_over_quota = code == 403 and _OVER_QUOTA.search(_text(error)) is not None
        return not 400 <= code < 500 or code in _PASSING_CODES or is_over_quota
    if isinstance(error, google.auth.exceptions.GoogleAuthError):
        # A token that the metadata server fails to give is a RefreshError from a TransportError.
        transport = google.auth.exceptions.TransportError
        return (
            error.retryable
            or isinstance(error, transport)
            or isinstance(error.__cause__, transport)
        )
    return isinstance(
        error,
        (
            WrongAnswerError,
            DataCorruption,
            requests.RequestException,
            urllib3.exceptions.HTTPError,
            http.client.HTTPException,
            ConnectionError,
            TimeoutError,
        ),
    )


def reason_of(error: Exception) -> Reason:
    """The reason of the row, or the kind of OSError."""
    if isinstance(error, api.GoogleAPICallError):
        if error.code in (404, 410):
            return "not_found"
        return "unreadable" if may_pass(error) else "permission_denied"
    if isinstance(error, NoCredentials):
        return "permission_denied"
    return "unreadable" if isinstance(error, FAULTS) else "not_found"


def explained(uri: str, error: Exception, has_credentials: bool) -> str:
    """One sentence that names the URI, the cause and what helps."""
    if reason_of(error) == "not_found":
        if isinstance(error, ValueError):
            return f"{uri} cannot be the name of an object: {error}"
        return f"{uri} does not exist"
    if isinstance(error, NoCredentials):
        return f"{uri} is not public and no credentials were found: {_LOGIN}"
    if isinstance(error, _UNREACHABLE):
        return (
            f"{uri}: Cloud Storage cannot be reached ({_root_cause(error)}); check the network, "
            f"and if the bucket is not public {_LOGIN}"
        )
    if isinstance(error, WrongAnswerError):
        return f"{uri}: {error}"
    if isinstance(error, DataCorruption):
        return f"{uri}: other bytes came than those stored: their checksum differs"
    if not isinstance(error, api.GoogleAPICallError):
        return f"{uri}: {type(error).__name__}: {error}"
    if reason_of(error) == "unreadable":
        return f"{uri}: Cloud Storage answers {error.code} {_words(error)}".rstrip()
    for said, plain in _REFUSALS:
        if said.search(_text(error)):
            return f"{uri} {plain}"
    hint = "" if has_credentials else f"; no credentials were found: {_LOGIN}"
    return f"{uri}: Cloud Storage refuses it: {error.code} {_words(error)}{hint}"


def is_there(error: Exception) -> bool:
    """Whether a write is refused because it would replace an object."""
    return isinstance(error, api.Forbidden) and _MAY_NOT_REPLACE in _text(error)


def os_error(uri: str, error: Exception, has_credentials: bool) -> OSError:
    """The error as Python's own kind, its message `explained`."""
    kinds: dict[Reason, type[OSError]] = {
        "not_found": FileNotFoundError,
        "permission_denied": PermissionError,
        "unreadable": OSError,
    }
    if isinstance(error, api.PreconditionFailed):
        return FileExistsError(f"{uri} is there already")
    kind = NotReplacedError if is_there(error) else kinds[reason_of(error)]
    return kind(explained(uri, error, has_credentials))


def _words(error: api.GoogleAPICallError) -> str:
    """The message in an answer, in one line without markup; else what the status code means."""
    text = _text(error)
    try:
        text = str(json.loads(text)["error"]["message"])
    except (ValueError, LookupError, TypeError):
        text = re.sub(r"(?s)<(style|script).*?</\1>|<[^>]*>", " ", text)
    return " ".join(text.split()) or http.client.responses.get(error.code or 0, "")


def _text(error: api.GoogleAPICallError) -> str:
    """The whole answer: JSON, XML or HTML."""
    content = b"" if error.response is None else error.response.content
    if content.startswith(b"\x1f\x8b"):  # asked for as it is stored, it is not unpacked
        with contextlib.suppress(zlib.error):
            content = zlib.decompressobj(31).decompress(content, _LONGEST_ANSWER)
    return str(content.decode("utf-8", "replace"))


def _root_cause(error: BaseException) -> str:
    """What the system said, without the layers of clients that it came through."""
    while deeper := error.__cause__ or error.__context__:
        error = deeper
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
