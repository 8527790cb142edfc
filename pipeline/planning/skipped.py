"""How many images `--resume` would skip, by the rule of the run, without its shuffle."""

from collections.abc import Iterable
from typing import NamedTuple

from pipeline.planning.hash_sample import HashSample
from transforms.cut_shards import better_known, later
from transforms.earlier_rows import is_current
from transforms.ledger import uri_hash
from transforms.records import EarlierRow, ListedImage
from transforms.storage.uris import tar_member

# Rows are kept for so many distinct URIs of earlier runs, about 130 MB; beyond, for a share.
_MOST_ROWS = 2**18


class Skipped(NamedTuple):
    """Distinct images whose latest row is current."""

    images: int
    members: int  # of the images: those in tars
    is_exact: bool


class EarlierRows:
    """The latest rows of earlier runs, or a share of them by the hashes of their URIs."""

    def __init__(
        self, rows: Iterable[EarlierRow], retry_all_errors: bool, most: int = _MOST_ROWS
    ) -> None:
        """Goes once through `rows`, in any order."""
        self._retry_all_errors = retry_all_errors
        self._rows = HashSample[EarlierRow](most)
        self._listed: dict[int, ListedImage] = {}
        for row in rows:
            digest = uri_hash(row.uri)
            row = row._replace(uri="")  # whose hash is enough from here on
            self._rows.put(digest, later(self._rows.kept.get(digest, row), row))

    def see(self, digest: int, image: ListedImage) -> None:
        """Takes note of an image that is listed, by the hash of its URI."""
        if digest in self._rows.kept:
            self._listed[digest] = better_known(self._listed.get(digest, image), image)

    def skipped(self) -> Skipped:
        """Of the images seen, those that a run would skip."""
        current = [
            image
            for digest, image in self._listed.items()
            if is_current(self._rows.kept[digest], image, self._retry_all_errors)
        ]
        members = sum(tar_member(image.uri) is not None for image in current)
        return Skipped(
            self._rows.scaled(len(current)), self._rows.scaled(members), self._rows.is_exact
        )
