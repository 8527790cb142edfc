"""Makes the photographs that int8 ranges are chosen from: one command, from the repository's root.

    python transforms/models/scripts/make_calibration.py

They are the free ones of tests/data/photos (see its CREDITS.md), made smaller.
"""

from pathlib import Path

from PIL import Image

PHOTOS = Path("tests/data/photos")
TARGET = Path("transforms/models/data/calibration")
SHORT_SIDE = 288  # pixels, enough for crops of 224
QUALITY = 90


def main() -> None:
    """Writes one JPEG for each photograph."""
    TARGET.mkdir(parents=True, exist_ok=True)
    for path in sorted(PHOTOS.iterdir()):
        with Image.open(path) as picture:
            rgb = picture.convert("RGB")
        scale = SHORT_SIDE / min(rgb.size)
        size = (round(rgb.width * scale), round(rgb.height * scale))
        small = rgb.resize(size, Image.Resampling.LANCZOS)
        small.save(TARGET / f"{path.stem}.jpg", quality=QUALITY)


if __name__ == "__main__":
    main()
