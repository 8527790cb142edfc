"""What a person runs."""

from transforms import __version__ as __version__
