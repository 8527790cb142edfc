"""Labels: the names of a model's classes."""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from importlib import resources
from typing import Final, NamedTuple

from transforms.models.label_maps import is_label_map, read_label_map

# The columns of a label file; `wnid` may be missing.
CLASS_INDEX, WNID, LABEL = COLUMNS = ("class_index", "wnid", "label")
FORMS: Final = (
    "give one label a line, the first for class 0; each with its index, `0,cat` or `0 cat`; CSV "
    f'{",".join(COLUMNS)}; JSON ["cat"], {{"0": "cat"}} or {{"cat": 0}}; or a .pbtxt label map'
)

# An index before the name, or behind it. A comma or a colon says that the number is an index;
# after other signs it may be part of the name: "24 carrot cake", "Audi S4 Sedan, 2012".
_SURE: Final = re.compile(r'"?(?P<index>[0-9]+)"?\s*[,;:=\t|]\s*(?P<name>.*)')
_LIKELY: Final = (
    re.compile(r"(?P<index>[0-9]+)(?:[.)]|\s+-)?\s+(?P<name>.+)"),
    re.compile(r"(?P<name>.+?)\s*[,;:=\t|]\s*(?P<index>[0-9]+)"),
    re.compile(r"(?P<name>.+?)\s+(?P<index>[0-9]+)"),
)
_WITH_WNID: Final = re.compile(r'"?(?P<wnid>n[0-9]{8})"?[\s,;:=|]+(?P<name>.+)')


class Label(NamedTuple):
    """One class of a model; `wnid` is its WordNet synset, such as `n01440764`."""

    class_index: int
    wnid: str | None
    name: str


Placed = tuple[str, Label]  # where a label stands, for messages, and the label


def imagenet_labels() -> tuple[Label, ...]:
    """Returns the 1,000 classes of ImageNet (ILSVRC 2012), by class index."""
    file = resources.files("transforms.models") / "data" / "imagenet_labels.csv"
    return read_labels(file.read_text(encoding="utf-8"), file.name)


def read_labels(text: str, source: str) -> tuple[Label, ...]:
    """Reads the labels in the content of a file, ordered by class index.

    Args:
        text: Of one of the `FORMS`; where an index stands beside each name, it counts and not
            the order of the lines.
        source: The file's name, for error messages.

    Raises:
        ValueError: It is of no such form, a label is blank, or the class indices are not 0..n-1,
            each once.
    """
    # Not splitlines(): it also cuts at characters that a label may hold, and so shifts the rest.
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").rstrip()
    if not text:
        raise ValueError(f"{source} is empty: {FORMS}")
    if is_label_map(text.strip()):
        try:
            named = read_label_map(text.strip())
        except ValueError as error:
            raise ValueError(f"{source} {error}: {FORMS}") from error
        return _in_order([(source, Label(*each)) for each in named], source)
    if _has_header(text):
        return _in_order(_read_csv(text, source), source)
    lines = [line.strip() for line in text.split("\n")]
    for number, line in enumerate(lines, start=1):
        if not line:
            raise ValueError(
                f"{source}, line {number} is blank, but line {number} names class {number - 1}: "
                "remove the line or give the label"
            )
    if indexed := _indexed(lines, source):
        return _in_order(indexed, source)
    return tuple(Label(class_index, None, name) for class_index, name in enumerate(lines))


def _indexed(lines: Sequence[str], source: str) -> list[Placed] | None:
    """The labels of lines that begin or end with their index; None where they are names alone."""
    for form in (_SURE, *_LIKELY):
        found = [form.fullmatch(line) for line in lines]
        indexed = [match for match in found if match is not None]
        if form is _SURE and len(lines) / 2 <= len(indexed) < len(lines):
            number = found.index(None) + 1
            raise ValueError(
                f"{source}, line {number} has no class index, but {len(indexed)} other lines begin "
                f"with one: {FORMS}"
            )
        if len(indexed) == len(lines) and (form is _SURE or _are_indices(indexed)):
            return [
                (f"{source}, line {number}", _label_of(match))
                for number, match in enumerate(indexed, start=1)
            ]
    return None


def _are_indices(matches: Sequence[re.Match[str]]) -> bool:
    """Whether numbers that may be part of the names count the classes.

    They do if half of 0..n-1 are there, 0 among them, or they are 1..n; and if most names differ
    without them, which those of "level 0", "level 1" do not.
    """
    count = len(matches)
    numbers = {int(match["index"]) for match in matches}
    are_indices = 0 in numbers and 2 * len(numbers & {*range(count)}) >= count
    are_named = 2 * len({match["name"] for match in matches}) > count
    return are_named and (are_indices or numbers == {*range(1, count + 1)})


def _label_of(match: re.Match[str]) -> Label:
    index, name = int(match["index"]), match["name"]
    synset = _WITH_WNID.fullmatch(name)
    if synset:
        name = synset["name"]
    if len(name) > 1 and name[0] == name[-1] == '"':
        name = name[1:-1].replace('""', '"')
    return Label(index, synset["wnid"] if synset else None, name.strip())


def _has_header(text: str) -> bool:
    """Tells whether the first line names a column, with whatever separator."""
    first_line = text.split("\n", 1)[0]
    return not set(COLUMNS).isdisjoint(_names(re.split("[,;\t]", first_line)))


def _names(fields: list[str]) -> list[str]:
    return [field.strip(' "').lower() for field in fields]


def _read_csv(text: str, source: str) -> list[Placed]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    labels = []
    try:
        header = _names(next(reader))
        _check_header(header, source)
        for fields in filter(None, reader):
            place = f"{source}, line {reader.line_num}"
            labels.append((place, _label(header, fields, place)))
    except csv.Error as error:
        raise ValueError(
            f"{source}, line {reader.line_num} is not valid CSV ({error}): "
            'put labels with commas or quotes in double quotes and write " as ""'
        ) from error
    return labels


def _check_header(header: list[str], source: str) -> None:
    for column in (CLASS_INDEX, LABEL):
        if column not in header:
            raise ValueError(
                f"{source} has no column {column!r} in its header {','.join(header)!r}: "
                f"name the columns {','.join(COLUMNS)}, separated by commas"
            )


def _label(header: list[str], fields: list[str], place: str) -> Label:
    if len(fields) != len(header):
        raise ValueError(
            f"{place} has {len(fields)} fields for the {len(header)} columns of the header: "
            "fill in every column and put labels with commas in double quotes"
        )
    row = {column: field.strip() for column, field in zip(header, fields, strict=True)}
    if not re.fullmatch("[0-9]+", row[CLASS_INDEX]):
        raise ValueError(
            f"{place} has class_index {row[CLASS_INDEX]!r}: write a whole number, counting from 0"
        )
    return Label(int(row[CLASS_INDEX]), row.get(WNID) or None, row[LABEL])


def _in_order(placed: Iterable[Placed], source: str) -> tuple[Label, ...]:
    """The labels by class index; ValueError unless the indices are 0..n-1, each once."""
    labels: dict[int, Label] = {}
    for place, label in placed:
        if not label.name.strip():
            raise ValueError(f"{place} has no label for class {label.class_index}: give one")
        earlier = labels.setdefault(label.class_index, label)
        if earlier is not label:
            raise ValueError(
                f"{place} gives class_index {label.class_index} a second time "
                f"({earlier.name!r}, {label.name!r}): give every class one row"
            )
    count = len(labels)
    if not labels:
        raise ValueError(f"{source} has no classes: give every class one row")
    if set(labels) == {*range(1, count + 1)}:
        raise ValueError(
            f"{source} counts its {count} classes from 1: number them 0 to {count - 1}"
        )
    for class_index in range(count):
        if class_index not in labels:
            raise ValueError(
                f"{source} has no row for class_index {class_index}, but one for "
                f"{max(labels)}: number its {count} classes 0 to {count - 1}"
            )
    return tuple(labels[class_index] for class_index in range(count))
