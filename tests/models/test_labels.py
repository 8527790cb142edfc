from pathlib import Path

import pytest

from transforms.models.labels import Label, imagenet_labels, read_labels

IMAGES = Path(__file__).parents[3] / "shared" / "images"

CATS = (Label(0, "n02123045", "tabby"), Label(1, None, "lynx, catamount"), Label(2, None, "lion"))


def error_of(text: str) -> str:
    with pytest.raises(ValueError) as caught:
        read_labels(text, "cats.csv")
    return str(caught.value)


def test_imagenet_has_a_thousand_classes_in_the_order_of_their_wnids() -> None:
    labels = imagenet_labels()
    assert [label.class_index for label in labels] == list(range(1000))
    wnids = [label.wnid or "" for label in labels]
    assert wnids == sorted(set(wnids))
    assert labels[0] == Label(0, "n01440764", "tench")
    assert labels[388] == Label(388, "n02510455", "giant panda")
    assert labels[999] == Label(999, "n15075141", "toilet tissue")


def test_imagenet_labels_are_those_of_the_photographs_names() -> None:
    if not IMAGES.is_dir():
        pytest.skip(f"the ImageNet photographs are not at {IMAGES}")
    by_wnid = {label.wnid: label.name for label in imagenet_labels()}
    named = dict(path.stem.split("_", 1) for path in IMAGES.glob("*.JPEG"))
    assert {wnid: by_wnid[wnid].replace(" ", "_") for wnid in named} == named


def test_plain_text_has_one_label_a_line() -> None:
    expected = (Label(0, None, "tabby"), Label(1, None, "lynx, catamount"), Label(2, None, "lion"))
    assert read_labels("tabby\nlynx, catamount\nlion", "cats.txt") == expected


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_byte_order_mark_newlines_and_outer_spaces_do_not_count(newline: str) -> None:
    text = newline.join(["\ufeff tabby ", "lion", "", ""])
    assert read_labels(text, "cats.txt") == (Label(0, None, "tabby"), Label(1, None, "lion"))
    text = newline.join(["\ufeffclass_index,label", "", "0, tabby", "1,lion", ""])
    assert read_labels(text, "cats.csv") == (Label(0, None, "tabby"), Label(1, None, "lion"))


def test_unusual_separators_do_not_shift_plain_labels() -> None:
    assert [label.name for label in read_labels("a\u2028b\nc\x0cd", "x")] == ["a\u2028b", "c\x0cd"]


@pytest.mark.parametrize(
    "text",
    [
        'class_index,wnid,label\n0,n02123045,tabby\n1,,"lynx, catamount"\n2,,lion\n',
        'class_index,wnid,label\n2,,lion\n1,,"lynx, catamount"\n0,n02123045,tabby\n',
        ' Label , CLASS_INDEX,"wnid"\nlion,2,\ntabby,0,n02123045\n"lynx, catamount",1,\n',
        'class_index,kind,label,wnid\n0,x,tabby,n02123045\n1,,"lynx, catamount",\n2,,lion,\n',
    ],
    ids=["in order", "any row order", "any column order", "further column"],
)
def test_csv_is_recognised_by_its_header(text: str) -> None:
    assert read_labels(text, "cats.csv") == CATS


def test_csv_needs_no_wnid_column() -> None:
    assert read_labels("class_index,label\n0,tabby", "cats.csv") == (Label(0, None, "tabby"),)


@pytest.mark.parametrize("text", ["", " \n\r\n", "\ufeff"])
def test_empty_file_is_an_error(text: str) -> None:
    assert error_of(text) == (
        "cats.csv is empty: give one label a line, or CSV class_index,wnid,label"
    )


def test_header_without_rows_is_an_error() -> None:
    assert error_of("class_index,label\n") == (
        "cats.csv has a header but no rows: give every class one row"
    )


def test_blank_line_between_labels_is_an_error() -> None:
    assert error_of("tabby\n\nlion\n") == (
        "cats.csv, line 2 is blank, but line 2 names class 1: remove the line or give the label"
    )


def test_duplicate_index_is_an_error() -> None:
    assert error_of("class_index,label\n0,tabby\n1,lion\n0,lynx\n") == (
        "cats.csv, line 4 gives class_index 0 a second time ('tabby', 'lynx'): "
        "give every class one row"
    )


def test_missing_index_is_an_error() -> None:
    assert error_of("class_index,label\n0,tabby\n2,lion\n") == (
        "cats.csv has no row for class_index 1, but one for 2: number its 2 classes 0 to 1"
    )


def test_counting_from_1_is_an_error() -> None:
    assert error_of("class_index,label\n1,tabby\n2,lion\n") == (
        "cats.csv has no row for class_index 0, but one for 2: number its 2 classes 0 to 1"
    )


@pytest.mark.parametrize("value", ["one", "1.0", "-1", "1_0", "", "\u0661"])
def test_non_integer_index_is_an_error(value: str) -> None:
    assert error_of(f"class_index,label\n0,tabby\n{value},lion\n") == (
        f"cats.csv, line 3 has class_index {value!r}: write a whole number, counting from 0"
    )


@pytest.mark.parametrize(
    ("header", "column"),
    [
        ("class_index,wnid", "label"),
        ("wnid,label", "class_index"),
        ("label", "class_index"),
        ("class_index;label", "class_index"),
        ("class_index\tlabel", "class_index"),
    ],
)
def test_missing_column_is_an_error(header: str, column: str) -> None:
    shown = header.replace("\t", "\\t")
    assert error_of(f"{header}\n0,tabby\n") == (
        f"cats.csv has no column {column!r} in its header '{shown}': "
        "name the columns class_index,wnid,label, separated by commas"
    )


@pytest.mark.parametrize(("row", "fields"), [("1", 1), ("1,lynx, catamount", 3)])
def test_row_with_other_fields_than_the_header_is_an_error(row: str, fields: int) -> None:
    assert error_of(f"class_index,label\n0,tabby\n{row}\n") == (
        f"cats.csv, line 3 has {fields} fields for the 2 columns of the header: "
        "fill in every column and put labels with commas in double quotes"
    )


def test_blank_label_in_csv_is_an_error() -> None:
    assert error_of("class_index,label\n0, \n1,lion\n") == (
        "cats.csv, line 2 has no label for class 0: give one"
    )


def test_unclosed_quote_is_an_error() -> None:
    assert error_of('class_index,label\n0,"tabby\n1,lion\n') == (
        "cats.csv, line 3 is not valid CSV (unexpected end of data): "
        'put labels with commas or quotes in double quotes and write " as ""'
    )
