"""Label files that are JSON, a printed Python dictionary or a .pbtxt label map."""

import ast
import json
import re
from collections.abc import Iterator
from typing import Any, Final

Named = tuple[int, str | None, str]  # class index, WordNet synset, name

# What the fields of one class are called; of two that are there the first counts.
_INDEX_FIELDS: Final = ("class_index", "index", "id", "class_id", "target_class")
_NAME_FIELDS: Final = ("label", "display_name", "name", "class_name", "target_class_string")
_WNID: Final = re.compile(r"n[0-9]{8}")
_WHOLE_NUMBER: Final = re.compile(r"[0-9]+")
_QUOTED: Final = r""""(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'"""
_TOKEN: Final = re.compile(
    rf"#[^\n]*|(?P<open>\w+\s*:?\s*\{{)|\}}|(?P<field>\w+)\s*:\s*(?P<value>{_QUOTED}|[\w.+-]+)[,;]?"
)
_BEGINS_A_BLOCK: Final = re.compile(r"(?:#[^\n]*\n\s*)*\w+\s*:?\s*\{")


class _Dictionary(tuple[tuple[Any, Any], ...]):
    """A dictionary's pairs, those of a key that comes twice included."""


def is_label_map(text: str) -> bool:
    """Whether `text`, without space around it, must be of one of these forms."""
    is_list = text.startswith("[") and text.endswith("]")
    return text.startswith("{") or is_list or _BEGINS_A_BLOCK.match(text) is not None


def read_label_map(text: str) -> list[Named]:
    """The classes in the order of the file, with the indices that stand there.

    Raises:
        ValueError: it is of none of these forms; the message goes on from "which".
    """
    value = _blocks(text) if _BEGINS_A_BLOCK.match(text) else _literal(text)
    if isinstance(value, _Dictionary):
        return list(_of_dictionary(value))
    return [_of_item(position, item) for position, item in enumerate(value)]


def _literal(text: str) -> Any:
    """JSON, or a dictionary or list as Python prints it; runs no code."""
    try:
        return json.loads(text, object_pairs_hook=_Dictionary)
    except (ValueError, RecursionError) as error:
        try:
            return _python_value(ast.parse(text, mode="eval").body)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            raise ValueError(f"is neither JSON ({error}) nor what Python prints") from None


def _python_value(node: ast.AST | None) -> Any:
    if isinstance(node, ast.Dict):
        pairs = zip(node.keys, node.values, strict=True)
        return _Dictionary((_python_value(key), _python_value(value)) for key, value in pairs)
    if isinstance(node, ast.List | ast.Tuple):
        return [_python_value(item) for item in node.elts]
    if isinstance(node, ast.Call) and len(node.args) == 1:  # np.int64(0), OrderedDict([...])
        return _python_value(node.args[0])
    if isinstance(node, ast.Constant):
        return node.value
    raise ValueError("an expression")


def _blocks(text: str) -> list[_Dictionary]:
    """The blocks of a .pbtxt file, `item { id: 0 name: "cat" }`."""
    if rest := _TOKEN.sub("", text).strip():
        raise ValueError(f"has {rest.split()[0]!r} where a .pbtxt label map has fields")
    blocks: list[list[tuple[str, Any]]] = []
    for token in _TOKEN.finditer(text):
        if token["open"]:
            blocks.append([])
        elif token["field"]:
            is_quoted = token["value"][0] in "'\""
            value = ast.literal_eval(token["value"]) if is_quoted else token["value"]
            blocks[-1].append((token["field"], value))
    return [_Dictionary(block) for block in blocks]


def _of_dictionary(pairs: _Dictionary) -> Iterator[Named]:
    """From index to name, as Keras keeps ImageNet's, or from name to index: `class_indices`."""
    are_indices = all(_is_index(key) for key, _ in pairs)
    for key, value in pairs:
        if isinstance(value, int) or not are_indices:
            if not (isinstance(key, str) and _is_index(value)):
                raise ValueError(f"has {key!r}: {value!r}, which is no name and its class index")
            yield int(value), None, key
        else:
            yield _named(int(key), value)


def _of_item(position: int, item: Any) -> Named:
    """One of a list: a name at its index, or what holds both."""
    if isinstance(item, _Dictionary):
        fields = dict(item)
        index = next((fields[key] for key in _INDEX_FIELDS if key in fields), "")
        names = [fields[key] for key in _NAME_FIELDS if key in fields]
        if not _is_index(index) or not names:
            raise ValueError(f"has no index or no name in {fields!r}")
        wnid = next((each for each in names[1:] if _WNID.fullmatch(str(each))), None)
        return int(index), fields.get("wnid", wnid), str(names[0])
    if isinstance(item, list) and len(item) == 2:
        first, second = item
        if _is_index(first) and isinstance(first, int):
            return _named(first, second)
        if isinstance(second, int):
            return _named(second, first)
    return _named(position, item)


def _named(index: int, value: Any) -> Named:
    if isinstance(value, str):
        return index, None, value
    if isinstance(value, list) and [type(each) for each in value] == [str, str]:
        return index, value[0], value[1]
    raise ValueError(f"has {value!r} for a name")


def _is_index(value: Any) -> bool:
    is_whole = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    return is_whole or (isinstance(value, str) and _WHOLE_NUMBER.fullmatch(value) is not None)
