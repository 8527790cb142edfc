import io
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import duckdb
import pytest
from apache_beam import Create, FlatMap, Map, Pipeline
from apache_beam.testing.util import assert_that, equal_to
from click.testing import CliRunner

from pipeline.options import UsageError
from pipeline.run import main
from pipeline.running.preflight import check_output, check_sources
from tests.helpers.gcs_emulator import Proxy, status
from tests.helpers.model_fixtures import PHOTOS, Command, TinyModel
from tests.helpers.tar_files import END, FORMATS, header, member, tar_of
from transforms.cut_shards import Bucket, CutShards, bucket_of
from transforms.failures import Failure, ImageError
from transforms.list_images import ListImages, Source, list_images
from transforms.metrics import local_counts
from transforms.read_images import read_image
from transforms.records import EarlierRow, ListedImage, Slot
from transforms.storage import canonical_uri, storage_for
from transforms.storage import tar as module
from transforms.storage.gcs import GoogleCloudStorage
from transforms.storage.local import LocalStorage
from transforms.storage.tar import TarStorage, list_members

MB = 1_000_000
STORED = [("a.jpg", b"A" * 600), ("a.json", b"{}"), ("a.txt", b"a cat"), ("b.PNG", b"B")]

# Google's client drops an answer that it asks for again without closing the connection.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    path = tmp_path / "shard.tar"
    path.write_bytes(tar_of(STORED))
    os.utime(path, ns=(0, 7_000))
    return path


@pytest.fixture
def tars() -> TarStorage:
    return TarStorage()


def downloads(cloud: Proxy, name: str = "") -> int:
    return sum("/download/" in request and name in request for request in cloud.requests)


def found(location: object, output: str = "/nowhere") -> list[ListedImage]:
    return list(list_images(Source("input", str(location)), output))


def error_of(action: Callable[[], object]) -> tuple[str, str]:
    with pytest.raises(ImageError) as caught:
        action()
    return caught.value.error, str(caught.value)


def test_images_are_listed_with_their_sizes_and_the_time_of_the_tar(shard: Path) -> None:
    before = local_counts().get("side_files", 0)
    assert found(shard) == [
        ListedImage(f"{shard}::a.jpg", 600, 7),
        ListedImage(f"{shard}::b.PNG", 1, 7),
    ]
    assert local_counts()["side_files"] - before == 2


@pytest.mark.parametrize("source", ["", "*.tar", "**", "shard.tar"])
def test_tar_is_found_wherever_a_file_would_be(shard: Path, source: str) -> None:
    uris = [image.uri for image in found(shard.parent / source)]
    assert uris == [f"{shard}::a.jpg", f"{shard}::b.PNG"]


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("a.jpg", ["a.jpg"]),
        ("*.jpg", ["a.jpg"]),
        ("?.*", ["a.jpg", "b.PNG"]),
        ("a.json", []),
        ("gone.jpg", []),
    ],
)
def test_one_member_or_a_glob_of_them_can_be_an_input(
    shard: Path, source: str, names: list[str]
) -> None:
    for tar in (shard, shard.parent / "*.tar"):
        assert [i.uri for i in found(f"{tar}::{source}")] == [f"{shard}::{n}" for n in names]


def test_manifest_names_tars_and_members(shard: Path) -> None:
    manifest = shard.parent / "list.txt"
    manifest.write_text(f"{shard}\n{shard}::b.PNG\n{shard}::a%2ejson\n{shard.parent}/gone.tar\n")
    gone = f"{shard.parent}/gone.tar"
    failure = Failure("not_found", "list", f"{gone} does not exist")
    assert list(list_images(Source("manifest", str(manifest)), "/nowhere")) == [
        ListedImage(f"{shard}::a.jpg", 600),
        ListedImage(f"{shard}::b.PNG", 1),
        ListedImage(f"{shard}::b.PNG"),
        ListedImage(f"{shard}::a.json"),
        ListedImage(gone, failure=failure),
    ]


@pytest.mark.parametrize(
    ("content", "rows", "reason", "message"),
    [
        (tar_of(STORED)[:700], ["a.jpg"], "truncated", "breaks after 1 of its members: its end is"),
        (member("a.jpg", b"A") + b"x" * 512, ["a.jpg"], "corrupt", "breaks after 1 of its members"),
        (b"", [], "empty", "has no bytes"),
        (END, [], "empty", "has no members"),
        (b"\xff\xd8\xff" * 400, [], "corrupt", "is no tar: it begins with the bytes b'\\xff"),
        (
            tar_of(STORED[1:3]),
            [],
            "not_an_image",
            "holds no image: none of its 2 members is named as one, such as .jpg",
        ),
    ],
    ids=["cut", "rubbish", "empty", "no members", "no tar", "no image"],
)
def test_tar_that_breaks_or_has_no_image_is_a_row_after_its_images(
    shard: Path, content: bytes, rows: list[str], reason: str, message: str
) -> None:
    shard.write_bytes(content)
    os.utime(shard, ns=(0, 7_000))
    *images, itself = found(shard)
    assert [image.uri for image in images] == [f"{shard}::{name}" for name in rows]
    assert itself[:3] == (str(shard), len(content), 7)
    assert itself.failure
    assert (itself.failure.error, itself.failure.stage) == (reason, "list")
    assert itself.failure.message.startswith(f"{shard} {message}")


def test_member_that_is_no_image_by_itself_is_a_row_with_its_reason(shard: Path) -> None:
    shard.write_bytes(
        header("link.jpg", kind=b"2", linkname="/etc/passwd")
        + header("link.txt", kind=b"2", linkname="/etc/passwd")
        + member("../../a.jpg", b"A")
        + END
    )
    link, image = found(shard)
    assert link.failure
    assert (link.uri, link.byte_size, link.failure.error) == (
        f"{shard}::link.jpg",
        None,
        "not_a_file",
    )
    assert read_image(Slot("s", 1, link), MB).failure == link.failure
    assert read_image(Slot("s", 1, image), MB).content == b"A"
    assert image.uri == f"{shard}::../../a.jpg"


def test_dangling_link_named_tar_is_the_row_it_always_was(tmp_path: Path) -> None:
    (tmp_path / "a.tar").symlink_to("gone")
    message = f"{tmp_path}/a.tar: it links to 'gone', which does not exist"
    failure = Failure("not_found", "list", message)
    assert found(tmp_path) == [ListedImage(f"{tmp_path}/a.tar", failure=failure)]


def test_folder_named_tar_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a.tar").mkdir()
    (tmp_path / "a.tar" / "b.jpg").write_bytes(b"B")
    assert [image.uri for image in found(tmp_path)] == [f"{tmp_path}/a.tar/b.jpg"]


def test_file_named_as_a_member_is_itself(shard: Path) -> None:
    path = shard.parent / "shard.tar::a.jpg"
    path.write_bytes(b"a file of its own")
    first, second, third = found(shard.parent)
    assert [first.uri, third.uri] == [
        f"{shard}::a.jpg",
        f"file://{shard.parent}/shard.tar%3A%3Aa.jpg",
    ]
    contents = [read_image(Slot("s", 1, i), MB).content for i in (first, second, third)]
    assert contents == [b"A" * 600, b"B", b"a file of its own"]


def test_object_named_as_a_member_says_so(put: Callable[[str, bytes], str]) -> None:
    uri = put("x.tar::a.jpg", b"an object of its own")
    (image,) = found(uri.removesuffix("x.tar::a.jpg"))
    assert (image.uri, image.byte_size) == (uri, None)
    assert image.failure == Failure(
        "not_found",
        "list",
        f"{uri} is an object's whole name, but reads as that of a member of a tar: "
        "rename the object",
    )


def test_members_are_read_with_their_bytes(tars: TarStorage, shard: Path) -> None:
    for name, content in STORED:
        assert tars.read(f"{shard}::{name}", 600) == (content, None)
    assert tars.open(f"{shard}::a.txt").read() == b"a cat"
    assert storage_for(f"{shard}::a.jpg").read(f"{shard}::a.jpg", 600).data == b"A" * 600


def test_names_of_all_kinds_lead_back_to_their_bytes(tars: TarStorage, shard: Path) -> None:
    names = ["é.jpg", "a b#c?d%41.jpg", "x" * 300 + ".jpg", "\udcff.jpg", "n\nl.jpg", "::.jpg"]
    names += ["a.tar::b.jpg", "[1].jpg", "#2.jpg", "http://x/y.jpg"]
    for format in (FORMATS["gnu"], FORMATS["pax"]):
        shard.write_bytes(tar_of(((name, repr(name).encode()) for name in names), format))
        images = found(shard)
        assert len({image.uri for image in images}) == len(names)
        for image, name in zip(images, names, strict=True):
            assert image.uri.isprintable()
            assert canonical_uri(image.uri) == image.uri
            assert TarStorage().read(image.uri, MB).data == repr(name).encode()


def test_images_of_one_name_are_inputs_of_their_own(tars: TarStorage, shard: Path) -> None:
    shard.write_bytes(tar_of([("a.jpg", b"1"), ("a.jpg", b"22")]))
    first, second = found(shard)
    assert [first[:2], second[:2]] == [(f"{shard}::a.jpg", 1), (f"{shard}::a.jpg#2", 2)]
    assert [tars.read(image.uri, MB).data for image in (first, second)] == [b"1", b"22"]


def test_what_cannot_be_read_says_why(tars: TarStorage, shard: Path) -> None:
    gone, folder = shard.parent / "gone.tar", shard.parent / "folder.tar"
    folder.mkdir()
    for uri, error in {
        f"{shard}::c.jpg": ("not_found", f"{shard}::c.jpg: the tar has no such member"),
        f"{shard}::a.jpg#2": ("not_found", f"{shard}::a.jpg#2: the tar has no such member"),
        f"{gone}::a.jpg": ("not_found", f"{gone} does not exist"),
        f"{folder}::a.jpg": (
            "unreadable",
            f"{folder} cannot be opened: {folder} is a folder, not a file",
        ),
        f"{shard}::a.jpg": (
            "too_many_bytes",
            f"{shard}::a.jpg has 600 bytes, more than the limit of 599 bytes; "
            "raise --max-bytes to take it",
        ),
    }.items():
        for _ in range(2):  # the same again from what is remembered
            assert error_of(partial(tars.read, uri, 599)) == error


def test_member_behind_the_break_of_a_tar_has_the_reason_of_the_tar(
    tars: TarStorage, shard: Path
) -> None:
    shard.write_bytes(tar_of([("a.jpg", b"A"), ("b.jpg", b"B" * 600), ("c.jpg", b"C")])[:1800])
    assert tars.read(f"{shard}::a.jpg", MB).data == b"A"
    cut = f"{shard}::b.jpg: the tar ends at 264 of 600 bytes"
    assert error_of(lambda: tars.read(f"{shard}::b.jpg", MB)) == ("truncated", cut)
    broken = f"{shard} breaks after 2 of its members: its end is missing at byte 1,800: "
    assert error_of(lambda: tars.read(f"{shard}::c.jpg", MB)) == (
        "truncated",
        broken + "copy it again",
    )


def test_tar_that_shrinks_while_it_is_read_is_unreadable(tars: TarStorage, shard: Path) -> None:
    tars.read(f"{shard}::a.jpg", MB)
    os.truncate(shard, 600)
    assert error_of(lambda: tars.read(f"{shard}::a.jpg", MB)) == (
        "unreadable",
        f"{shard}::a.jpg: the tar was cut off while it was read",
    )


def test_tars_cannot_be_written_into(tars: TarStorage, shard: Path) -> None:
    for action in (
        lambda: tars.write(f"{shard}::x", "a", b""),
        lambda: tars.create(f"{shard}::x", "a", b""),
        lambda: tars.names(f"{shard}::x"),
        lambda: tars.check_writable(f"{shard}::x"),
    ):
        with pytest.raises(OSError, match=r"shard.tar::x is in a tar, and tars are only read"):
            action()


def test_threads_share_one_fetch(
    tars: TarStorage, shard: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, open_local = [], LocalStorage.open

    def slow_open(self: LocalStorage, uri: str) -> BinaryIO:
        opened.append(uri)
        threading.Event().wait(0.05)
        return open_local(self, uri)

    monkeypatch.setattr(LocalStorage, "open", slow_open)
    with ThreadPoolExecutor(16) as pool:
        contents = list(pool.map(lambda _: tars.read(f"{shard}::a.jpg", MB).data, range(64)))
    assert contents == [b"A" * 600] * 64
    assert opened == [str(shard)]


def test_tars_are_closed_when_others_are_read_or_when_idle(
    tars: TarStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MOST_OPEN", 2)

    def is_open(name: str) -> bool:
        links = (f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd"))
        return any(os.path.realpath(link) == str(tmp_path / name) for link in links)

    for name in ("1.tar", "2.tar", "3.tar"):
        (tmp_path / name).write_bytes(tar_of(STORED))
    for name in ("1.tar", "2.tar", "1.tar", "3.tar"):
        assert tars.read(f"{tmp_path / name}::b.PNG", MB).data == b"B"
    assert [is_open(name) for name in ("1.tar", "2.tar", "3.tar")] == [True, False, True]
    monkeypatch.setattr(module, "_IDLE_S", 0.0)
    tars.read(f"{tmp_path / '2.tar'}::b.PNG", MB)
    assert [is_open(name) for name in ("1.tar", "2.tar", "3.tar")] == [False, True, False]


def test_object_is_fetched_once_to_list_and_once_to_read(
    cloud: Proxy, put: Callable[[str, bytes], str], tars: TarStorage
) -> None:
    content = {f"{i:03}.jpg": b"%d" % i * 200 for i in range(50)}
    uri = put("shard.tar", tar_of(content.items()))
    images = found(uri)
    (listed,) = GoogleCloudStorage().find(uri)
    assert [image.uri for image in images] == [f"{uri}::{name}" for name in content]
    assert {image.last_modified for image in images} == {listed.last_modified}
    assert downloads(cloud) == 1
    with ThreadPoolExecutor(16) as pool:
        read = list(pool.map(lambda image: tars.read(image.uri, MB).data, images))
    assert read == list(content.values())
    assert downloads(cloud) == 2


def test_object_that_may_not_be_read_is_asked_for_once(
    cloud: Proxy, put: Callable[[str, bytes], str], tars: TarStorage
) -> None:
    uri = put("shard.tar", tar_of(STORED))
    cloud.faults.append(status(403))
    for name, _ in STORED:
        error, message = error_of(partial(tars.read, f"{uri}::{name}", MB))
        assert error == "permission_denied"
        assert message.startswith(f"{uri} may not be read: Cloud Storage refuses it: 403 Forbidden")
    assert len(cloud.requests) == 1


def test_a_storm_costs_no_member(
    cloud: Proxy,
    put: Callable[[str, bytes], str],
    tars: TarStorage,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    uri = put("shard.tar", tar_of(STORED))
    found(uri)
    monkeypatch.setattr("transforms.storage.gcs.CALL_S", 0.1)
    end = time.monotonic() + 0.5
    cloud.lasting_fault = lambda request, reply: (
        status(429)(reply) if time.monotonic() < end else reply
    )
    with ThreadPoolExecutor(4) as pool:
        read = list(pool.map(lambda member: tars.read(f"{uri}::{member[0]}", MB).data, STORED))
    assert read == [content for _, content in STORED]
    assert time.monotonic() > end


class Remote:
    """A storage whose streams are no files of this machine, and each seek is a request."""

    def __init__(self, content: bytes) -> None:
        self.content, self.opened = content, 0

    def open(self, uri: str) -> BinaryIO:
        self.opened += 1

        class Stream(io.BytesIO):
            def seek(self, at: int, whence: int = 0, /) -> int:
                raise AssertionError("each seek would be a request")

        return Stream(self.content)


def test_stream_of_another_storage_is_copied_once(
    tars: TarStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = Remote(tar_of(STORED))
    monkeypatch.setattr(module, "storage_for", lambda uri: tars if "::" in uri else remote)
    for name, content in STORED:
        assert tars.read(f"s3://b/shard.tar::{name}", MB).data == content
    assert remote.opened == 1
    listed = list(list_members(ListedImage("s3://b/shard.tar", 1, 7)))
    assert listed == [
        ListedImage("s3://b/shard.tar::a.jpg", 600, 7),
        ListedImage("s3://b/shard.tar::b.PNG", 1, 7),
    ]
    assert remote.opened == 2


def test_tar_that_is_listed_again_is_fetched_again(shard: Path) -> None:
    for content in (b"A", b"other"):
        shard.write_bytes(tar_of([("a.jpg", content)]))
        (image,) = found(shard)
        assert read_image(Slot("s", 1, image), MB).content == content


def test_members_of_a_tar_stay_in_one_bucket_and_in_order(p: Pipeline) -> None:
    uris = [f"gs://b/{t:02}.tar::{i:03}.jpg" for t in range(40) for i in range(25)]
    assert bucket_of(uris[0], 1000) == bucket_of("gs://b/00.tar", 1000)

    def check(buckets: list[Bucket]) -> None:
        names: dict[str, set[str]] = {}
        for shard in (shard for bucket in buckets for shard in bucket.shards):
            images = [image.uri for image in shard.images]
            assert images == sorted(images)
            for uri in images:
                names.setdefault(uri.partition("::")[0], set()).add(shard.name[:5])
        assert len(names) == 40
        assert {len(buckets) for buckets in names.values()} == {1}
        assert len(set.union(*names.values())) > 1

    with p:
        listed = p | "Uris" >> Create(uris) | Map(ListedImage).with_output_types(ListedImage)
        nothing = p | Create([]).with_output_types(EarlierRow)
        assert_that(listed | CutShards(nothing, 2), check)


def test_transform_lists_tars_beside_images(p: Pipeline, shard: Path) -> None:
    image = shard.parent / "c.jpg"
    image.write_bytes(b"C")
    os.utime(image, ns=(0, 8_000))
    with p:
        listed = p | Create([Source("input", str(shard.parent))]) | ListImages("/nowhere")
        assert_that(
            listed | FlatMap(lambda image: [tuple(image)]),
            equal_to(
                [
                    (f"{shard}::a.jpg", 600, 7, None),
                    (f"{shard}::b.PNG", 1, 7, None),
                    (str(image), 1, 8, None),
                ]
            ),
        )


def photo_tar(path: Path, *more: tuple[str, bytes]) -> Path:
    """The photographs as img2dataset stores them, each with its side files."""
    members = [
        each
        for photo in sorted(PHOTOS.iterdir())
        for each in (
            (photo.name, photo.read_bytes()),
            (f"{photo.stem}.json", b"{}"),
            (f"{photo.stem}.txt", b"a caption"),
        )
    ]
    path.write_bytes(tar_of([*members, *more]))
    return path


def rows_of(output: Path, columns: str) -> list[tuple[Any, ...]]:
    query = f"SELECT uri, {columns} FROM '{output}/predictions/*/*.parquet' ORDER BY uri"
    return duckdb.connect().execute(query).fetchall()


SAME = "label, score, class_index, top_k, width, height, format, byte_size, error"


@pytest.fixture(scope="module")
def plain(
    run: Command, tiny_model: TinyModel, tmp_path_factory: pytest.TempPathFactory
) -> list[tuple[Any, ...]]:
    """The rows of the photographs as files, without their folder."""
    out = tmp_path_factory.mktemp("plain")
    assert run("--input", str(PHOTOS), "--output", str(out), *tiny_model.options()).code == 0
    return [(Path(uri).name, *rest) for uri, *rest in rows_of(out, SAME)]


def test_rows_of_a_tar_are_those_of_its_files(
    run: Command, tiny_model: TinyModel, tmp_path: Path, plain: list[tuple[Any, ...]]
) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    whole = photo_tar(folder / "00000.tar")
    cut = folder / "00001.tar"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    shutil.copy(PHOTOS / "cat.jpg", folder / "cat.jpg")
    again = tmp_path / "list.txt"
    again.write_text(f"{whole}::cat.jpg\n{whole}::gone.jpg\n")
    options = ("--shard-size", "5", *tiny_model.options())
    done = run(*("--input", str(folder), "--manifest", str(again), "--output", str(out)), *options)
    assert (done.code, done.err) == (0, "")

    rows = {uri: rest for uri, *rest in rows_of(out, SAME)}
    assert [(name, *rows[f"{whole}::{name}"]) for name, *_ in plain] == plain
    assert rows[f"{whole}::gone.jpg"][-1] == "not_found"
    assert rows[str(folder / "cat.jpg")] == rows[f"{whole}::cat.jpg"]
    halves = {uri.partition("::")[2]: row for uri, row in rows.items() if uri.startswith(str(cut))}
    errors = {name: row[-1] for name, row in halves.items() if row[-1]}
    assert set(errors.values()) == {"truncated"}
    assert len(errors) == 2  # the image that is cut off, and the tar
    assert errors[""] == "truncated"
    predicted = [name for name in halves if name not in errors]
    assert predicted == [name for name, *_ in plain][: len(predicted)]
    assert [halves[name] for name in predicted] == [list(rest) for _, *rest in plain][
        : len(predicted)
    ]
    assert len(rows) == len(plain) + 2 + len(halves)
    assert "1 image named again, counted once" in done.out


def test_tars_in_a_bucket_cost_two_requests_each_and_not_one_an_image(
    run: Command,
    tiny_model: TinyModel,
    tmp_path: Path,
    plain: list[tuple[Any, ...]],
    cloud: Proxy,
    put: Callable[[str, bytes], str],
) -> None:
    content = photo_tar(tmp_path / "t.tar").read_bytes()
    uris = [put(f"shards/{i:05}.tar", content) for i in range(3)]
    out = tmp_path / "out"
    pattern = f"{uris[0].rpartition('/')[0]}/*.tar"
    done = run("--input", pattern, "--output", str(out), *tiny_model.options())
    assert (done.code, done.err) == (0, "")
    rows = [(uri.rpartition("::")[::2], *rest) for uri, *rest in rows_of(out, SAME)]
    assert rows == [((uri, name), *rest) for uri in uris for name, *rest in plain]
    assert downloads(cloud) == 6
    assert len(cloud.requests) < 15


def test_resume_skips_the_images_of_a_tar_until_it_is_replaced(
    own_caches: None, tiny_model: TinyModel, tmp_path: Path, shard: Path
) -> None:
    out = tmp_path / "out"

    def first_line(*options: str) -> str:
        inputs = ("--input", str(shard), "--output", str(out))
        done = CliRunner().invoke(main, [*inputs, *tiny_model.options(), *options])
        assert done.exit_code == 0, done.output
        return done.stdout.splitlines()[0]

    photo_tar(shard)
    os.utime(shard, ns=(0, 7_000))
    first_line()
    rows = rows_of(out, "byte_size, epoch_us(last_modified)")
    assert rows == [image[:3] for image in sorted(found(shard))]
    count = len(rows)
    skipped = "their rows are current"
    assert first_line("--resume") == f"{count} images listed, 0 predicted, 0 failed, {count} " + (
        f"skipped: {skipped}"
    )
    photo_tar(shard, ("new.jpg", (PHOTOS / "cat.jpg").read_bytes()))
    os.utime(shard, ns=(0, 8_000))
    more = count + 1
    again = first_line("--resume")
    assert again.startswith(f"{more} images listed, {more} predicted, 0 failed")


def test_member_that_cannot_be_is_wrong_usage(tmp_path: Path, shard: Path) -> None:
    gone = f"{shard}::gone.jpg"
    with pytest.raises(UsageError, match=r"--input '.*/shard.tar::gone.jpg' matches nothing"):
        check_sources([Source("input", gone)])
    with pytest.raises(UsageError) as caught:
        check_output(gone, resume=False)
    said = f"--output {gone!r} cannot be written: {gone}/runs is in a tar, and tars are only read"
    assert str(caught.value) == said


@pytest.fixture(scope="module", autouse=True)
def _collect_sockets() -> Iterator[None]:
    """Before another module's filter of warnings holds."""
    import gc

    yield
    gc.collect()
