import math
import re
from pathlib import Path
from typing import Any

import apache_beam as beam
import duckdb
import pyarrow.parquet as pq
import pytest
from apache_beam.coders.typecoders import registry
from click.testing import CliRunner

from deploy import simulate
from deploy.gpu_worker import worker_limit, worker_rate
from deploy.simulate import (
    INPUTS,
    URIS,
    fetches_a_tar,
    hours_of_gets,
    preemption_waste,
    read_inputs,
    report,
    row_bytes,
    shuffle_bytes,
    simulated_waste,
)
from tests.model_fixtures import ROOT
from transforms import cut_shards
from transforms.cut_shards import CutShards, cut_bucket
from transforms.records import EarlierRow, ListedImage, Mentions
from transforms.schema import SCHEMA, parquet_bytes
from transforms.storage.uris import container_of

PAGE = (ROOT / "deploy" / "BILLION.md").read_text()
GIVEN, RECORDS = read_inputs(INPUTS, ())


def rate(vcpus: int, gpu: float, get_s: float = 0.0, **changes: Any) -> float:
    return worker_rate(vcpus, gpu, GIVEN | changes, get_s, images=20_000)


@pytest.mark.parametrize("gpu", [1000, 2000, 4000])
def test_gpu_is_busy_from_the_number_of_vcpus_that_the_formula_says(gpu: int) -> None:
    enough = math.ceil(gpu / GIVEN["decode"])
    assert rate(enough, gpu) == pytest.approx(gpu, rel=0.01)
    fewer = enough - 1
    assert rate(fewer, gpu) == pytest.approx(fewer * GIVEN["decode"], rel=0.02)
    assert rate(fewer, gpu) < 0.97 * gpu


@pytest.mark.parametrize(
    ("vcpus", "gpu", "bundles", "get_s"),
    [(1, 100, 1, 0.0), (16, 8000, 4, 0.0), (4, 500, 1, 0.0), (8, 8000, 2, 0.05), (2, 900, 8, 0.05)],
)
def test_no_worker_exceeds_its_limit_and_none_wastes_much(
    vcpus: int, gpu: int, bundles: int, get_s: float
) -> None:
    inputs = GIVEN | {"bundles": bundles}
    reached = rate(vcpus, gpu, get_s, bundles=bundles) / worker_limit(vcpus, gpu, inputs, get_s)
    assert 0.8 < reached < 1.02  # reads come in order: the slowest one holds up a fifth at worst


def test_more_of_anything_is_never_slower() -> None:
    by_vcpus = [rate(n, 3000) for n in (1, 2, 4, 8)]
    by_bundles = [rate(8, 3000, 0.05, bundles=n) for n in (1, 2, 4, 8)]
    assert by_vcpus == sorted(by_vcpus)
    assert by_bundles == sorted(by_bundles)
    assert by_bundles[2] > 3.5 * by_bundles[0]  # with eight the GPU is the limit


def test_gpu_waits_for_what_was_not_decoded_ahead() -> None:
    """One bundle, one vCPU as fast as the GPU: without reading ahead they take turns."""
    for ahead, batch_size, seconds in (
        (1, 1, 1 / 470 + 1 / 470),
        (64, 1, 1 / 470),
        (64, 128, 128 / 470 + 64 / 470),
    ):
        reached = rate(1, 470, bundles=1, ahead=ahead, batch_size=batch_size, decode_spread=0.01)
        assert reached == pytest.approx(batch_size / seconds, rel=0.02)


def test_same_seed_gives_the_same_rate() -> None:
    assert rate(4, 2000) == rate(4, 2000)
    assert worker_rate(4, 4000, GIVEN, seed=1, images=5000) != worker_rate(
        4, 4000, GIVEN, images=5000
    )


@pytest.mark.parametrize(("a_tar", "shard_size"), [(100, 160), (100, 33), (97, 1000)])
def test_fetches_are_those_of_the_shards_that_are_really_cut(a_tar: int, shard_size: int) -> None:
    uris = [f"gs://b/{tar:05}.tar::{i:05}.jpg" for tar in range(500) for i in range(a_tar)]
    mentions = [Mentions(listed=[ListedImage(uri) for uri in uris])]
    shards = cut_bucket(0, mentions, shard_size, retry_all_errors=False).shards
    fetches = sum(len({container_of(i.uri) for i in shard.images}) for shard in shards)
    assert fetches / 500 == pytest.approx(fetches_a_tar(a_tar, shard_size), rel=0.02)


@pytest.mark.parametrize(("bundle_s", "an_hour"), [(3600, 1), (60, 2), (900, 0.5)])
def test_waste_of_preemption_is_the_formula(bundle_s: float, an_hour: float) -> None:
    expected = preemption_waste(bundle_s, an_hour)
    assert simulated_waste(bundle_s, an_hour) == pytest.approx(expected, rel=0.03)
    assert preemption_waste(3600, 1) == pytest.approx(math.e - 2)
    assert preemption_waste(60, 0) == 0


def test_requests_take_as_long_as_the_ramp_allows() -> None:
    assert hours_of_gets(6_000_000, 5000, 20) == pytest.approx(1 / 3)
    assert hours_of_gets(18_000_000, 5000, 20) == pytest.approx(2 / 3)
    assert hours_of_gets(5000 * 60, 5000, 20) == pytest.approx(1 / 60)


def test_shuffled_bytes_are_those_of_the_coder_of_the_pipeline(p: beam.Pipeline) -> None:
    listed = p | beam.Create([ListedImage("a")]).with_output_types(ListedImage)
    nothing = p | "None" >> beam.Create([]).with_output_types(EarlierRow)
    _ = listed | CutShards(nothing, 4)
    types = {}

    class Find(beam.pipeline.PipelineVisitor):
        def visit_transform(self, node: Any) -> None:
            types[node.full_label] = [output.element_type for output in node.outputs.values()]

    p.visit(Find())
    (element_type,) = types["CutShards/Both"]
    image = ListedImage(URIS["in a tar"].format(0, 0), 110_000, simulate._MODIFIED)
    encoded = registry.get_coder(element_type).encode((0, Mentions(listed=[image])))
    assert shuffle_bytes(URIS["in a tar"], 1, 1000)[0] == len(encoded)
    assert GIVEN["piece"] == cut_shards._PIECE
    uri = "gs://" + "a" * 50
    (grouped, spread), (longer, wider) = (shuffle_bytes(u, 9, 9) for u in (uri, uri + "b"))
    assert round(longer - grouped, 6) == round(wider - spread, 6) == 1


def test_row_is_larger_with_more_to_say() -> None:
    short, long = (row_bytes(uri, 500) for uri in ("{1:d}", "{1:d}" + "abcdefgh" * 20))
    assert 40 < short < long < short + 160


def test_a_change_must_name_an_input_and_a_number() -> None:
    for change, message in (
        ("vcpu=3", "--set vcpu: there is no such input in billion.json"),
        ("decode=fast", "--set 'decode=fast': 'fast' is no number"),
        ("decode", "--set 'decode': '' is no number"),
    ):
        done = CliRunner().invoke(simulate.main, ["--set", change])
        assert done.exit_code == 2
        assert f"Error: {message}\n" in done.output


def test_every_input_says_where_it_comes_from() -> None:
    for record in RECORDS.values():
        assert record["kind"] in ("given", "assumed", "measured", "documented")
        assert record["from"]


def printed() -> list[str]:
    """The output in the page."""
    (block,) = re.findall(r"```\n\$ python -m deploy.simulate\n(.*?)\n```", PAGE, re.DOTALL)
    return list(block.splitlines())


def assert_alike(page: list[str], now: list[str]) -> None:
    """The same words, and the same numbers but for what another version compresses better."""
    number = re.compile(r"[0-9][0-9,.]*")
    assert [number.sub("#", re.sub(" +", " ", line)) for line in page] == [
        number.sub("#", re.sub(" +", " ", line)) for line in now
    ]
    for old, new in zip(page, now, strict=True):
        values = (float(n.rstrip(".,").replace(",", "")) for n in number.findall(old))
        expected = [float(n.rstrip(".,").replace(",", "")) for n in number.findall(new)]
        assert list(values) == pytest.approx(expected, rel=0.03, abs=0.02)


def test_page_shows_the_requests_and_bytes_of_today() -> None:
    lines = [
        line
        for part in (simulate._requests(GIVEN), simulate._bytes(GIVEN))
        for text in part
        for line in text.splitlines()
    ]
    start = next(i for i, line in enumerate(printed()) if line.startswith("Requests"))
    assert_alike(printed()[start - 1 : start - 1 + len(lines)], lines)


@pytest.mark.slow
def test_page_shows_what_the_simulation_prints() -> None:
    now = [line for text in report(GIVEN, RECORDS) for line in text.splitlines()]
    assert_alike(printed(), now)


def part(path: Path, names: range, label: str) -> None:
    rows = [
        {
            "uri": f"gs://b/{name}.jpg",
            "label": label,
            "score": 0.5,
            "top_k": [{"class_index": 1, "wnid": "n1", "label": label, "score": 0.5}],
            "byte_size": name,
            "last_modified": name,
            "model": "m",
        }
        for name in names
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(parquet_bytes(rows))


def test_duckdb_compacts_as_the_page_says(tmp_path: Path) -> None:
    """Every row of every run once, and in the second statement the latest row of each URI."""
    out = tmp_path / "out" / "predictions"
    part(out / "run_id=r-1" / "part-00000-00000.parquet", range(50), "old")
    part(out / "run_id=r-1" / "part-00000-00001.parquet", range(50, 90), "old")
    part(out / "run_id=r-2" / "part-00000-00000.parquet", range(40, 60), "new")
    database = duckdb.connect()
    database.execute(f"SET file_search_path = '{tmp_path}'")
    statements = [s for s in re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL) if "COPY" in s]
    assert len(statements) == 2
    for statement in statements:
        there = statement.replace("'out/", f"'{tmp_path}/out/")
        database.execute(re.sub(r"TO '(\w+)'", rf"TO '{tmp_path}/\1'", there))
    compact, current = (f"'{tmp_path}/{name}/*.parquet'" for name in ("compact", "current"))
    columns = ", ".join(SCHEMA.names)
    missing = f"""
        SELECT {columns}, run_id FROM '{out}/*/*.parquet'
        EXCEPT ALL SELECT {columns}, run_id FROM {compact}"""
    assert database.execute(missing).fetchall() == []
    count = f"SELECT run_id, count(*) FROM {compact} GROUP BY 1 ORDER BY 1"
    assert database.execute(count).fetchall() == [("r-1", 90), ("r-2", 20)]
    latest = f"SELECT label, count(*), count(DISTINCT uri) FROM {current} GROUP BY 1 ORDER BY 1"
    assert database.execute(latest).fetchall() == [("new", 20, 20), ("old", 70, 70)]
    (file,) = (tmp_path / "compact").iterdir()
    schema = pq.read_schema(file)
    assert [schema.field(name).type for name in SCHEMA.names] == SCHEMA.types
