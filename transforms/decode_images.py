"""decode: from the bytes of an image file to the pixels a network takes."""

from typing import Final

import apache_beam as beam
from apache_beam.pvalue import PCollection

from transforms.cores import available_cores
from transforms.decoding.decode_image import (
    Picture,
    Preprocessing,
    decode_opened,
    open_for_decoding,
)
from transforms.decoding.decoding_cost import decoding_cost, is_of_unknown_cost
from transforms.decoding.formats import name_format
from transforms.decoding.guarded_decoder import GuardedDecoder
from transforms.decoding.memory_budget import MemoryBudget
from transforms.failures import ImageError, too_much_memory
from transforms.metrics import DECODE_US
from transforms.pooled_map import PooledMap
from transforms.records import Chunk, DecodedImage, FetchedImage

__all__ = ["DecodeImages", "Picture", "Preprocessing", "decode_image"]

# What all images that are decoded at one time may take: nearly any of 180 megapixels is one.
_MEMORY: Final = 900_000_000
_PIXEL_BYTES: Final = 5
# So little that a thread for each core may take it unasked: a JPEG of any size, as a rule.
SMALL_MEMORY: Final = 60_000_000
# An image that takes more, or of which no header tells, is decoded in a process apart, where both
# can be enforced.
GUARDED_MEMORY: Final = 160_000_000
_GUARDED_SECONDS: Final = 1.5
# Lists of images that wait for the network, decoded or not, beside one for each thread.
_AHEAD: Final = 2
# Files that wait to be decoded; a single larger one goes through alone.
_AHEAD_BYTES: Final = 64_000_000

_budget = MemoryBudget()
_guarded = GuardedDecoder(_budget)


def decode_image(content: bytes, preprocessing: Preprocessing) -> Picture:
    """Decodes the first frame, turns it upright, lays it on white, cuts and resizes it.

    `resize="keras"` gives the pixels of `keras.utils.load_img(target_size=...)` instead.

    Raises:
        ImageError: not_an_image, unsupported_format, truncated, corrupt, too_many_pixels or
            too_slow.
    """
    most = max(_MEMORY, _PIXEL_BYTES * preprocessing.max_pixels)
    if is_of_unknown_cost(content):
        what = f"{name_format(content)} of {len(content):,} bytes"
        return _guarded.decode(content, preprocessing, GUARDED_MEMORY, most, what)
    opened = open_for_decoding(content, preprocessing)
    cost = decoding_cost(opened.image, opened.stripped, opened.width * opened.height)
    if cost.memory <= SMALL_MEMORY and cost.seconds <= _GUARDED_SECONDS:
        return decode_opened(opened, preprocessing)
    if cost.memory <= GUARDED_MEMORY and cost.seconds <= _GUARDED_SECONDS:
        with _budget.take(cost.memory, most):
            return decode_opened(opened, preprocessing)
    what = f"{opened.format} of {opened.width} x {opened.height} pixels"
    if cost.memory > most:
        raise too_much_memory(what, cost.memory, most)
    del opened  # with its copy of the content
    return _guarded.decode(content, preprocessing, cost.memory, most, what)


def decode_fetched(fetched: FetchedImage, preprocessing: Preprocessing) -> DecodedImage:
    """`decode_image` for one record; a failure, earlier or of its own, is in the record."""
    slot = fetched.slot
    if fetched.content is None:
        return DecodedImage(slot, None, None, None, None, fetched.failure)
    try:
        picture = decode_image(fetched.content, preprocessing)
    except ImageError as error:
        failure = error.at("decode")
        return DecodedImage(slot, None, None, None, name_format(fetched.content), failure)
    return DecodedImage(
        slot, picture.pixels, picture.width, picture.height, picture.format, failure=None
    )


class DecodeImages(beam.PTransform):
    """`FetchedImage`s to `DecodedImage`s, on a thread for each core."""

    def __init__(self, preprocessing: Preprocessing) -> None:
        """`preprocessing` is the same for every image."""
        super().__init__()
        self._preprocessing = preprocessing

    def expand(self, fetched: PCollection[Chunk]) -> PCollection[Chunk]:
        """Decodes ahead of the classification."""
        preprocessing = self._preprocessing

        def decode(image: FetchedImage) -> DecodedImage:
            return decode_fetched(image, preprocessing)

        pool = PooledMap(
            decode, available_cores, _AHEAD, _fetched_bytes, _AHEAD_BYTES, metric=DECODE_US
        )
        return fetched | beam.ParDo(pool).with_output_types(Chunk)


def _fetched_bytes(fetched: FetchedImage) -> int:
    return len(fetched.content or b"")
