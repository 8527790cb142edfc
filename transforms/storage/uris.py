"""How an input is named: one printable, reversible URI for every file there can be."""

import fnmatch
import os
import re
from typing import NamedTuple
from urllib.parse import quote_from_bytes, unquote_to_bytes

_FILE = "file://"
_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*)://")
_MAGIC = re.compile(r"[*?\[]")
_GROUP = re.compile(r"\[([!^]?)(\]?[^\]]*\])")
_IN_TAR = "::"
_MEMBER = re.compile(r"(.*?\.tar)::(.*?)(?:#([1-9][0-9]{0,8}))?", re.DOTALL | re.IGNORECASE)


class TarMember(NamedTuple):
    """A file inside a tar, by the tar's URI and the name it has there.

    `name` has undecodable bytes as surrogates; `number` counts the members of one name from 1.
    """

    tar: str
    name: str
    number: int = 1


def scheme_of(uri: str) -> str:
    """The part before `://`, lower-case; empty for a plain path."""
    match = _SCHEME.match(uri)
    return match[1].lower() if match else ""


def is_local(uri: str) -> bool:
    """Whether `uri` is a path or a `file://` URI of this machine."""
    return scheme_of(uri) in ("", "file")


def local_uri(path: str) -> str:
    """The URI of a local path: the absolute path itself, if every character of it prints.

    A name with control characters or bytes that are not UTF-8, or one that reads as that of a
    member of a tar, becomes a percent-encoded `file://` URI, so that every URI fits on one line
    and leads back to its file.
    """
    absolute = absolute_path(path)
    if absolute.isprintable() and tar_member(absolute) is None:
        return absolute
    return _FILE + quote_from_bytes(os.fsencode(absolute))


def local_path(uri: str) -> str:
    """The path of a local URI, undecodable bytes as surrogates (`os.fsdecode`)."""
    if scheme_of(uri) != "file":
        return uri
    path = uri[len(_FILE) :]
    if path.startswith("localhost/"):
        path = path.removeprefix("localhost")
    return os.fsdecode(unquote_to_bytes(path))


def absolute_path(path: str) -> str:
    """`path` from the root, without `.`, `..` and doubled slashes."""
    absolute = os.path.abspath(path)
    if ".." in path.split("/") and os.path.realpath(path) != os.path.realpath(absolute):
        absolute = os.path.realpath(path)  # what `..` leaves is a link to somewhere else
    return absolute[1:] if absolute.startswith("//") else absolute


def canonical_uri(uri: str) -> str:
    """One spelling for each image, so that the same image named twice is one input."""
    if member := tar_member(uri):
        return member_uri(member._replace(tar=canonical_uri(member.tar)))
    if is_local(uri):
        return local_uri(local_path(uri))
    scheme, separator, name = uri.partition("://")
    spelt = f"{scheme.lower()}{separator}{name}"
    return spelt.encode("utf-8", "backslashreplace").decode()  # no object has such a name


def tar_member(uri: str) -> TarMember | None:
    """What a URI such as `shard.tar::a/b.jpg` names, or None if it names no member of a tar."""
    match = _MEMBER.fullmatch(uri) if _IN_TAR in uri else None
    if match is None:
        return None
    name = unquote_to_bytes(match[2].encode("utf-8", "surrogateescape"))
    return TarMember(match[1], name.decode("utf-8", "surrogateescape"), int(match[3] or 1))


def member_uri(member: TarMember) -> str:
    """The URI of a member of a tar: `shard.tar::a.jpg`, the second of that name `...a.jpg#2`.

    In the name `%`, `#` and what does not print are percent-encoded.
    """
    name = member.name
    if not name.isprintable() or "%" in name or "#" in name:
        name = "".join(map(_quoted, name))
    return member.tar + _IN_TAR + name + (f"#{member.number}" if member.number > 1 else "")


def is_tar(uri: str) -> bool:
    """Whether `uri` is named as a tar, and is not a member of one."""
    return uri[-len(".tar") :].lower() == ".tar" and tar_member(uri) is None


def container_of(uri: str) -> str:
    """The object that must be fetched to read `uri`: the tar of a member, else `uri` itself."""
    member = tar_member(uri)
    return member.tar if member else uri


def has_glob(text: str) -> bool:
    """Whether `text` has one of the characters `*`, `?` and `[`."""
    return _MAGIC.search(text) is not None


def fixed_prefix(pattern: str) -> str:
    """What stands before the first glob character."""
    match = _MAGIC.search(pattern)
    return pattern[: match.start()] if match else pattern


def glob_regex(pattern: str) -> re.Pattern[str]:
    """A glob as a regular expression: `*` and `?` stay in one folder, `**` crosses folders.

    It matches what the glob names, and everything below a folder that the glob names.
    """
    out, i = "", 0
    while i < len(pattern):
        if pattern.startswith("**/", i) and pattern[i - 1 : i] in ("", "/"):
            out, i = out + "(?:.*/)?", i + 3
        elif pattern.startswith("**", i):
            out, i = out + ".*", i + 2
        elif pattern[i] == "*":
            out, i = out + "[^/]*", i + 1
        elif pattern[i] == "?":
            out, i = out + "[^/]", i + 1
        elif group := _GROUP.match(pattern, i):
            out, i = out + _one_of(group[2], negated=bool(group[1])), group.end()
        else:
            out, i = out + re.escape(pattern[i]), i + 1
    return re.compile(out + r"(?:/.*)?\Z", re.DOTALL)


def _one_of(characters: str, negated: bool) -> str:
    # fnmatch knows what becomes of empty ranges and of characters special in a regular expression.
    regex = fnmatch.translate(f"[{'!' if negated else ''}{characters}")
    return "(?!/)" + regex.removeprefix("(?s:")[: -len(r")\Z")]


def _quoted(character: str) -> str:
    if character.isprintable() and character not in "%#":
        return character
    return quote_from_bytes(character.encode("utf-8", "surrogateescape"), safe="")
