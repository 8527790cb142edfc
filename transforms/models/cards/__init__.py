"""Model cards: where each network comes from, under which licence, and how good it is."""

import re
from importlib import resources
from typing import Final, NamedTuple

from transforms.models.zoo import ARCHITECTURES, CHECKSUMS

_FENCE: Final = "---\n"
# The names of v1 in the column `model` differ from its name on the command line.
_FAMILIES: Final = {"mobilenet_v1": "mobilenet"}
# Such as mobilenet_v1_0.25_224_int8: alpha, image size and precision follow the family's name.
_NAME: Final = re.compile(r"(\w+?)(?:_[0-9.]+_[0-9]+)?(?:_int8|_float16|_bfloat16)?")


class WeightHash(NamedTuple):
    """A weight file's checksum; `zoo.CHECKSUMS` says where it is from."""

    file_name: str
    algorithm: str
    digest: str


class ModelCard(NamedTuple):
    """A card as it stands in `cards/<model>.md`; `text` is plain paragraphs."""

    model: str
    title: str
    architecture: str
    size: str
    paper: str
    source: str
    licence: str
    authors: str
    data: str
    accuracy: str
    measured: str
    hashes: tuple[WeightHash, ...]
    text: tuple[str, ...]


def model_card(name: str) -> ModelCard | None:
    """The card of a network by its `--model`, or by a name such as `mobilenet_v1_0.25_224_int8`.

    None for a user's own model, which has no card here.
    """
    found = _NAME.fullmatch(name)
    family = found[1] if found else name
    model = _FAMILIES.get(family, family)
    return _read_card(model) if model in ARCHITECTURES else None


def _read_card(model: str) -> ModelCard:
    text = (resources.files(__package__) / f"{model}.md").read_text(encoding="utf-8")
    _, head, body = text.split(_FENCE, 2)
    facts = dict(line.split(": ", 1) for line in head.splitlines())
    packaged = facts.pop("sha256", None)
    weights = ARCHITECTURES[model].packaged_weights
    hashes = [WeightHash(weights.name, "sha256", packaged)] if weights and packaged else []
    hashes += [WeightHash(name, *CHECKSUMS[name]) for name in _published(model)]
    paragraphs = tuple(" ".join(part.split()) for part in body.strip().split("\n\n"))
    return ModelCard(model=model, hashes=tuple(hashes), text=paragraphs, **facts)


def _published(model: str) -> list[str]:
    """The published weight files of a model whose checksum is known."""
    entry = ARCHITECTURES[model]
    if entry.weights_file is None:
        return []
    names = [entry.weights_file(a, size) for a in entry.alphas for size in entry.image_sizes]
    return [name for name in names if name in CHECKSUMS]
