"""What the options choose, or why it cannot be."""

from pathlib import Path

import pytest

from transforms.models.errors import ModelError
from transforms.models.labels import Label
from transforms.models.resolve import given_labels


def test_labels_are_read_from_their_file(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("1,dog\n0,katze \u00e4\n", encoding="utf-8")
    assert given_labels(str(tmp_path / "labels.csv")) == (
        Label(0, None, "katze \u00e4"),
        Label(1, None, "dog"),
    )


def test_labels_that_are_no_text_in_utf_8_are_named(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_text("cat\ndog\n", encoding="utf-16")
    with pytest.raises(ModelError) as error:
        given_labels(str(path))
    assert str(error.value) == f"--labels '{path}' is no text in UTF-8; save it as such"
