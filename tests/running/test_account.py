import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from pipeline.running.account import Account, PartFile, read_account, write_run
from tests.helpers.gcs_emulator import Proxy
from transforms.failures import Failure
from transforms.layout import part_name, run_folder
from transforms.ledger import LedgerLine, uri_digest, write_ledger
from transforms.models.labels import Label
from transforms.records import ClassifiedImage, ListedImage, Prediction, Slot
from transforms.schema import parquet_bytes, table_of
from transforms.storage import storage_for

RUN = "r-1"
SHARDS = {
    "00000-00000": ["/a.jpg", "/b.jpg", "/failed-empty.jpg"],
    "00000-00001": ["/c.jpg", "/failed-empty-too.jpg", "/failed-not_found.jpg"],
}
FIRST, SECOND = (part_name(shard, RUN) for shard in SHARDS)
BALANCED = Account(
    listed=6,
    duplicates=4,
    predicted=3,
    failed=3,
    skipped=0,
    errors={"empty": 2, "not_found": 1},
    files=(PartFile(FIRST, 3), PartFile(SECOND, 3)),
    differences=(),
)


def write_part(output: str, shard: str, uris: list[str], run_id: str = RUN) -> None:
    """A part file; a URI says what became of its image."""
    images = []
    for uri in uris:
        image = ClassifiedImage(
            Slot(shard, len(uris), ListedImage(uri)), 1, 1, "PNG", (Prediction(0, 1),), None
        )
        if uri.startswith("/failed-"):
            error = uri.removesuffix(".jpg").split("-")[1]
            image = image._replace(top_k=(), failure=Failure(error, "read", "why"))
        images.append(image)
    table = table_of(images, (Label(0, None, "tench"),), "mobilenet")
    storage_for(output).write(output, part_name(shard, run_id), parquet_bytes(table))


def line(kind: str, name: str, uris: list[str], duplicates: int = 0) -> LedgerLine:
    return LedgerLine(kind, name, len(uris), duplicates, uri_digest(uris))


def write_whole_run(output: str, *more: LedgerLine, skipped: Sequence[str] = ()) -> None:
    """A run that did `SHARDS` and skipped what lies in earlier files, by the lines of `more`."""
    listed = [uri for uris in SHARDS.values() for uri in uris] + list(skipped)
    shards = [line("shard", shard, uris) for shard, uris in SHARDS.items()]
    write_ledger([line("bucket", "00000", listed, duplicates=4), *shards, *more], output, RUN)
    for shard, uris in SHARDS.items():
        write_part(output, shard, list(reversed(uris)))


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """The output of a run that balances."""
    write_whole_run(str(tmp_path))
    return tmp_path


def differences(output: Path) -> tuple[str, ...]:
    return read_account(str(output), RUN).differences


def test_balanced_run_is_counted_from_disk(output: Path) -> None:
    assert read_account(str(output), RUN) == BALANCED
    assert read_account(f"file://{output}/", RUN) == BALANCED
    assert BALANCED.failure_rate == 0.5


def test_run_in_a_bucket_balances(cloud: Proxy) -> None:
    client = storage.Client("test", credentials=AnonymousCredentials())
    client.create_bucket("account")
    write_whole_run("gs://account/out")
    assert read_account("gs://account/out", RUN) == BALANCED
    client.bucket("account").blob(f"out/{FIRST}").delete()
    assert read_account("gs://account/out", RUN).differences == (
        f"{FIRST} with 3 images is missing",
    )


def test_run_of_nothing_balances(tmp_path: Path) -> None:
    write_ledger([], str(tmp_path), RUN)
    assert read_account(str(tmp_path), RUN) == Account(0, 0, 0, 0, 0, {}, (), ())
    assert read_account(str(tmp_path), RUN).failure_rate == 0.0


def test_missing_part_file_is_named(output: Path) -> None:
    (output / SECOND).unlink()
    account = read_account(str(output), RUN)
    assert account.differences == (f"{SECOND} with 3 images is missing",)
    assert (account.listed, account.predicted, account.failed) == (6, 2, 1)
    shutil.rmtree(output / run_folder(RUN))
    assert len(differences(output)) == 2


@pytest.mark.parametrize(
    ("uris", "difference"),
    [
        (["/a.jpg", "/b.jpg"], "holds 2 rows of 2 images instead of 3"),
        (["/a.jpg", "/b.jpg", "/x.jpg"], "holds other images than those listed"),
        (["/a.jpg", "/b.jpg", "/b.jpg"], "holds 3 rows of 2 images instead of 3"),
        ([*SHARDS["00000-00000"], "/a.jpg"], "holds 4 rows of 3 images instead of 3"),
        ([*SHARDS["00000-00000"], "/x.jpg"], "holds 4 rows of 4 images instead of 3"),
        ([], "holds 0 rows of 0 images instead of 3"),
    ],
    ids=["too few", "others", "doubled", "doubled and too many", "too many", "none"],
)
def test_part_file_with_other_rows_is_named(output: Path, uris: list[str], difference: str) -> None:
    write_part(str(output), "00000-00000", uris)
    assert differences(output) == (f"{FIRST} {difference}",)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("part-00000-00002.parquet", "part-00000-00002.parquet"),
        ("deeper/part-00000-00000.parquet", "deeper/part-00000-00000.parquet"),
        (".x", ".x"),
        ("line\nbreak\udcff", "line\\nbreak\\udcff"),
    ],
)
def test_extra_file_is_named(output: Path, name: str, shown: str) -> None:
    extra = output / run_folder(RUN) / name
    extra.parent.mkdir(exist_ok=True)
    shutil.copy(output / FIRST, extra)
    assert differences(output) == (f"{run_folder(RUN)}/{shown} belongs to no shard",)


def test_files_of_another_run_do_not_count(output: Path) -> None:
    other = output / run_folder("r-2")
    other.mkdir()
    shutil.copy(output / FIRST, other)
    assert read_account(str(output), RUN) == BALANCED


def test_damaged_part_file_is_named(output: Path) -> None:
    content = (output / FIRST).read_bytes()
    (output / FIRST).write_bytes(content[: len(content) // 2])
    (difference,) = differences(output)
    assert difference.startswith(f"{FIRST} with 3 images cannot be read: ")


def test_a_flipped_bit_in_a_reason_is_named(output: Path) -> None:
    """`empty` becomes `emptx`, which is as good a text: only the checksum of its page tells."""
    footer = pq.ParquetFile(output / FIRST).metadata
    columns = [footer.row_group(0).column(i) for i in range(footer.num_columns)]
    (error,) = [column for column in columns if column.path_in_schema == "error"]
    content = bytearray((output / FIRST).read_bytes())
    end = error.data_page_offset  # of the dictionary, which has one value
    assert content[end - 5 : end] == b"empty"
    content[end - 1] ^= 1
    (output / FIRST).write_bytes(content)
    account = read_account(str(output), RUN)
    assert (account.predicted, account.errors) == (1, {"empty": 1, "not_found": 1})
    (difference,) = account.differences
    assert difference.startswith(f"{FIRST} with 3 images cannot be read: ")
    assert "CRC checksum verification failed" in difference


def test_part_file_of_another_schema_is_named(output: Path) -> None:
    pq.write_table(pa.table({"path": ["/a.jpg"]}), output / FIRST)
    (difference,) = differences(output)
    assert difference.startswith(f"{FIRST} with 3 images cannot be read: ")


EARLIER = part_name("00000-00000", "r-0")
HELD = ["/y.jpg", "/z.jpg"]


def skipped_line(current: list[str]) -> LedgerLine:
    """The line of an earlier file that held `HELD` when the run read it."""
    return line("part", EARLIER, current)._replace(held=2, held_digest=uri_digest(HELD))


@pytest.mark.parametrize("kept", [["/y.jpg", "/z.jpg"], ["/z.jpg"]], ids=["all", "some"])
def test_skipped_images_are_counted_from_the_files_of_earlier_runs(
    tmp_path: Path, kept: list[str]
) -> None:
    output = str(tmp_path)
    write_whole_run(output, skipped_line(kept), skipped=kept)
    write_part(output, "00000-00000", HELD, "r-0")
    expected = BALANCED._replace(listed=6 + len(kept), skipped=len(kept))
    assert read_account(output, RUN) == expected


@pytest.mark.parametrize("skipped", [HELD, ["/z.jpg"]], ids=["all", "some"])
@pytest.mark.parametrize(
    ("there", "difference"),
    [
        (None, "with {} images is missing"),
        (["/z.jpg"], "holds 1 rows of 1 images instead of 2"),
        (["/z.jpg", "/x.jpg"], "holds other images than when this run read it"),
        ([*HELD, "/x.jpg"], "holds 3 rows of 3 images instead of 2"),
    ],
    ids=["gone", "fewer", "others", "more"],
)
def test_earlier_file_that_is_no_longer_what_this_run_read_is_named(
    tmp_path: Path, there: list[str] | None, difference: str, skipped: list[str]
) -> None:
    write_whole_run(str(tmp_path), skipped_line(skipped), skipped=skipped)
    if there is not None:
        write_part(str(tmp_path), "00000-00000", there, "r-0")
    assert differences(tmp_path) == (f"{EARLIER} {difference.format(len(skipped))}",)


def test_images_of_an_earlier_file_that_is_gone_were_not_skipped(tmp_path: Path) -> None:
    skipped = ["/y.jpg", "/z.jpg"]
    write_whole_run(str(tmp_path), line("part", EARLIER, skipped), skipped=skipped)
    account = read_account(str(tmp_path), RUN)
    assert (account.listed, account.predicted, account.failed, account.skipped) == (8, 3, 3, 0)
    assert account.differences == (f"{EARLIER} with 2 images is missing",)


def test_skipped_errors_and_duplicates_of_all_lines_are_added_up(tmp_path: Path) -> None:
    kept = [["/y.jpg", "/z.jpg"], ["/failed-empty-w.jpg"]]
    parts = [part_name(f"00000-0000{n}", "r-0") for n in range(2)]
    lines = [
        line("part", name, uris)._replace(
            errors=errors, held=len(uris), held_digest=uri_digest(uris)
        )
        for name, uris, errors in zip(parts, kept, (2, 1), strict=True)
    ]
    write_whole_run(str(tmp_path), *lines, skipped=[uri for uris in kept for uri in uris])
    for n, uris in enumerate(kept):
        write_part(str(tmp_path), f"00000-0000{n}", uris, "r-0")
    account = read_account(str(tmp_path), RUN)
    assert (account.listed, account.skipped, account.skipped_errors) == (9, 3, 3)
    assert (account.duplicates, account.differences) == (4, ())


@pytest.mark.parametrize(
    ("skipped", "difference"),
    [
        (["/z.jpg"], "6 of the 7 images listed are in a shard or an earlier file"),
        ([], None),
    ],
    ids=["lost", "none"],
)
def test_image_that_was_listed_but_never_cut_is_a_difference(
    tmp_path: Path, skipped: list[str], difference: str | None
) -> None:
    write_whole_run(str(tmp_path), skipped=skipped)
    assert differences(tmp_path) == ((difference,) if difference else ())


def test_shards_of_other_images_than_those_listed_are_a_difference(output: Path) -> None:
    lines = [line("bucket", "00000", list("abcdef"))]
    lines += [line("shard", shard, uris) for shard, uris in SHARDS.items()]
    write_ledger(lines, str(output), RUN)
    assert differences(output) == (
        "the shards and the earlier files hold other images than those listed",
    )


def test_missing_ledger_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_account(str(tmp_path), RUN)


def test_run_file_says_that_the_run_is_complete(output: Path) -> None:
    write_run(str(output), RUN, {"listed": 6})
    facts = json.loads((output / "runs" / "r-1.json").read_text())
    assert facts == {"run_id": "r-1", "listed": 6}
