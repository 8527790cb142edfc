"""What the data passes through, from the path of an image to its row."""

__version__ = "0.1.0"
