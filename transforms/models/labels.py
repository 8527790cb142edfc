"""Labels: the names of a model's classes."""

import csv
import io
import re
from importlib import resources
from typing import NamedTuple

# The columns of a label file; `wnid` may be missing.
CLASS_INDEX, WNID, LABEL = COLUMNS = ("class_index", "wnid", "label")


class Label(NamedTuple):
    """One class of a model; `wnid` is its WordNet synset, such as `n01440764`."""

    class_index: int
    wnid: str | None
    name: str


def imagenet_labels() -> tuple[Label, ...]:
    """Returns the 1,000 classes of ImageNet (ILSVRC 2012), by class index."""
    file = resources.files("transforms.models") / "data" / "imagenet_labels.csv"
    return read_labels(file.read_text(encoding="utf-8"), file.name)


def read_labels(text: str, source: str) -> tuple[Label, ...]:
    """Reads the labels in the content of a file, ordered by class index.

    Args:
        text: One label a line, the first being class 0, or CSV with the header
            `class_index,wnid,label`, the rows in any order and `wnid` optional.
        source: The file's name, for error messages.

    Raises:
        ValueError: There is no label, one is blank, the CSV lacks a column or is malformed, or
            its class indices are not 0..n-1, each once.
    """
    # Not splitlines(): it also cuts at characters that a label may hold, and so shifts the rest.
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").rstrip()
    if not text:
        raise ValueError(f"{source} is empty: give one label a line, or CSV {','.join(COLUMNS)}")
    return _read_csv(text, source) if _has_header(text) else _read_lines(text, source)


def _has_header(text: str) -> bool:
    """Tells whether the first line names a column, with whatever separator."""
    first_line = text.split("\n", 1)[0]
    return not set(COLUMNS).isdisjoint(_names(re.split("[,;\t]", first_line)))


def _names(fields: list[str]) -> list[str]:
    return [field.strip(' "').lower() for field in fields]


def _read_lines(text: str, source: str) -> tuple[Label, ...]:
    names = [line.strip() for line in text.split("\n")]
    for line, name in enumerate(names, start=1):
        if not name:
            raise ValueError(
                f"{source}, line {line} is blank, but line {line} names class {line - 1}: "
                "remove the line or give the label"
            )
    return tuple(Label(class_index, None, name) for class_index, name in enumerate(names))


def _read_csv(text: str, source: str) -> tuple[Label, ...]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    labels: dict[int, Label] = {}
    try:
        header = _names(next(reader))
        _check_header(header, source)
        for fields in filter(None, reader):
            place = f"{source}, line {reader.line_num}"
            label = _label(header, fields, place)
            earlier = labels.setdefault(label.class_index, label)
            if earlier is not label:
                raise ValueError(
                    f"{place} gives class_index {label.class_index} a second time "
                    f"({earlier.name!r}, {label.name!r}): give every class one row"
                )
    except csv.Error as error:
        raise ValueError(
            f"{source}, line {reader.line_num} is not valid CSV ({error}): "
            'put labels with commas or quotes in double quotes and write " as ""'
        ) from error
    return _in_order(labels, source)


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
    if not row[LABEL]:
        raise ValueError(f"{place} has no label for class {row[CLASS_INDEX]}: give one")
    return Label(int(row[CLASS_INDEX]), row.get(WNID) or None, row[LABEL])


def _in_order(labels: dict[int, Label], source: str) -> tuple[Label, ...]:
    if not labels:
        raise ValueError(f"{source} has a header but no rows: give every class one row")
    for class_index in range(len(labels)):
        if class_index not in labels:
            raise ValueError(
                f"{source} has no row for class_index {class_index}, but one for "
                f"{max(labels)}: number its {len(labels)} classes 0 to {len(labels) - 1}"
            )
    return tuple(labels[class_index] for class_index in range(len(labels)))
