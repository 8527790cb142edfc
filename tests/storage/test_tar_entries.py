import io
import os
import random
import tarfile
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.helpers.tar_files import END, FORMATS, Format, header, member, padded, patched, tar_of
from transforms.failures import ImageError
from transforms.storage import tar_entries as module
from transforms.storage.tar_entries import TarEntry, tar_entries

SPARSE = tarfile.GNUTYPE_SPARSE
LONG = "a" * 300 + "/é漢字.jpg"
NAMES = st.lists(
    st.binary(min_size=1, max_size=300).map(lambda name: name.replace(b"\0", b"0").strip(b"/")),
    max_size=5,
)


def scan(content: bytes) -> tuple[list[TarEntry], ImageError | None]:
    """The entries of a tar, and why there are no more."""
    entries = []
    try:
        for entry in tar_entries(io.BytesIO(content), "t.tar"):
            entries.append(entry)
    except ImageError as error:
        return entries, error
    return entries, None


def whole(content: bytes) -> list[tuple[str, bytes]]:
    """URI and bytes of each member of a tar that has nothing wrong with it."""
    entries, error = scan(content)
    assert error is None
    assert [entry.error for entry in entries if entry.error] == []
    return [(e.uri, content[e.offset : e.offset + e.size]) for e in entries]


def broken(content: bytes) -> tuple[list[str], str, str]:
    """The names before the break, the reason and the message."""
    entries, error = scan(content)
    assert error is not None
    return [entry.name for entry in entries], error.error, str(error)


def problem(content: bytes) -> tuple[str, str]:
    """What is wrong with the first member of an otherwise whole tar of two."""
    entries, error = scan(content + member("b.jpg", b"B") + END)
    assert error is None
    first, second = entries
    assert first.error is not None
    assert content_of(second, content + member("b.jpg", b"B")) == b"B"
    return first.error.error, str(first.error)


def content_of(entry: TarEntry, content: bytes) -> bytes:
    return content[entry.offset : entry.offset + entry.size]


@pytest.mark.parametrize("format", FORMATS.values(), ids=FORMATS)
def test_members_are_those_that_were_stored(format: Format) -> None:
    long = LONG if format != tarfile.USTAR_FORMAT else "a" * 100 + "/b.jpg"
    stored = [("a.jpg", b"A" * 700), ("./b/é.png", b""), (long, b"x" * 512), ("../../c", b"c")]
    assert whole(tar_of(stored, format)) == [(f"t.tar::{name}", data) for name, data in stored]


@given(NAMES, st.sampled_from(["gnu", "pax"]))
@example([b"\xff\xfe.jpg", b"\xc3.jpg"], "pax")
@example([b"%41#2\n.jpg", b"a" * 257], "gnu")
@example([b"a" * 200, "é".encode() * 80], "pax")
def test_names_are_those_that_tarfile_reads(raw: list[bytes], format: str) -> None:
    names = [os.fsdecode(name or b"x") for name in raw]
    content = tar_of((name, name.encode("utf-8", "surrogateescape")) for name in names)
    entries, error = scan(tar_of([(name, b"") for name in names], FORMATS[format]))
    assert error is None
    assert [entry.name for entry in entries] == names
    with tarfile.open(fileobj=io.BytesIO(content), encoding="utf-8") as tar:
        expected = [(info.name, info.offset_data, info.size) for info in tar]
    assert [(e.name, e.offset, e.size) for e in scan(content)[0]] == expected


def test_uri_of_a_name_that_comes_again_is_numbered() -> None:
    stored = [("a.jpg", b"1"), ("b.jpg", b"2"), ("a.jpg", b"3"), ("a.jpg", b"4"), ("a.jpg#2", b"5")]
    assert whole(tar_of(stored)) == [
        ("t.tar::a.jpg", b"1"),
        ("t.tar::b.jpg", b"2"),
        ("t.tar::a.jpg#2", b"3"),
        ("t.tar::a.jpg#3", b"4"),
        ("t.tar::a.jpg%232", b"5"),
    ]


def test_only_headers_are_read() -> None:
    class Counting(io.BytesIO):
        bytes_read = 0

        def read(self, size: int | None = -1, /) -> bytes:
            content = super().read(size)
            self.bytes_read += len(content)
            return content

    file = Counting(tar_of([(f"{i}.jpg", bytes(100_000)) for i in range(10)]))
    assert len(list(tar_entries(file, "t.tar"))) == 10
    assert file.bytes_read < 10 * 1024 + tarfile.RECORDSIZE + 1024


def test_cut_anywhere_keeps_what_was_whole_and_says_that_something_is_missing() -> None:
    stored = [(f"{i}.jpg", bytes([i + 1]) * (300 + 500 * i)) for i in range(4)] + [(LONG, b"x")]
    content = tar_of(stored).rstrip(b"\0")
    content += bytes(-len(content) % 512)
    ends = [entry.offset + entry.size for entry in scan(content + END)[0]]
    assert len(ends) == 5
    for cut in [1, 511, *range(512, len(content), 97), len(content)]:
        entries, error = scan(content[:cut])
        assert error is not None
        assert error.error == "truncated" if cut >= 512 else "corrupt"
        readable = [content_of(entry, content) for entry in entries if entry.error is None]
        assert readable == [data for (_, data), end in zip(stored, ends, strict=True) if end <= cut]
        cut_off = [entry.error.error for entry in entries if entry.error]
        assert cut_off in ([], ["truncated"])
    message = "breaks after 5 of its members: its end is missing at byte 9,216: copy it again"
    assert broken(content)[1:] == ("truncated", message)


def test_member_that_is_cut_off_says_how_much_of_it_there_is() -> None:
    content = member("a.jpg", b"A" * 600)[:700]
    (entry,), error = scan(content)
    assert str(entry.error) == "t.tar::a.jpg: the tar ends at 188 of 600 bytes"
    assert (
        str(error) == "breaks after 1 of its members: its end is missing at byte 700: copy it again"
    )


def test_tars_one_after_the_other_are_one() -> None:
    first, second = tar_of([("a.jpg", b"A")]), tar_of([("b.jpg", b"B"), ("a.jpg", b"C")])
    assert whole(first + second) == [
        ("t.tar::a.jpg", b"A"),
        ("t.tar::b.jpg", b"B"),
        ("t.tar::a.jpg#2", b"C"),
    ]
    assert whole(first + bytes(5_000_192) + second)[2] == ("t.tar::a.jpg#2", b"C")


@pytest.mark.parametrize("zeros", [512, 1024, 10_000, 3_000_000])
def test_end_is_any_number_of_zeros(zeros: int) -> None:
    assert whole(member("a.jpg", b"A") + bytes(zeros)) == [("t.tar::a.jpg", b"A")]
    assert whole(bytes(zeros)) == []


def test_what_follows_the_end_is_not_passed_over() -> None:
    content = member("a.jpg", b"A") + END + padded(b"not a header" * 50)
    assert broken(content) == (
        ["a.jpg"],
        "corrupt",
        "breaks after 1 of its members: invalid header at byte 2,048",
    )


@pytest.mark.parametrize(
    ("content", "reason", "message"),
    [
        (b"", "empty", "has no bytes"),
        (b"abc", "corrupt", "is no tar: it begins with the bytes b'abc'"),
        (b"abc" * 400, "corrupt", "is no tar: it begins with the bytes b'abcabcabcabcabca'"),
        (b"\x1f\x8b" + b"x" * 900, "unsupported_format", "is compressed with gzip: unpack it"),
        (b"\x28\xb5\x2f\xfd", "unsupported_format", "is compressed with zstd: unpack it"),
    ],
    ids=["empty", "short", "other", "gzip", "zstd"],
)
def test_what_is_no_tar_says_what_it_is(content: bytes, reason: str, message: str) -> None:
    assert broken(content) == ([], reason, message)


@pytest.mark.parametrize(
    ("content", "reason", "message"),
    [
        (
            header("a.jpg", kind=tarfile.LNKTYPE, linkname="b.jpg"),
            "not_a_file",
            "t.tar::a.jpg is a hard link: store the image itself (tar --hard-dereference)",
        ),
        (
            header("a.jpg", kind=tarfile.SYMTYPE, linkname="/etc/passwd"),
            "not_a_file",
            "t.tar::a.jpg is a symbolic link: store the image itself (tar --dereference)",
        ),
        (
            header("a.jpg", 5, kind=tarfile.CHRTYPE),
            "not_a_file",
            "t.tar::a.jpg is a character device",
        ),
        (header("a.jpg", kind=tarfile.FIFOTYPE), "not_a_file", "t.tar::a.jpg is a named pipe"),
        (
            member("a.jpg", b"?" * 600, kind=b"V"),
            "not_a_file",
            "t.tar::a.jpg is a member of the type b'V'",
        ),
        (
            member("a.jpg", b"?" * 600, kind=SPARSE),
            "unsupported_format",
            "t.tar::a.jpg is stored as a sparse file, in pieces",
        ),
        (
            patched(header("a.jpg", 600, SPARSE), 482, b"\1")  # its map goes on in two blocks
            + bytes(504)
            + b"\1"
            + bytes(7 + 512)
            + bytes(1024),
            "unsupported_format",
            "t.tar::a.jpg is stored as a sparse file, in pieces",
        ),
        (
            member(
                "GNUSparseFile.1/a.jpg",
                b"1\n0\n600\n" + bytes(504),
                format=FORMATS["pax"],
                pax={
                    "GNU.sparse.major": "1",
                    "GNU.sparse.minor": "0",
                    "GNU.sparse.name": "a.jpg",
                    "GNU.sparse.realsize": "600",
                },
            ),
            "unsupported_format",
            "t.tar::a.jpg is stored as a sparse file, in pieces",
        ),
    ],
    ids=["hard link", "link", "device", "pipe", "label", "sparse", "long sparse", "pax sparse"],
)
def test_member_without_bytes_of_its_own_is_an_error_and_the_next_is_read(
    content: bytes, reason: str, message: str
) -> None:
    assert problem(content) == (reason, message)


def test_folders_are_no_entries() -> None:
    content = header("d/", kind=tarfile.DIRTYPE) + header("old/", kind=tarfile.AREGTYPE)
    assert whole(content + member("d/a.jpg", b"A") + END) == [("t.tar::d/a.jpg", b"A")]


FIRST = member("a.jpg", b"A")
BAD_SIZE = "breaks after 1 of its members: a size of "


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (patched(header("b.jpg"), 124, b"\xff" * 12), BAD_SIZE + "-1 bytes"),
        (
            patched(header("b.jpg"), 124, b"99x99999999\0"),
            "breaks after 1 of its members: invalid header",
        ),
        (
            header("b.jpg")[:100] + b"9" + header("b.jpg")[101:],
            "breaks after 1 of its members: bad checks",
        ),
        (
            member("b.jpg", b"", format=FORMATS["pax"], pax={"size": "-5"}),
            BAD_SIZE + "b'-5'",
        ),
        (
            member("b.jpg", b"", format=FORMATS["pax"], pax={"size": "9" * 5000}),
            BAD_SIZE + "b'9999",
        ),
        (
            header("x", 5_000_000, tarfile.GNUTYPE_LONGNAME),
            "breaks after 1 of its members: an extended header of 5,000,000 bytes",
        ),
        (
            patched(header("x", 0, tarfile.XHDTYPE), 124, b"\xff" * 12),
            "breaks after 1 of its members: an extended header of -1 bytes",
        ),
        (
            member("x", b"11" * 40_000 + b" hdrcharset", kind=tarfile.XHDTYPE),
            "breaks after 1 of its members: b'1111111111111111111111111111111111111111' in an ext",
        ),
        (
            member("x", b"20 path=../a\n", kind=tarfile.XHDTYPE),
            "breaks after 1 of its members: b'20 path=../a\\n' in an extended header",
        ),
        (
            member("x", b"13 comment=a\n", kind=tarfile.XGLTYPE) * 16,
            "breaks after 1 of its members: more than 16 extended headers of one member",
        ),
        (
            patched(header("b.jpg", 0, SPARSE), 482, b"\1") + (bytes(504) + b"\1" + bytes(7)) * 4,
            "breaks after 1 of its members: the header at byte 3,584 is cut off: copy it again",
        ),
    ],
    ids=[
        "negative",
        "no number",
        "checksum",
        "negative in pax",
        "digits in pax",
        "long name of megabytes",
        "negative long name",
        "digits",
        "record beyond",
        "extensions",
        "endless sparse",
    ],
)
@pytest.mark.timeout(40)
def test_hostile_header_ends_the_tar_at_once(content: bytes, message: str) -> None:
    names, _, said = broken(FIRST + content)
    assert names == ["a.jpg"]
    assert said.startswith(message)


@pytest.mark.parametrize("size", [2**33, 2**62, 2**64, 2**87])
@pytest.mark.timeout(40)
def test_size_beyond_the_end_is_not_believed(size: int) -> None:
    base_256 = b"\x80" + size.to_bytes(11, "big")
    for content in (
        patched(header("b.jpg"), 124, base_256),
        header("b.jpg", format=FORMATS["pax"], pax={"size": str(size)[:18]}),
    ):
        entries, error = scan(FIRST + content + END)
        assert [entry.name for entry in entries] == ["a.jpg", "b.jpg"]
        assert [entry.error.error for entry in entries if entry.error] == ["truncated"]
        assert error is not None
        assert error.error == "truncated"


def test_pax_fields_of_all_members_hold_until_one_has_its_own() -> None:
    common = member("g", b"14 path=g.jpg\n", kind=tarfile.XGLTYPE)
    own = member("x", b"14 path=o.jpg\n", kind=tarfile.XHDTYPE)
    content = common + member("a", b"A") + own + member("b", b"B") + member("c", b"C") + END
    assert [uri for uri, _ in whole(content)] == [
        "t.tar::g.jpg",
        "t.tar::o.jpg",
        "t.tar::g.jpg#2",
    ]


def test_members_beyond_a_million_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_MEMBERS", 3)
    names = [(f"{i}.jpg", b"") for i in range(4)]
    assert len(whole(tar_of(names[:3]))) == 3
    assert broken(tar_of(names)) == (
        ["0.jpg", "1.jpg", "2.jpg"],
        "unsupported_format",
        "breaks after 3 of its members: no more are read of one tar: split it",
    )


def test_fault_of_the_disk_is_unreadable() -> None:
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() >= 1024:
                raise OSError(5, "Input/output error")
            return super().read(size)

    with pytest.raises(ImageError) as caught:
        list(tar_entries(Failing(tar_of([("a.jpg", b"A"), ("b.jpg", b"B")])), "t.tar"))
    assert caught.value.error == "unreadable"
    assert str(caught.value) == "cannot be read at byte 1,024: [Errno 5] Input/output error"


@pytest.mark.timeout(40)
def test_mutants_never_raise_anything_else_nor_lose_what_lies_before() -> None:
    stored = [(f"{i}{LONG if i == 2 else '.jpg'}", bytes([65 + i]) * 200) for i in range(6)]
    rng = random.Random(0)
    for format in ("gnu", "pax"):
        good = tar_of(stored, FORMATS[format])
        ends = [(entry.name, entry.offset + 512) for entry in scan(good)[0]]
        for _ in range(1000):
            at = rng.randrange(ends[-1][1])
            junk = rng.randbytes(rng.randrange(1, 30))
            bad = bytearray(good)
            bad[at : at + len(junk)] = junk
            if rng.random() < 0.7:  # else nearly all of them end at the checksum
                start = at // 512 * 512
                bad[start : start + 512] = patched(bytes(bad[start : start + 512]), 0, b"")
            entries, _error = scan(bytes(bad))
            before = [name for name, end in ends if end <= at]
            assert [entry.name for entry in entries][: len(before)] == before


def test_tar_of_another_program_is_read(tmp_path: Path) -> None:
    """The tool of this machine, whichever it is."""
    import shutil
    import subprocess

    if shutil.which("tar") is None:
        pytest.skip("this machine has no `tar` to compare with")
    (tmp_path / "in").mkdir()
    names = ["a.jpg", "b" * 150 + ".jpg", "é.jpg"]
    for name in names:
        (tmp_path / "in" / name).write_text(name)
    subprocess.run(["tar", "-cf", "t.tar", "-C", "in", *names], cwd=tmp_path, check=True)
    stored = whole((tmp_path / "t.tar").read_bytes())
    assert stored == [(f"t.tar::{name}", name.encode()) for name in names]
