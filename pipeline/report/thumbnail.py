"""A thumbnail of an image as it is now, with the crop that the network saw."""

import io
from typing import Final, NamedTuple

from PIL import Image

from transforms.decode_images import Preprocessing, decode_image
from transforms.failures import ImageError, printable
from transforms.storage import storage_for

_JPEG_QUALITY: Final = 78


class Recorded(NamedTuple):
    """An image as its row has it; size in bytes, time in microseconds (UTC), None if unknown."""

    uri: str
    byte_size: int | None
    last_modified: int | None


class Thumbnail(NamedTuple):
    """A square JPEG, or why there is none; `is_changed` since the row was written."""

    jpeg: bytes | None
    problem: str | None
    is_changed: bool


def make_thumbnail(image: Recorded, preprocessing: Preprocessing, max_bytes: int) -> Thumbnail:
    """Reads and decodes under the limits of a run; an error becomes the reason in `Thumbnail`."""
    try:
        content = storage_for(image.uri).read(image.uri, max_bytes)
        is_changed = image.byte_size not in (None, len(content.data)) or (
            None not in (image.last_modified, content.last_modified)
            and image.last_modified != content.last_modified
        )
        picture = decode_image(content.data, preprocessing)
    except ImageError as error:
        return Thumbnail(None, printable(f"{error.error}: {error}"), error.error == "not_found")
    file = io.BytesIO()
    Image.fromarray(picture.pixels).save(file, "JPEG", quality=_JPEG_QUALITY, optimize=True)
    return Thumbnail(file.getvalue(), None, is_changed)
