"""How often a run fetches something: an image by itself is one GET, a tar one each time."""

import math
from collections.abc import Iterable
from typing import NamedTuple

from pipeline.planning.survey import Survey
from transforms.records import ListedImage
from transforms.storage.uris import container_of


class Fetches(NamedTuple):
    """GETs of a run by what they are for; a tar comes whole."""

    images: int  # by themselves
    tars_to_list: int
    tars_to_read: int
    earlier_parts: int  # files with rows of earlier runs, for --resume

    @property
    def gets(self) -> int:
        """All of them."""
        return sum(self)

    def an_image(self, images: int) -> float:
        """Those to read one of so many images in the mean; 1 without tars."""
        return max(self.images + self.tars_to_read, 1) / images if images else 1.0


def fetches_for(surveyed: Survey, shard_size: int, earlier_parts: int) -> Fetches:
    """What the run fetches; of tars with images to be skipped, as large a share as of these."""
    tars, members = surveyed.tars, surveyed.due_members
    read = math.ceil(tars.read * members / tars.members) if members else 0
    return Fetches(
        surveyed.due - members,
        tars.listed,
        tars_to_read(members, read, shard_size),
        earlier_parts,
    )


def tars_to_read(members: int, tars: int, shard_size: int) -> int:
    """How often tars with so many images in all are fetched: once for each shard that has some.

    Shards may all be on different workers. The images of a tar lie side by side in the order that
    shards are cut from, so that every `shard_size`-th pair of neighbours is cut.
    """
    return round(tars + max(members - tars, 0) / shard_size)


def count_objects(images: Iterable[ListedImage]) -> int:
    """Objects that these are read from: images by themselves, and tars with any number of them."""
    return len({container_of(image.uri) for image in images})
