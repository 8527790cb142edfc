import os
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from apache_beam import Create, Pipeline
from apache_beam.testing.util import assert_that, equal_to

from transforms.failures import Failure, Stage
from transforms.layout import part_name
from transforms.metrics import local_counts
from transforms.models.labels import Label
from transforms.records import Chunk, ClassifiedImage, ListedImage, Prediction, Slot, WrittenShard
from transforms.write_shards import WriteShard, WriteShards

LABELS = (Label(0, "n01440764", "tench"),)
RUN = "r-1"


def rows_of(shard: str, size: int, version: str = "") -> Chunk:
    """A shard's rows, the last one a failure."""
    rows = Chunk(
        ClassifiedImage(
            Slot(shard, size, ListedImage(f"/{shard}/{version}{i}.jpg", 5, 7)),
            1,
            1,
            "PNG",
            (Prediction(0, 0.5),),
            None,
        )
        for i in range(size)
    )
    rows[-1] = rows[-1]._replace(top_k=(), failure=Failure("empty", "read", "why"))
    return rows


def writer(output: Path) -> WriteShard:
    """A writer whose bundle has begun."""
    writer = WriteShard(str(output), RUN, LABELS, "mobilenet")
    writer.start_bundle()
    return writer


def files(output: Path) -> dict[str, list[str]]:
    """URIs by file below the output folder."""
    return {
        str(path.relative_to(output)): pq.ParquetFile(path).read()["uri"].to_pylist()
        for path in sorted(output.rglob("*"))
        if path.is_file()
    }


def test_shard_is_written_when_its_last_row_comes(tmp_path: Path) -> None:
    write = writer(tmp_path)
    a, b = rows_of("a", 3), rows_of("b", 2)
    assert list(write.process(Chunk([a[2], b[0], a[0]]))) == []
    assert files(tmp_path) == {}
    assert list(write.process(Chunk([a[1]]))) == [WrittenShard("a", 3)]
    assert files(tmp_path) == {part_name("a", RUN): ["/a/2.jpg", "/a/0.jpg", "/a/1.jpg"]}
    assert list(write.process(Chunk([b[1]]))) == [WrittenShard("b", 2)]
    write.finish_bundle()
    assert list(files(tmp_path)) == [
        "predictions/run_id=r-1/part-a.parquet",
        "predictions/run_id=r-1/part-b.parquet",
    ]


def test_bundle_that_ends_with_an_incomplete_shard_raises(tmp_path: Path) -> None:
    write = writer(tmp_path)
    assert list(write.process(Chunk(rows_of("a", 3)[:2]))) == []
    with pytest.raises(RuntimeError, match="the bundle ended with 2 of the 3 rows of shard a"):
        write.finish_bundle()
    assert files(tmp_path) == {}


def test_a_row_too_many_raises(tmp_path: Path) -> None:
    write = writer(tmp_path)
    rows = rows_of("a", 2)
    list(write.process(rows))
    list(write.process(Chunk(rows[:1])))
    with pytest.raises(RuntimeError, match="the bundle ended with 1 of the 2 rows of shard a"):
        write.finish_bundle()


def test_rows_of_a_broken_bundle_do_not_reach_the_next(tmp_path: Path) -> None:
    write = writer(tmp_path)
    rows = rows_of("a", 2)
    list(write.process(Chunk(rows[:1])))
    write.start_bundle()
    each = [list(write.process(Chunk([row]))) for row in rows]
    assert each == [[], [WrittenShard("a", 2)]]
    write.finish_bundle()


def test_shard_written_again_replaces_its_file_whole(tmp_path: Path) -> None:
    for version in ("old", "new"):
        write = writer(tmp_path)
        list(write.process(rows_of("a", 2, version)))
        write.finish_bundle()
    assert files(tmp_path) == {part_name("a", RUN): ["/a/new0.jpg", "/a/new1.jpg"]}


def test_every_row_is_counted_by_what_became_of_it(tmp_path: Path) -> None:
    write, before = writer(tmp_path), local_counts()
    list(write.process(rows_of("a", 3)))
    now = local_counts()
    assert now["predicted"] - before.get("predicted", 0) == 2
    assert now["empty"] - before.get("empty", 0) == 1
    assert now["bytes_read"] - before.get("bytes_read", 0) == 10  # what failed was not read


def test_shards_that_end_in_one_batch_are_all_written(tmp_path: Path) -> None:
    write = writer(tmp_path)
    batch = Chunk([*rows_of("a", 2), *rows_of("b", 3), *rows_of("c", 2)[:1]])
    assert list(write.process(batch)) == [WrittenShard("a", 2), WrittenShard("b", 3)]
    assert len(files(tmp_path)) == 2


@pytest.mark.parametrize(
    ("stage", "bytes_read"), [("list", 0), ("read", 0), ("decode", 5), ("classify", 5)]
)
def test_a_failure_of_any_stage_is_a_row_and_its_bytes_count_if_they_were_read(
    tmp_path: Path, stage: Stage, bytes_read: int
) -> None:
    write, before = writer(tmp_path), local_counts()
    row = rows_of("a", 1)[0]._replace(failure=Failure("out_of_memory", stage, "why"))
    assert list(write.process(Chunk([row]))) == [WrittenShard("a", 1)]
    (found,) = pq.ParquetFile(tmp_path / part_name("a", RUN)).read().to_pylist()
    assert [found[name] for name in ("error", "error_stage", "error_message", "retryable")] == [
        *("out_of_memory", stage, "why", True)
    ]
    counts = {name: n - before.get(name, 0) for name, n in local_counts().items()}
    assert (counts["out_of_memory"], counts.get("bytes_read", 0)) == (1, bytes_read)


def test_failed_write_raises_and_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(source: Path, target: Path) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        list(writer(tmp_path).process(rows_of("a", 1)))
    assert files(tmp_path) == {}


def test_kill_in_the_middle_of_a_write_leaves_nothing_under_predictions(tmp_path: Path) -> None:
    code = (
        "import os, signal\n"
        "from pathlib import Path\n"
        "from transforms.storage import storage_for\n"
        "Path.replace = lambda *paths: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"storage_for({str(tmp_path)!r}).write({str(tmp_path)!r}, {part_name('a', RUN)!r}, b'x')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1])
    assert done.returncode == -signal.SIGKILL
    (left,) = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert left.parent == tmp_path
    assert left.name.startswith(".staging-")
    assert os.listdir(tmp_path / "predictions" / "run_id=r-1") == []


def test_transform_writes_every_shard(p: Pipeline, tmp_path: Path) -> None:
    rows = Chunk([*rows_of("a", 2), *rows_of("b", 3)])
    with p:
        classified = p | Create([rows])
        written = classified | WriteShards(str(tmp_path), RUN, LABELS, "mobilenet")
        assert_that(written, equal_to([WrittenShard("a", 2), WrittenShard("b", 3)]))
    assert {name: len(uris) for name, uris in files(tmp_path).items()} == {
        part_name("a", RUN): 2,
        part_name("b", RUN): 3,
    }
