"""The portable path over a network: a worker on each of two hosts, storage that all can reach.

The hosts see the code and nothing else of what the launcher has: its model, its caches and its
temporary files are hidden from them, and its network ends at the cable to each.
"""

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote
from uuid import uuid4

import pyarrow.parquet as pq
import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from pipeline.running.workers import LOST
from tests.end_to_end.test_portable import (
    SILENT_TIMEOUT_S,
    parts,
    struck_in_the_middle,
    without_run,
)
from tests.end_to_end.test_run import rows_of, run_facts
from tests.helpers.gcs_emulator import Emulator, Proxy
from tests.helpers.hosts import Network, OwnHost, why_no_hosts
from tests.helpers.model_fixtures import PHOTOS, Command, TinyModel
from tests.helpers.outputs import part_files
from tests.helpers.portable import Cluster
from transforms.storage import join, storage_for

COPIES = 40  # of each photograph, for a job that takes some seconds

pytestmark = pytest.mark.slow


class Site(NamedTuple):
    """Hosts, their Cloud Storage, and what processes on them find in the environment."""

    network: Network
    cloud: Proxy
    environment: dict[str, str]

    def cluster(self, *workers: OwnHost) -> Cluster:
        """A worker on each of these hosts."""
        return Cluster(workers, self.environment, self.network.head)

    def read_by(self, host: OwnHost, folder: str) -> list[str]:
        """Names of the objects below a folder that were sent to this host, one for each time."""
        pattern = re.compile(rf"GET /download/\S+/o/({folder}%2F[^?]+)")
        found = map(pattern.match, self.cloud.requests_of[host.address])
        return sorted(unquote(match[1]) for match in found if match)


@pytest.fixture
def site(
    emulator: Emulator, caches: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """A head and two hosts that do not see what this session's tests have written."""
    if why_not := why_no_hosts():
        pytest.skip(why_not)
    with Network(2, hidden=tmp_path_factory.getbasetemp()) as network:
        cloud = Proxy(emulator, network.head.listener())
        url = f"http://{network.head.name}:{cloud.server_port}"
        places = {"STORAGE_EMULATOR_HOST": url, "TMPDIR": str(network.temporary)}
        yield Site(network, cloud, caches | places)
        cloud.stop()


@pytest.fixture
def bucket(cloud: Proxy) -> str:
    """An empty bucket, which this process and its commands reach without the hosts' network."""
    name = f"hosts-{uuid4().hex}"
    client = storage.Client("test", credentials=AnonymousCredentials())
    client.create_bucket(name)
    client.close()
    return f"gs://{name}"


def photographs(bucket: str, copies: int) -> list[str]:
    """Puts so many copies of each photograph into the bucket; their names."""
    names = []
    for path in PHOTOS.iterdir():
        for number in range(copies):
            names.append(f"in/{number:02}-{path.name}")
            storage_for(bucket).write(bucket, names[-1], path.read_bytes())
    return sorted(names)


def long_job(bucket: str, model: TinyModel) -> tuple[list[str], list[str], str, list[str]]:
    """Names of images, options of any run over them, an output, and the options that name it."""
    images, output = photographs(bucket, COPIES), f"{bucket}/there"
    options = ["--input", f"{bucket}/in", "--shard-size", "8", *model.options()]
    return images, options, output, ["--output", output, f"--temp_location={bucket}/tmp"]


def download(output: str, folder: Path) -> Path:
    """A copy of an output folder on this machine."""
    for name in storage_for(output).names(output):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with storage_for(output).open(join(output, name)) as file:
            target.write_bytes(file.read())
    return folder


def uris_of_shards(output: Path) -> list[set[str]]:
    """The URIs in each part file."""
    return [{*pq.read_table(part)["uri"].to_pylist()} for part in part_files(output)]


def test_a_host_has_a_name_a_network_and_files_of_its_own(site: Site) -> None:
    hidden = site.network.temporary.parent
    for number, host in enumerate(site.network.hosts, 1):
        assert host.run("hostname") == f"host-{number}\n"
        links = host.run("ip", "-brief", "link").splitlines()
        assert [link.split()[0].split("@")[0] for link in links] == ["lo", "head"]
        assert host.run("ls", "-A", str(hidden)) == "tmp\n"
    assert len(os.listdir(hidden)) > 1


def test_two_hosts_give_the_rows_of_one_process(
    run: Command, site: Site, bucket: str, tiny_model: TinyModel, tmp_path: Path
) -> None:
    images, hosts = photographs(bucket, copies=1), site.network.hosts
    options = ["--input", f"{bucket}/in", "--shard-size", "3", *tiny_model.options(), "--output"]
    assert run(*options, f"{bucket}/here").code == 0
    with site.cluster(*hosts) as cluster:
        done = cluster.run(*options, f"{bucket}/there", f"--temp_location={bucket}/tmp")
    assert (done.code, done.err) == (0, "")
    here, there = (download(f"{bucket}/{name}", tmp_path / name) for name in ("here", "there"))
    assert without_run(there) == without_run(here)
    assert run_facts(there)["metrics"]["model_loads"] == len(hosts)

    # Every image went once to one host, a shard's all to the same one, and none to the launcher.
    one, other = (site.read_by(host, "in") for host in hosts)
    assert sorted(one + other) == images
    for shard in uris_of_shards(there):
        names = {uri.removeprefix(f"{bucket}/") for uri in shard}
        assert names <= {*one} or names <= {*other}
    assert one
    assert other
    assert site.read_by(site.network.head, "in") == []

    # The network came from the temp location, once, and no host has built one.
    (fetched,), (fetched_there,) = (site.read_by(host, "tmp") for host in hosts)
    assert fetched == fetched_there
    cache = f"{site.environment['XDG_CACHE_HOME']}/mobilenet-beam"
    assert [host.run("ls", cache) for host in hosts] == ["fetched\n"] * 2


def test_a_run_that_loses_a_host_fails_and_goes_on_without_it(
    run: Command, site: Site, bucket: str, tiny_model: TinyModel, tmp_path: Path
) -> None:
    images, options, output, there = long_job(bucket, tiny_model)
    lost, left = site.network.hosts
    kept = tmp_path / "kept"

    def unplug() -> None:
        site.network.unplug(lost)
        download(output, kept)

    with site.cluster(lost, left) as cluster:
        job = cluster.start(*options, *there)
        done = struck_in_the_middle(job, output, unplug, SILENT_TIMEOUT_S)
    assert done.code == 1
    *_, error, _, told, _ = done.err.splitlines()  # what comes before them is progress
    assert error == f"error: the run failed: RuntimeError: {LOST}"
    assert told.endswith(" are finished and kept; to go on from here:")
    assert 2 <= len(parts(output)) < len(images) // 8

    with site.cluster(left) as cluster:
        done = cluster.run(*options, *there, "--resume")
    assert (done.code, done.err) == (0, "")
    assert run(*options, "--output", f"{bucket}/here").code == 0
    result = download(output, tmp_path / "there")
    here = download(f"{bucket}/here", tmp_path / "here")
    assert without_run(result) == without_run(here)  # none of the kept ones was done again
    for path in kept.rglob("*.parquet"):
        assert (result / path.relative_to(kept)).read_bytes() == path.read_bytes()


def test_a_cable_that_is_out_for_a_moment_costs_nothing(
    run: Command, site: Site, bucket: str, tiny_model: TinyModel, tmp_path: Path
) -> None:
    images, options, output, there = long_job(bucket, tiny_model)
    host = site.network.hosts[0]

    def unplug_for_a_moment() -> None:
        site.network.unplug(host)
        time.sleep(5)
        site.network.plug_in(host)

    with site.cluster(*site.network.hosts) as cluster:
        job = cluster.start(*options, *there)
        done = struck_in_the_middle(job, output, unplug_for_a_moment, SILENT_TIMEOUT_S)
    assert done.code == 0
    rows = rows_of(download(output, tmp_path / "there"))
    assert [row["uri"].removeprefix(f"{bucket}/") for row in rows] == images
    assert {row["error"] for row in rows} == {None}
