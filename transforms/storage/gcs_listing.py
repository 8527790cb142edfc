"""Objects of Cloud Storage by name, from JSON as it came: the client takes any for an answer."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from typing import Any, Final
from urllib.parse import quote

from google.api_core import exceptions as api

from transforms.records import ListedImage
from transforms.storage.gcs_errors import WrongAnswerError

_OBJECT_FIELDS: Final = "name,size,timeCreated"
_LISTING_FIELDS: Final = f"kind,items({_OBJECT_FIELDS}),nextPageToken"
_LISTING_KEYS: Final = {"kind", "items", "nextPageToken"}  # an empty listing has the first alone
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)


def find_object(bucket: Any, name: str, **options: Any) -> ListedImage | None:
    """The object of this name, if there is one, in one request."""
    try:
        item = _get(bucket, f"/{quote(name, safe='')}", _OBJECT_FIELDS, **options)
    except api.NotFound:
        return None
    with _expected_answer():
        return _listed(bucket.name, item)


def list_page(
    bucket: Any, prefix: str, token: str | None, **options: Any
) -> tuple[list[tuple[str, ListedImage]], str | None]:
    """Objects whose names begin with `prefix`, each with its name, and the next page's token."""
    query = {"prefix": prefix} | ({"pageToken": token} if token else {})
    page = _get(bucket, "", _LISTING_FIELDS, query, **options)
    with _expected_answer():
        if not page.keys() & _LISTING_KEYS:
            raise LookupError(f"{_LISTING_KEYS} are all missing")
        found = [(item["name"], _listed(bucket.name, item)) for item in page.get("items", ())]
        return found, page.get("nextPageToken")


def _get(
    bucket: Any,
    path: str,
    fields: str,
    query: dict[str, str] | None = None,
    **options: Any,
) -> Any:
    payer = {"userProject": bucket.user_project} if bucket.user_project else {}
    query = {"fields": fields} | payer | (query or {})
    request = bucket.client._connection.api_request
    return request("GET", f"{bucket.path}/o{path}", query_params=query, **options)


def _listed(bucket: str, item: dict[str, str]) -> ListedImage:
    """An object with the time when its content was stored: `updated` moves with its metadata."""
    created = datetime.fromisoformat(item["timeCreated"].replace("Z", "+00:00"))
    microseconds = (created - _EPOCH) // timedelta(microseconds=1)
    return ListedImage(f"gs://{bucket}/{item['name']}", int(item["size"]), microseconds)


@contextmanager
def _expected_answer() -> Iterator[None]:
    """What lacks the fields that every answer has is none of Cloud Storage's."""
    try:
        yield
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise WrongAnswerError() from error
