from pathlib import Path

import pytest

from transforms.models.labels import FORMS, Label, imagenet_labels, read_labels

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
    assert error_of(text) == f"cats.csv is empty: {FORMS}"


def test_header_without_rows_is_an_error() -> None:
    assert error_of("class_index,label\n") == ("cats.csv has no classes: give every class one row")


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
        "cats.csv counts its 2 classes from 1: number them 0 to 1"
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


THREE = (Label(0, None, "cat"), Label(1, None, "dog"), Label(2, None, "bird"))


@pytest.mark.parametrize(
    "text",
    [
        "2,bird\n0,cat\n1,dog",
        "2, bird\n0, cat\n1, dog",
        "2;bird\n0;cat\n1;dog",
        "2:bird\n0:cat\n1:dog",
        "2\tbird\n0\tcat\n1\tdog",
        '"2","bird"\n"0","cat"\n"1","dog"',
        "2 bird\n0 cat\n1 dog",
        "02  bird\n00  cat\n01  dog",
        "2. bird\n0. cat\n1. dog",
        "2) bird\n0) cat\n1) dog",
        "2 - bird\n0 - cat\n1 - dog",
        "bird,2\ncat,0\ndog,1",
        "bird: 2\ncat: 0\ndog: 1",
        "bird 2\ncat 0\ndog 1",
        '["cat", "dog", "bird"]',
        "['cat', 'dog', 'bird']",
        '{"bird": 2, "cat": 0, "dog": 1}',
        '{"2": "bird", "0": "cat", "1": "dog"}',
        '{"bird": "2", "cat": "0", "dog": "1"}',
        "{'bird': 2, 'cat': 0, 'dog': 1}",
        "{2: 'bird', 0: 'cat', 1: 'dog'}",
        "{'bird': np.int64(2), 'cat': np.int64(0), 'dog': np.int64(1)}",
        "[('bird', 2), ('cat', 0), ('dog', 1)]",
        '[[2, "bird"], [0, "cat"], [1, "dog"]]',
        '[["bird", 2], ["cat", 0], ["dog", 1]]',
        '[{"id": 2, "name": "bird"}, {"id": 0, "name": "cat"}, {"id": 1, "name": "dog"}]',
        "item {\n  id: 2\n  name: 'bird'\n}\nitem { id: 0 name: 'cat' } item { id: 1 name: 'dog' }",
        '# made by hand\nitem: { name: "bird", id: 2 }\nitem: { name: "cat", id: 0 }\n'
        'item: { name: "x" display_name: "dog" id: 1 frequency: COMMON score: 0.5 }',
    ],
)
def test_an_index_that_stands_beside_each_name_counts(text: str) -> None:
    assert read_labels(text, "x") == THREE
    assert read_labels(f"\ufeff{text}\r\n".replace("\n", "\r\n"), "x") == THREE


FISH = (Label(0, "n01440764", "tench"), Label(1, "n01443537", "goldfish, Carassius auratus"))


@pytest.mark.parametrize(
    "text",
    [
        '1,n01443537,"goldfish, Carassius auratus"\n0,n01440764,tench',
        "1 n01443537 goldfish, Carassius auratus\n0 n01440764 tench",
        '{"1": ["n01443537", "goldfish, Carassius auratus"], "0": ["n01440764", "tench"]}',
        '[["n01440764", "tench"], ["n01443537", "goldfish, Carassius auratus"]]',
        'item { name: "n01443537" id: 1 display_name: "goldfish, Carassius auratus" }\n'
        'item { name: "n01440764" id: 0 display_name: "tench" }',
        '[{"index": 1, "wnid": "n01443537", "label": "goldfish, Carassius auratus"},'
        ' {"index": 0, "wnid": "n01440764", "label": "tench"}]',
    ],
)
def test_a_synset_beside_the_name_is_kept(text: str) -> None:
    assert read_labels(text, "x") == FISH


def test_digits_may_be_names_of_classes() -> None:
    expected = (Label(0, None, "5"), Label(1, None, "3"))
    for text in ("5\n3", '{"5": 0, "3": 1}', '{"0": "5", "1": "3"}', "1 3\n0 5", '["5", "3"]'):
        assert read_labels(text, "x") == expected


@pytest.mark.parametrize(
    "text",
    [
        "24 carrot cake\n7 layer dip\n3 cheese pizza",
        "24 carrot cake\npizza\n1 pot pasta",
        "1 pot pasta\n2 egg omelette\n4 cheese pizza",
        "Audi S4 Sedan, 2012\nAudi S4 Sedan, 2007\nBMW M3 Coupe, 2012",
        "Audi S4 Sedan 2012\nBMW M3 Coupe 2012",
        "class 0\nclass 1\nclass 2",
        "Class 1\nClass 2\nClass 3",
        "level 2\nlevel 0\nlevel 1",
        "0-2\n4-6\n8-13\n15-20",
        "1 star\n2 stars\n3 stars\n4 stars",
        "0\n1\n2\n3",
        "3\n1\n2\n0",
        "lynx, catamount\nlion",
        "[unknown]\ncat",
        "c0\nc1\nc2",
    ],
)
def test_numbers_that_belong_to_names_stay_there(text: str) -> None:
    assert [label.name for label in read_labels(text, "x")] == text.split("\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0,cat\n1,dog\n3,bird", "x has no row for class_index 2, but one for 3: number its 3"),
        ("0 cat\n1 dog\n3 bird", "x has no row for class_index 2, but one for 3: number its 3"),
        ("0,cat\n1,dog\n1,bird", "x, line 3 gives class_index 1 a second time ('dog', 'bird'): "),
        ("0 cat\n1 dog\n1 bird", "x, line 3 gives class_index 1 a second time ('dog', 'bird'): "),
        ('{"0": "cat", "0": "dog"}', "x gives class_index 0 a second time ('cat', 'dog'): "),
        ("{'cat': 0, 'dog': 0}", "x gives class_index 0 a second time ('cat', 'dog'): "),
        ('{"0": "cat", "2": "dog"}', "x has no row for class_index 1, but one for 2: number its 2"),
        ("1 cat\n2 dog", "x counts its 2 classes from 1: number them 0 to 1"),
        ("1,cat\n2,dog", "x counts its 2 classes from 1: number them 0 to 1"),
        ("item { id: 1 name: 'cat' } item { id: 2 name: 'dog' }", "x counts its 2 classes from 1"),
        ("0,cat\n1,\n2,bird", "x, line 2 has no label for class 1: give one"),
        ('["cat", " "]', "x has no label for class 1: give one"),
        ("{}", "x has no classes: give every class one row"),
    ],
)
def test_an_index_that_is_missing_or_twice_is_named(text: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        read_labels(text, "x")
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,name\n0,cat\n1,dog", "x, line 1 has no class index, but 2 other lines begin with one"),
        ("0,cat\ndog", "x, line 2 has no class index, but 1 other lines begin with one"),
        ("{'cat': 0", "x is neither JSON (Expecting property name enclosed in double quotes: "),
        ("{'cat': 1 + 1}", "x is neither JSON ("),
        ("{**cats}", "x is neither JSON ("),
        ("[" * 100_000 + "]" * 100_000, "x is neither JSON ("),
        ('{"cat": 0.5}', "x has 'cat': 0.5, which is no name and its class index"),
        ('{"cat": true}', "x has 'cat': True, which is no name and its class index"),
        ('{"cat": -1}', "x has 'cat': -1, which is no name and its class index"),
        ("{0: 1, 1: 0}", "x has 0: 1, which is no name and its class index"),
        ('{"labels": ["cat", "dog"]}', "x has 'labels': ['cat', 'dog'], which is no name and its"),
        ('{"0": ["a", "b", "c"]}', "x has ['a', 'b', 'c'] for a name"),
        ("[1, 2]", "x has 1 for a name"),
        ('[{"name": "cat"}]', "x has no index or no name in {'name': 'cat'}"),
        ("item { id: 0 }", "x has no index or no name in {'id': '0'}"),
        ("item { id: -1 name: 'cat' }", "x has no index or no name in {'id': '-1', 'name': 'cat'}"),
        ("item { id 0 name: 'cat' }", "x has 'id' where a .pbtxt label map has fields"),
    ],
)
def test_what_is_of_no_known_form_is_refused_and_the_forms_are_shown(
    text: str, message: str
) -> None:
    with pytest.raises(ValueError) as caught:
        read_labels(text, "x")
    assert str(caught.value).startswith(message)
    assert str(caught.value).endswith(f": {FORMS}")
    assert "\n" not in str(caught.value)
