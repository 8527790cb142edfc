"""From a shard to the lists of images that go through the fused stage."""

from collections.abc import Iterator
from typing import Final

from transforms.records import Chunk, ListedImage, Shard, Slot

# One thread reads, and one decodes, a list: the more images, the less Python for each, and the
# longer the first of them wait for the last. Large ones go alone.
CHUNK_IMAGES: Final = 16
CHUNK_BYTES: Final = 2_000_000
# A size that the listing does not know is taken for that of a large photograph.
_USUAL_BYTES: Final = 4_000_000


def chunks(shard: Shard, ledger: str) -> Iterator[Chunk]:
    """A shard's images in order, each with its place; `ledger` is the file that counts them.

    The name is not used: whoever waits for it starts when that file is on disk.
    """
    size = len(shard.images)
    chunk: Chunk = Chunk()
    chunk_bytes = 0
    for image in shard.images:
        image_bytes = listed_bytes(image)
        if chunk and (len(chunk) == CHUNK_IMAGES or chunk_bytes + image_bytes > CHUNK_BYTES):
            yield chunk
            chunk, chunk_bytes = Chunk(), 0
        chunk.append(Slot(shard.name, size, image))
        chunk_bytes += image_bytes
    if chunk:
        yield chunk


def listed_bytes(image: ListedImage) -> int:
    """How many bytes reading an image is expected to bring."""
    return _USUAL_BYTES if image.byte_size is None else image.byte_size
