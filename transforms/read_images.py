"""read: an image's bytes, in one request."""

import apache_beam as beam
from apache_beam.pvalue import PCollection

from transforms.chunks import CHUNK_BYTES, listed_bytes
from transforms.failures import ImageError
from transforms.metrics import READ_US
from transforms.pooled_map import PooledMap
from transforms.records import Chunk, FetchedImage, Slot
from transforms.storage import Content, storage_for, too_many_bytes

# An object store answers in tens of milliseconds, however fast the machine: many in flight. Two
# bundles at once use all connections of the storage client.
THREADS = 32
# Lists of images that wait, read or not: in order, so the slowest holds up those behind it.
_AHEAD = THREADS
# Together as large as this, or a single larger one.
_AHEAD_BYTES = THREADS * CHUNK_BYTES


def read_image(slot: Slot, max_bytes: int) -> FetchedImage:
    """The bytes of one image, or the reason why there are none; never raises for a bad input."""
    image = slot.image
    if image.failure is not None:
        return FetchedImage(slot, None, image.failure)
    try:
        if image.byte_size is not None and image.byte_size > max_bytes:
            raise too_many_bytes(image.uri, image.byte_size, max_bytes)
        content = storage_for(image.uri).read(image.uri, max_bytes)
    except ImageError as error:
        return FetchedImage(slot, None, error.at("read"))
    return with_content(slot, content)


def with_content(slot: Slot, content: Content) -> FetchedImage:
    """An image whose bytes have come, wherever from; none at all is a failure.

    Size and time are those of one look at the object, so that a later listing finds it unchanged:
    where reading does not tell the time, both are the listing's. The bytes may be more than were
    listed, if they are stored with `Content-Encoding: gzip`.
    """
    image = slot.image
    if content.last_modified is not None or image.byte_size is None:
        image = image._replace(byte_size=len(content.data))
    if content.last_modified is not None:
        image = image._replace(last_modified=content.last_modified)
    slot = slot._replace(image=image)
    if not content.data:
        empty = ImageError("empty", f"{image.uri} has no bytes")
        return FetchedImage(slot, None, empty.at("read"))
    return FetchedImage(slot, content.data, None)


class ReadImages(beam.PTransform):
    """`Slot`s to `FetchedImage`s, many reads in flight."""

    def __init__(self, max_bytes: int) -> None:
        """`max_bytes` is checked before an image is held in memory."""
        super().__init__()
        self._max_bytes = max_bytes

    def expand(self, slots: PCollection[Chunk]) -> PCollection[Chunk]:
        """Reads on a pool of threads."""
        max_bytes = self._max_bytes

        def read(slot: Slot) -> FetchedImage:
            return read_image(slot, max_bytes)

        pool = PooledMap(read, lambda: THREADS, _AHEAD, _listed_bytes, _AHEAD_BYTES, metric=READ_US)
        return slots | beam.ParDo(pool).with_output_types(Chunk)


def _listed_bytes(slot: Slot) -> int:
    return listed_bytes(slot.image)
