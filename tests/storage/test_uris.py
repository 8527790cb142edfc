import fnmatch
import os
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from transforms.storage import join, storage_for
from transforms.storage.beam_filesystem import BeamStorage
from transforms.storage.gcs import GoogleCloudStorage
from transforms.storage.local import LocalStorage
from transforms.storage.tar import TarStorage
from transforms.storage.uris import (
    TarMember,
    canonical_uri,
    container_of,
    fixed_prefix,
    glob_regex,
    has_glob,
    is_local,
    is_tar,
    local_path,
    local_uri,
    member_uri,
    scheme_of,
    tar_member,
)

NAMES = st.binary(min_size=1, max_size=20).map(lambda name: name.replace(b"\0", b"0"))


@given(NAMES)
@example(b"a b#c?d%41e*[f].jpg")
@example(b"line\nbreak\x85\r")
@example("\u2028\u202e é 漢字".encode())
@example(b"not utf-8 \xff\xfe")
@example(b"file:/%2e")
def test_every_file_name_has_a_printable_uri_that_leads_back(name: bytes) -> None:
    path = os.path.abspath(os.fsdecode(b"/data/" + name))
    uri = local_uri(path)
    assert uri.isprintable()
    assert uri.encode().decode() == uri
    assert local_path(uri) == path
    assert canonical_uri(uri) == uri
    assert is_local(uri)


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("/data/a.jpg", "/data/a.jpg"),
        ("/data//b/../a.jpg", "/data/a.jpg"),
        ("//data/a.jpg", "/data/a.jpg"),
        ("/data/100%41.jpg", "/data/100%41.jpg"),
        ("file:///data/a%20b.jpg", "/data/a b.jpg"),
        ("FILE://localhost/data/a.jpg", "/data/a.jpg"),
        ("file:///data/%FF.jpg", "file:///data/%FF.jpg"),
        ("/data/\udcff.jpg", "file:///data/%FF.jpg"),
        ("file:///data/a%0Ab.jpg", "file:///data/a%0Ab.jpg"),
        ("gs://bucket/a//b.jpg", "gs://bucket/a//b.jpg"),
        ("GS://bucket/A.jpg", "gs://bucket/A.jpg"),
        ("gs://bucket/\udcff.jpg", "gs://bucket/\\udcff.jpg"),
        ("s3://bucket/a b.jpg", "s3://bucket/a b.jpg"),
        ("/data/b/../a.tar::c/../d.jpg", "/data/a.tar::c/../d.jpg"),
        ("GS://b/A.TAR::100%.jpg", "gs://b/A.TAR::100%25.jpg"),
        ("gs://b/a.tar::100%25.jpg", "gs://b/a.tar::100%25.jpg"),
        ("gs://b/a.tar::\udcff\n.jpg", "gs://b/a.tar::%FF%0A.jpg"),
        ("gs://b/a.tar::b#2.jpg", "gs://b/a.tar::b%232.jpg"),
        ("gs://b/a.tar::b.jpg#2", "gs://b/a.tar::b.jpg#2"),
        ("gs://b/a.tar::b.jpg#1", "gs://b/a.tar::b.jpg"),
        ("gs://b/a.tar::b.jpg#0", "gs://b/a.tar::b.jpg%230"),
        ("file:///data/%FF.tar::a.jpg", "file:///data/%FF.tar::a.jpg"),
        ("/data/\udcff.tar::a.jpg", "file:///data/%FF.tar::a.jpg"),
        ("file:///data/a.tar%3A%3Ab.jpg", "file:///data/a.tar%3A%3Ab.jpg"),
        ("gs://b/a.tar::", "gs://b/a.tar::"),
        ("gs://b/a::b.tar", "gs://b/a::b.tar"),
    ],
)
def test_an_image_has_one_spelling(written: str, canonical: str) -> None:
    assert canonical_uri(written) == canonical
    assert canonical_uri(canonical) == canonical


@given(NAMES, NAMES, st.integers(1, 10**9 - 1))
@example(b"a.tar::b", b"c.tar::d#2", 1)
@example(b"\xff", b"100%25#7\n", 12)
@example(b"a", b"", 2)
def test_every_name_in_every_tar_has_a_printable_uri_that_leads_back(
    tar: bytes, name: bytes, number: int
) -> None:
    for container in (local_uri(os.fsdecode(b"/data/" + tar + b".tar")), "gs://b/a.TAR"):
        member = TarMember(container, os.fsdecode(name), number)
        uri = member_uri(member)
        assert uri.isprintable()
        assert uri.encode().decode() == uri
        assert tar_member(uri) == member
        assert canonical_uri(uri) == uri
        assert container_of(uri) == container
        assert is_tar(container)
        assert not is_tar(uri)


@pytest.mark.parametrize(
    "uri", ["/a.jpg", "/a.tar", "/a.tar:b.jpg", "/a::b.jpg", "gs://b/c::d.tar"]
)
def test_uri_of_no_member_is_its_own_container(uri: str) -> None:
    assert tar_member(uri) is None
    assert container_of(uri) == uri


@pytest.mark.parametrize("written", ["a.jpg", "./a.jpg", "file://a.jpg"])
def test_relative_path_is_resolved_against_the_current_folder(
    written: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert canonical_uri(written) == str(tmp_path / "a.jpg")


def test_file_uri_of_a_name_that_begins_like_a_host_is_that_name() -> None:
    assert local_path("file://localhost.jpg") == "localhost.jpg"


@pytest.mark.parametrize(
    ("uri", "scheme"),
    [("/a", ""), ("a:b", ""), ("gs://a", "gs"), ("S3://a", "s3"), ("://a", ""), ("1x://a", "")],
)
def test_scheme_stands_before_the_slashes(uri: str, scheme: str) -> None:
    assert scheme_of(uri) == scheme


@pytest.mark.parametrize(
    ("uri", "storage"),
    [
        ("a.jpg", LocalStorage),
        ("file:///a.jpg", LocalStorage),
        ("GS://b/a.jpg", GoogleCloudStorage),
        ("s3://b/a.jpg", BeamStorage),
        ("a.tar", LocalStorage),
        ("a.tar::b.jpg", TarStorage),
        ("s3://b/a.tar::b.jpg", TarStorage),
        ("tar://b/a.jpg", BeamStorage),
    ],
)
def test_scheme_chooses_the_storage_once(uri: str, storage: type) -> None:
    assert type(storage_for(uri)) is storage
    assert storage_for(uri) is storage_for(uri)


@pytest.mark.parametrize(
    ("root", "joined"),
    [("/", "/a/b"), ("/out", "/out/a/b"), ("/out/", "/out/a/b"), ("gs://b", "gs://b/a/b")],
)
def test_join_puts_one_slash_between(root: str, joined: str) -> None:
    assert join(root, "a", "b") == joined


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("a.jpg", ["a.jpg", "a.jpg/below"], ["aXjpg", "xa.jpg", "a.jpgx", "b/a.jpg"]),
        ("*.jpg", ["a.jpg", ".jpg", ".hidden.jpg"], ["d/a.jpg", "a.jpeg"]),
        ("d?/*", ["d1/a", "dx/b", "d1/a/b"], ["d/a", "d12/a", "d1"]),
        ("**", ["a", "a/b/c"], []),
        ("**/a", ["a", "b/a", "b/c/a", "a/below"], ["ba", "a.x"]),
        ("d/**", ["d/a", "d/b/c"], ["e/d/a", "d"]),
        ("d/**/a", ["d/a", "d/b/c/a"], ["d/ba", "a"]),
        ("d**/a", ["d/a", "dx/y/a"], ["da", "a"]),
        ("[a-c]", ["a", "c"], ["d", "-", "ab"]),
        ("[!a-c]", ["d", "-"], ["a", "b", "/"]),
        ("[^a]", ["b", "^"], ["a", "/"]),
        ("[]]", ["]"], ["["]),
        ("[!]]", ["["], ["]"]),
        ("[[]", ["["], ["]", "[["]),
        ("[z-a]", [], ["a", "z", "-"]),
        ("[", ["["], ["a"]),
        ("a[", ["a["], ["a"]),
        ("[]", ["[]"], ["", "["]),
        ("\\*", ["\\a"], ["*"]),
        ("line*", ["line\nbreak"], []),
    ],
)
def test_glob_matches_within_folders_and_below_what_it_names(
    pattern: str, matching: list[str], others: list[str]
) -> None:
    regex = glob_regex(pattern)
    assert [name for name in matching if not regex.match(name)] == []
    assert [name for name in others if regex.match(name)] == []


TEXT = st.text("ab-]![\\*?.^", max_size=6)


@given(TEXT.filter(lambda pattern: "**" not in pattern and "[^" not in pattern), TEXT)
@example("[a-]", "-")
@example("[]-a]", "^")
@example("[!]a-]x", "bx")
def test_glob_of_one_name_matches_as_the_standard_library_does(pattern: str, name: str) -> None:
    assert bool(glob_regex(pattern).match(name)) == fnmatch.fnmatchcase(name, pattern)


def test_fixed_prefix_ends_before_the_first_glob_character() -> None:
    assert [fixed_prefix(p) for p in ("a/b*c", "a?", "[a]", "a/b")] == ["a/b", "a", "", "a/b"]
    assert [has_glob(p) for p in ("a*", "a?", "a[", "a]")] == [True, True, True, False]
