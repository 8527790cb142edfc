"""ICC profiles of a matrix and a curve, byte by byte, after ICC.1:2010."""

import struct
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Primaries = tuple[tuple[float, float], tuple[float, float], tuple[float, float]]
# CIE xy of red, green and blue.
SRGB: Primaries = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
DISPLAY_P3: Primaries = ((0.68, 0.32), (0.265, 0.69), (0.15, 0.06))
ADOBE_RGB: Primaries = ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06))
PROPHOTO: Primaries = ((0.7347, 0.2653), (0.1596, 0.8404), (0.0366, 0.0001))
D65, D50 = (0.3127, 0.3290), (0.3457, 0.3585)
_D50_XYZ = np.array([0.9642, 1.0, 0.8249])
_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)


def to_xyz(primaries: Primaries, white: tuple[float, float]) -> NDArray[np.float64]:
    """The matrix from linear RGB to XYZ under D50, [3, 3]."""
    columns = np.array([[x / y, 1, (1 - x - y) / y] for x, y in primaries]).T
    white_xyz = np.array([white[0] / white[1], 1, (1 - white[0] - white[1]) / white[1]])
    scaled = columns * np.linalg.solve(columns, white_xyz)
    gains = np.diag((_BRADFORD @ _D50_XYZ) / (_BRADFORD @ white_xyz))
    adapted: NDArray[np.float64] = np.linalg.inv(_BRADFORD) @ gains @ _BRADFORD @ scaled
    return adapted


def rgb_profile(primaries: Primaries, white: tuple[float, float], gamma: float) -> bytes:
    """A profile for RGB whose curve is a power, or sRGB's where `gamma` is 0."""
    columns = dict(zip((b"rXYZ", b"gXYZ", b"bXYZ"), to_xyz(primaries, white).T, strict=True))
    curves = dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), _curve(gamma))
    return _profile(b"RGB ", {name: _xyz(*value) for name, value in columns.items()} | curves)


def grey_profile(gamma: float) -> bytes:
    """A profile for grey whose curve is a power."""
    return _profile(b"GRAY", {b"kTRC": _curve(gamma)})


def _fixed(*values: float) -> bytes:
    return b"".join(struct.pack(">i", round(value * 65536)) for value in values)


def _xyz(*values: float) -> bytes:
    return b"XYZ " + bytes(4) + _fixed(*values)


def _curve(gamma: float) -> bytes:
    if gamma:
        return b"para" + bytes(8) + _fixed(gamma)
    return (
        b"para" + bytes(4) + b"\0\3\0\0" + _fixed(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
    )


def _profile(space: bytes, tags: Mapping[bytes, bytes]) -> bytes:
    text = struct.pack(">I", 5) + b"test\0" + bytes(78)
    tags = {b"wtpt": _xyz(*_D50_XYZ), b"desc": b"desc" + bytes(4) + text, **tags}
    table, values, start = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
    for name, value in tags.items():
        table += struct.pack(">4sII", name, start + len(values), len(value))
        values += value + bytes(-len(value) % 4)
    head = struct.pack(
        ">I4xI4s4s4s12x4s", start + len(values), 0x02400000, b"mntr", space, b"XYZ ", b"acsp"
    )
    return head.ljust(68, b"\0") + _fixed(*_D50_XYZ) + bytes(48) + table + values
