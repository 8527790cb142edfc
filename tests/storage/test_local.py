import contextlib
import errno
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.helpers.storages import creators
from transforms.failures import ImageError
from transforms.records import ListedImage
from transforms.storage.local import LocalStorage
from transforms.storage.uris import local_path, local_uri

MB = 1_000_000
NOBODY = 65534
LOCAL = LocalStorage()


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that every user may look into; pytest's own are private."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@contextlib.contextmanager
def as_a_user() -> Iterator[None]:
    """Without the rights of root, where tests run as root."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def make(path: Path, content: bytes = b"x") -> str:
    """A file and the folders above it; returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return str(path)


def found(source: object) -> list[str]:
    """URIs of what is found, in order; every one must be a file that can be read."""
    images = list(LOCAL.find(str(source)))
    assert [image for image in images if image.failure] == []
    return [image.uri for image in images]


def failures(source: object) -> list[tuple[str, str, str]]:
    """(uri, error, message) of each failure found; all must be of the stage `list`."""
    images = [image for image in LOCAL.find(str(source)) if image.failure]
    assert all(image.failure and image.failure.stage == "list" for image in images)
    return [(i.uri, i.failure.error, i.failure.message) for i in images if i.failure]


def error_of(action: Callable[[], object]) -> tuple[str, str]:
    with pytest.raises(ImageError) as caught:
        action()
    return caught.value.error, str(caught.value)


# Listing


def test_file_is_found_with_its_size_and_time(tmp_path: Path) -> None:
    path = make(tmp_path / "a.jpg", b"12345")
    os.utime(path, ns=(0, 1_700_000_000_123_456_789))
    expected = ListedImage(path, 5, 1_700_000_000_123_456)
    assert list(LOCAL.find(path)) == [expected]
    assert list(LOCAL.find(f"file://{path}")) == [expected]


def test_folder_is_everything_below_it_in_order(tmp_path: Path) -> None:
    names = [".hidden/.x.jpg", "a.jpg", "b/c/d.txt", "b/e", "b.jpg"]
    paths = [make(tmp_path / name) for name in names]
    assert found(tmp_path) == [paths[i] for i in (0, 1, 2, 3, 4)]
    assert found(f"{tmp_path}/") == paths
    assert found(f"file://{tmp_path}") == paths
    assert found(tmp_path / "b") == paths[2:4]


def test_relative_folder_is_listed_with_absolute_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make(tmp_path / "in" / "a.jpg")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    assert found("../in") == found("../in/*") == found("../*/**") == [path]
    monkeypatch.chdir(tmp_path / "in")
    assert found(".") == found("*") == found("a.jpg") == [path]


def test_what_is_not_there_matches_nothing(tmp_path: Path) -> None:
    make(tmp_path / "a.jpg")
    for source in ("b.jpg", "a.jpg/", "a.jpg/b", "*.png", "b/*", "b/**", "a\0b", "x" * 300):
        assert found(tmp_path / source if source != "a.jpg/" else f"{tmp_path}/a.jpg/") == []
    assert found("") == []


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.jpg", ["a.jpg", "z.jpg"]),
        ("?.jpg", ["a.jpg", "z.jpg"]),
        ("[a-c].jpg", ["a.jpg"]),
        ("[!a].jpg", ["z.jpg"]),
        ("*", ["a.jpg", "dir/.h.jpg", "dir/b.jpg", "dir/sub/c.jpg", "dir/sub/d.png", "z.jpg"]),
        ("dir/*", ["dir/.h.jpg", "dir/b.jpg", "dir/sub/c.jpg", "dir/sub/d.png"]),
        ("*/b.jpg", ["dir/b.jpg"]),
        ("*/*.jpg", ["dir/.h.jpg", "dir/b.jpg"]),
        ("*/s*/*", ["dir/sub/c.jpg", "dir/sub/d.png"]),
        ("di?", ["dir/.h.jpg", "dir/b.jpg", "dir/sub/c.jpg", "dir/sub/d.png"]),
        ("**", ["a.jpg", "dir/.h.jpg", "dir/b.jpg", "dir/sub/c.jpg", "dir/sub/d.png", "z.jpg"]),
        ("**/*.jpg", ["a.jpg", "dir/.h.jpg", "dir/b.jpg", "dir/sub/c.jpg", "z.jpg"]),
        ("**/sub", ["dir/sub/c.jpg", "dir/sub/d.png"]),
        ("*/**/?.png", ["dir/sub/d.png"]),
        ("*/**", ["dir/.h.jpg", "dir/b.jpg", "dir/sub/c.jpg", "dir/sub/d.png"]),
        ("dir//./../*.jpg", ["a.jpg", "z.jpg"]),
    ],
)
def test_glob_finds_files_and_all_below_folders(
    tmp_path: Path, pattern: str, expected: list[str]
) -> None:
    for name in ("a.jpg", "z.jpg", "dir/.h.jpg", "dir/b.jpg", "dir/sub/c.jpg", "dir/sub/d.png"):
        make(tmp_path / name)
    assert found(f"{tmp_path}/{pattern}") == [str(tmp_path / name) for name in expected]


def test_literal_name_with_glob_characters_wins(tmp_path: Path) -> None:
    literal, other = make(tmp_path / "a[1].jpg"), make(tmp_path / "a1.jpg")
    assert found(literal) == [literal]
    assert found(tmp_path / "a[0-9].jpg") == [other]
    inside = make(tmp_path / "d[1]" / "x.jpg")
    make(tmp_path / "d2" / "x.jpg")
    assert found(tmp_path / "d[1]" / "*.jpg") == [inside]
    assert found(tmp_path / "d[1]" / "**") == [inside]


def test_glob_characters_of_the_current_folder_mean_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = make(tmp_path / "d[1]" / "x.jpg")
    make(tmp_path / "d1" / "x.jpg")
    monkeypatch.chdir(tmp_path / "d[1]")
    assert found("*.jpg") == found("**/*.jpg") == [inside]
    assert found("missing.jpg") == []


@pytest.mark.parametrize(
    "name",
    [
        b"a b#c?d%41e*[f].jpg",
        b"line\nbreak\r.jpg",
        b"\xff\xfe.jpg",
        "\u202e é \u2028漢字.jpg".encode(),
        b" ",
        b"gs:",
        b"-rf",
    ],
)
def test_odd_name_is_found_by_folder_name_and_glob_and_read(tmp_path: Path, name: bytes) -> None:
    path = os.path.join(tmp_path, os.fsdecode(name))
    Path(path).write_bytes(b"content")
    (uri,) = found(tmp_path)
    assert found(path) == found(tmp_path / "*") == found(tmp_path / "**") == [uri]
    assert uri.isprintable()
    assert local_path(uri) == path
    assert LOCAL.read(uri, MB).data == b"content"


def test_links_are_followed_under_their_own_names(tmp_path: Path) -> None:
    target = make(tmp_path / "elsewhere" / "a.jpg")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "folder").symlink_to("../elsewhere")
    (tmp_path / "in" / "link.jpg").symlink_to(target)
    expected = [str(tmp_path / "in" / "folder" / "a.jpg"), str(tmp_path / "in" / "link.jpg")]
    assert found(tmp_path / "in") == found(tmp_path / "in" / "**") == expected
    assert found(tmp_path / "in" / "link.jpg") == expected[1:]


def test_dangling_link_is_not_found_and_says_where_it_points(tmp_path: Path) -> None:
    link = tmp_path / "a.jpg"
    link.symlink_to("gone.jpg")
    row = (str(link), "not_found", f"{link}: it links to 'gone.jpg', which does not exist")
    for source in (tmp_path, link, tmp_path / "*.jpg", tmp_path / "**"):
        assert failures(source) == [row]
    for source in (tmp_path / "*.png", tmp_path / "**" / "*.png"):
        assert list(LOCAL.find(str(source))) == []


def test_link_to_itself_is_not_found(tmp_path: Path) -> None:
    link = tmp_path / "a.jpg"
    link.symlink_to("a.jpg")
    message = f"{link}: {os.strerror(errno.ELOOP)}"
    assert failures(tmp_path) == failures(link) == [(str(link), "not_found", message)]
    assert error_of(lambda: LOCAL.read(str(link), MB)) == ("not_found", message)


def test_link_to_a_folder_above_ends_as_one_row(tmp_path: Path) -> None:
    make(tmp_path / "in" / "sub" / "a.jpg")
    loop = tmp_path / "in" / "sub" / "loop"
    loop.symlink_to("../../in")
    row = (str(loop), "not_a_file", f"{loop} links back to a folder above it")
    assert failures(tmp_path / "in") == [row]
    assert len(list(LOCAL.find(str(tmp_path / "in")))) == 2
    assert found(tmp_path / "in" / "**" / "*.jpg") == [str(tmp_path / "in" / "sub" / "a.jpg")]


def test_two_links_to_one_folder_are_no_loop(tmp_path: Path) -> None:
    make(tmp_path / "real" / "a.jpg")
    (tmp_path / "one").symlink_to("real")
    (tmp_path / "two").symlink_to("real")
    assert found(tmp_path) == [str(tmp_path / name / "a.jpg") for name in ("one", "real", "two")]


@pytest.mark.parametrize("mode", [0o000, 0o444], ids=["closed", "names only"])
def test_unreadable_folder_is_a_row_for_whatever_pattern(public: Path, mode: int) -> None:
    make(public / "private" / "a.jpg")
    seen = make(public / "seen" / "a.jpg")
    private = public / "private"
    private.chmod(mode)
    denied = str(private if mode == 0 else private / "a.jpg")
    with as_a_user():
        for source in (public, public / "*" / "*.jpg", public / "**" / "*.jpg", public / "*"):
            assert failures(source) == [
                (denied, "permission_denied", f"{denied}: Permission denied")
            ]
            assert [image.uri for image in LOCAL.find(str(source)) if not image.failure] == [seen]
        inside = private / "a.jpg"
        row = (str(inside), "permission_denied", f"{inside}: Permission denied")
        assert failures(inside) == failures(public / "p*" / "a.jpg") == [row]
        assert error_of(lambda: LOCAL.read(str(inside), MB)) == row[1:]
    private.chmod(0o755)


def test_unreadable_folder_elsewhere_does_not_concern_a_glob(public: Path) -> None:
    make(public / "private" / "a.jpg")
    seen = make(public / "seen" / "sub" / "a.jpg")
    (public / "private").chmod(0)
    with as_a_user():
        assert found(public / "s*" / "**") == [seen]
    (public / "private").chmod(0o755)


@pytest.mark.timeout(40)
@pytest.mark.parametrize("kind", ["pipe", "socket", "device", "link to a device"])
def test_what_is_no_file_is_a_row_and_never_waits(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.jpg"
    listener = socket.socket(socket.AF_UNIX)
    if kind == "pipe":
        os.mkfifo(path)
        what = "a named pipe"
    elif kind == "socket":
        monkeypatch.chdir(tmp_path)  # the name of a socket may have 100 bytes only
        listener.bind("x.jpg")
        what = "a socket"
    elif kind == "link to a device":
        path.symlink_to("/dev/zero")
        what = "a character device"
    else:
        path = Path("/dev/zero")
        what = "a character device"
    assert failures(path) == [(str(path), "not_a_file", f"{path} is {what}, not a file")]
    error, message = error_of(lambda: LOCAL.read(str(path), MB))
    assert error == "not_a_file"
    if kind == "socket":
        assert message == f"{path}: {os.strerror(errno.ENXIO)}"
    else:
        assert message == f"{path} is {what}, not a file"
    with pytest.raises(OSError, match=f"{path} is {what}, not a file"):
        LOCAL.open(str(path))
    listener.close()


def test_folders_may_nest_two_thousand_deep(tmp_path: Path) -> None:
    deepest = str(tmp_path) + "/d" * 1950  # the system takes paths of 4,096 bytes at most
    subprocess.run(["mkdir", "-p", deepest], check=True)
    Path(deepest, "a.jpg").touch()
    assert found(tmp_path) == [f"{deepest}/a.jpg"]
    assert found(tmp_path / "**" / "*.jpg") == [f"{deepest}/a.jpg"]
    subprocess.run(["rm", "-r", tmp_path / "d"], check=True)  # Python's own cannot


def test_folder_that_vanishes_while_listing_is_a_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path / "a.jpg")
    make(tmp_path / "b" / "c.jpg")
    listing = LOCAL.find(str(tmp_path))
    assert next(listing).uri == str(tmp_path / "a.jpg")
    shutil.rmtree(tmp_path / "b")
    (lost,) = listing
    assert lost.failure
    assert (lost.uri, lost.failure.error) == (str(tmp_path / "b"), "not_found")


@pytest.mark.parametrize("seconds", [2**40, -(2**40)])
def test_time_that_readers_cannot_take_is_not_known(tmp_path: Path, seconds: int) -> None:
    path = make(tmp_path / "a.jpg")
    os.utime(path, (0, 0))
    assert LOCAL.read(path, MB).last_modified == 0
    os.utime(path, (0, seconds))
    kept = int(os.stat(path).st_mtime) == seconds
    (image,) = LOCAL.find(path)
    assert (image.last_modified is None) == kept  # some filesystems store the nearest they can
    assert LOCAL.read(path, MB).last_modified == image.last_modified


# Reading


def test_file_is_read_whole_with_its_time(tmp_path: Path) -> None:
    content = bytes(range(256)) * 4000
    path = make(tmp_path / "a.jpg", content)
    os.utime(path, ns=(0, 1_700_000_000_123_456_789))
    assert LOCAL.read(path, MB * 2) == (content, 1_700_000_000_123_456)
    assert LOCAL.read(f"file://{path}", len(content)).data == content
    assert LOCAL.read(make(tmp_path / "empty.jpg", b""), MB).data == b""


@pytest.mark.parametrize(
    ("name", "error", "why"),
    [
        ("gone.jpg", "not_found", "No such file or directory"),
        ("file/below.jpg", "not_found", "Not a directory"),
        ("n" * 300, "not_found", "File name too long"),
        ("folder", "not_a_file", "Is a directory"),
    ],
)
def test_what_cannot_be_read_says_why(tmp_path: Path, name: str, error: str, why: str) -> None:
    make(tmp_path / "file")
    (tmp_path / "folder").mkdir()
    path = str(tmp_path / name)
    assert error_of(lambda: LOCAL.read(path, MB)) == (error, f"{path}: {why}")


def test_name_with_a_zero_byte_is_not_found() -> None:
    error, message = error_of(lambda: LOCAL.read("file:///a%00b.jpg", MB))
    assert (error, message) == ("not_found", "'/a\\x00b.jpg' cannot be the name of a file")


def test_reading_many_folders_leaves_none_open(tmp_path: Path) -> None:
    before = len(os.listdir("/dev/fd"))
    for _ in range(20):
        error_of(lambda: LOCAL.read(str(tmp_path), MB))
    assert len(os.listdir("/dev/fd")) == before


def test_limit_on_bytes_is_checked_before_reading(tmp_path: Path) -> None:
    path = tmp_path / "sparse.jpg"
    with path.open("wb") as file:
        file.truncate(2**40)
    assert error_of(lambda: LOCAL.read(str(path), MB)) == (
        "too_many_bytes",
        f"{path} has 1,099,511,627,776 bytes, more than the limit of 1,000,000 bytes; "
        "raise --max-bytes to take it",
    )


def test_file_at_the_limit_is_read(tmp_path: Path) -> None:
    path = make(tmp_path / "a.jpg", bytes(1000))
    assert len(LOCAL.read(path, 1000).data) == 1000
    assert error_of(lambda: LOCAL.read(path, 999))[0] == "too_many_bytes"


@pytest.mark.parametrize("limit", [3000, 1999])
def test_growing_file_is_read_to_its_end_or_the_limit(
    tmp_path: Path, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make(tmp_path / "a.jpg", bytes(500))

    def stat_then_grow(descriptor: int) -> os.stat_result:
        status = real_fstat(descriptor)
        os.truncate(path, 2000)
        return status

    real_fstat = os.fstat
    monkeypatch.setattr("transforms.storage.local.os.fstat", stat_then_grow)
    if limit == 3000:
        assert LOCAL.read(path, limit).data == bytes(2000)
    else:
        assert error_of(lambda: LOCAL.read(path, limit)) == (
            "too_many_bytes",
            f"{path} has more than the limit of 1,999 bytes; raise --max-bytes to take it",
        )


def test_file_of_which_less_comes_than_it_has_is_unreadable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make(tmp_path / "a.jpg", bytes(2000))

    def stat_then_shrink(descriptor: int) -> os.stat_result:
        status = real_fstat(descriptor)
        os.truncate(path, 500)
        return status

    real_fstat = os.fstat
    monkeypatch.setattr("transforms.storage.local.os.fstat", stat_then_shrink)
    expected = ("unreadable", f"{path}: only 500 of 2,000 bytes could be read")
    assert error_of(lambda: LOCAL.read(path, MB)) == expected


def test_failing_disk_is_unreadable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: str, flags: int) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("transforms.storage.local.os.open", fail)
    expected = ("unreadable", f"{tmp_path}/a.jpg: Input/output error")
    assert error_of(lambda: LOCAL.read(f"{tmp_path}/a.jpg", MB)) == expected


# Writing


def test_write_makes_folders_replaces_and_leaves_nothing_else(tmp_path: Path) -> None:
    for content in (b"one", b"another"):
        LOCAL.write(str(tmp_path / "out"), "predictions/run_id=r/part.parquet", content)
        (path,) = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
        assert path == tmp_path / "out" / "predictions" / "run_id=r" / "part.parquet"
        assert path.read_bytes() == content


def test_write_takes_a_file_uri(tmp_path: Path) -> None:
    LOCAL.write(f"file://{tmp_path}/a%20b", "c", b"x")
    assert (tmp_path / "a b" / "c").read_bytes() == b"x"


def test_failed_write_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    LOCAL.write(str(tmp_path), "p/part", b"old")

    def fail(descriptor: int) -> None:
        (staged,) = [path for path in tmp_path.iterdir() if path.is_file()]
        assert staged.name.startswith(".staging-")
        assert os.listdir(tmp_path / "p") == ["part"]
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("transforms.storage.local.os.fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        LOCAL.write(str(tmp_path), "p/part", b"new")
    assert [str(p.relative_to(tmp_path)) for p in sorted(tmp_path.rglob("*"))] == ["p", "p/part"]
    assert (tmp_path / "p" / "part").read_bytes() == b"old"


def test_of_many_who_create_a_file_one_succeeds(tmp_path: Path) -> None:
    for number in range(20):
        (winner,) = creators(LOCAL, str(tmp_path), f"{number}/claim.json", 8)
        assert (tmp_path / str(number) / "claim.json").read_bytes() == winner
    with pytest.raises(FileExistsError):
        LOCAL.create(f"file://{tmp_path}", "0/claim.json", b"later")


def test_failed_creation_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("transforms.storage.local.os.fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        LOCAL.create(str(tmp_path), "p/claim.json", b"new")
    assert os.listdir(tmp_path / "p") == []


def test_many_writers_do_not_get_in_each_others_way(tmp_path: Path) -> None:
    errors: list[Exception] = []

    def write(writer: int) -> None:
        try:
            for i in range(25):
                LOCAL.write(str(tmp_path), f"p/{writer}-{i}", b"x")
        except OSError as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=[writer]) for writer in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(os.listdir(tmp_path / "p")) == 200
    assert os.listdir(tmp_path) == ["p"]


def test_names_are_the_files_below_the_folder(tmp_path: Path) -> None:
    for name in ("b", "a/c", ".x"):
        make(tmp_path / name)
    assert LOCAL.names(str(tmp_path)) == [".x", "a/c", "b"]
    assert LOCAL.names(f"file://{tmp_path}/") == [".x", "a/c", "b"]
    assert LOCAL.names(str(tmp_path / "nothing")) == []


@pytest.mark.parametrize("output", ["new", "new/deeper/still", "."])
def test_checking_the_output_leaves_nothing(tmp_path: Path, output: str) -> None:
    LOCAL.check_writable(str(tmp_path / output))
    assert os.listdir(tmp_path) == []


def test_output_that_cannot_be_is_an_os_error_and_leaves_nothing(
    tmp_path: Path, public: Path
) -> None:
    make(tmp_path / "file")
    for output in ("file", "file/below", "new/" + "n" * 300):
        with pytest.raises(OSError):
            LOCAL.check_writable(str(tmp_path / output))
    assert os.listdir(tmp_path) == ["file"]
    public.chmod(0o555)
    with as_a_user(), pytest.raises(PermissionError):
        LOCAL.check_writable(str(public))
    with as_a_user(), pytest.raises(PermissionError):
        LOCAL.check_writable(str(public / "new"))
    assert os.listdir(public) == []


@pytest.mark.slow
def test_a_hundred_thousand_files_are_listed_in_seconds(tmp_path: Path) -> None:
    for folder in range(100):
        (tmp_path / f"{folder:02}").mkdir()
        for i in range(1000):
            os.mknod(tmp_path / f"{folder:02}" / f"{i:03}.jpg")
    started = time.monotonic()
    assert sum(1 for _ in LOCAL.find(str(tmp_path))) == 100_000
    assert time.monotonic() - started < 10


def test_uri_of_a_found_file_is_the_canonical_one(tmp_path: Path) -> None:
    path = make(tmp_path / "a.jpg")
    assert found(f"/{tmp_path}//./a.jpg") == [local_uri(path)] == [path]


def test_folders_that_link_to_each_other_end(tmp_path: Path) -> None:
    folders = [tmp_path / str(number) for number in range(9)]
    for folder in folders:
        folder.mkdir()
        (folder / "image.jpg").write_bytes(b"x")
        for other in folders:
            if other != folder:
                (folder / f"to{other.name}").symlink_to(other)
    found = list(LocalStorage().find(str(tmp_path)))
    assert {f"{folder}/image.jpg" for folder in folders} <= {image.uri for image in found}
    assert len(found) < 1000
    assert {image.failure.error for image in found if image.failure} == {"not_a_file"}


def test_two_links_to_one_folder_are_both_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.jpg").write_bytes(b"x")
    for name in ("one", "two"):
        (tmp_path / name).symlink_to("real")
    found = [Path(image.uri).relative_to(tmp_path) for image in LocalStorage().find(str(tmp_path))]
    assert list(map(str, found)) == ["one/a.jpg", "real/a.jpg", "two/a.jpg"]


def test_names_follow_links_and_never_pass_over_what_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "part").touch()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "run").symlink_to(tmp_path / "elsewhere")
    assert LocalStorage().names(str(tmp_path / "out")) == ["run/part"]

    def refuse(path: str) -> list[str]:
        raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr("transforms.storage.local.os.listdir", refuse)
    with pytest.raises(OSError, match="Permission denied"):
        LocalStorage().names(str(tmp_path / "out"))


def test_two_dots_behind_a_link_lead_where_the_system_says(tmp_path: Path) -> None:
    deep = tmp_path / "real" / "deep"
    deep.mkdir(parents=True)
    (tmp_path / "real" / "a.jpg").write_bytes(b"x")
    (tmp_path / "link").symlink_to(deep)
    (image,) = LocalStorage().find(f"{tmp_path}/link/../a.jpg")
    assert image.uri == f"{tmp_path}/real/a.jpg"
    (image,) = LocalStorage().find(f"{tmp_path}/real/deep/../a.jpg")
    assert image.uri == f"{tmp_path}/real/a.jpg"
