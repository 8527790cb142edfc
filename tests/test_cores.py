import os
from pathlib import Path

import pytest

from transforms.cores import available_cores


@pytest.fixture
def process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What stands for /proc/self, of a process that may run on 64 cores."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    (tmp_path / "proc").mkdir()
    return tmp_path / "proc"


def mount(process: Path, kind: str, root: str, options: str, cgroup: str) -> Path:
    """A hierarchy of control groups; returns where it is mounted."""
    point = process.parent / "fs" / options
    point.mkdir(parents=True)
    line = f"32 31 0:28 {root} {point} rw,relatime shared:9 - {kind} {kind} rw,{options}\n"
    with (process / "mountinfo").open("a") as file:
        file.write(line)
    with (process / "cgroup").open("a") as file:
        file.write(f"{cgroup}\n")
    return point


def limit_v2(folder: Path, limit: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cpu.max").write_text(f"{limit}\n")


def limit_v1(folder: Path, quota: int, period: int = 100_000) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cpu.cfs_quota_us").write_text(f"{quota}\n")
    (folder / "cpu.cfs_period_us").write_text(f"{period}\n")


def test_without_control_groups_affinity_counts(process: Path) -> None:
    assert available_cores(process) == 64


@pytest.mark.parametrize(
    ("limit", "cores"),
    [
        ("200000 100000", 2),
        ("150000 100000", 2),
        ("20000 100000", 1),
        ("50000 25000", 2),
        ("max 100000", 64),
        ("6500000 100000", 64),
        ("nonsense", 64),
    ],
)
def test_the_quota_of_version_2_is_rounded_up(process: Path, limit: str, cores: int) -> None:
    limit_v2(mount(process, "cgroup2", "/", "nsdelegate", "0::/"), limit)
    assert available_cores(process) == cores


@pytest.mark.parametrize(
    ("quota", "period", "cores"),
    [(200_000, 100_000, 2), (250_000, 100_000, 3), (1_000, 100_000, 1), (-1, 100_000, 64)],
)
def test_the_quota_of_version_1_is_rounded_up(
    process: Path, quota: int, period: int, cores: int
) -> None:
    limit_v1(mount(process, "cgroup", "/", "cpu,cpuacct", "4:cpu,cpuacct:/"), quota, period)
    assert available_cores(process) == cores


def test_the_smallest_quota_of_the_group_and_those_around_it_counts(process: Path) -> None:
    point = mount(process, "cgroup2", "/", "nsdelegate", "0::/pods/one/main")
    limit_v2(point / "pods" / "one" / "main", "max 100000")
    limit_v2(point / "pods" / "one", "300000 100000")
    limit_v2(point / "pods", "500000 100000")
    limit_v2(point / "pods" / "other", "100000 100000")
    assert available_cores(process) == 3


def test_a_container_sees_its_own_group_where_all_groups_are_mounted(process: Path) -> None:
    cgroup = "4:cpu,cpuacct:/docker/abc/inner"
    point = mount(process, "cgroup", "/docker/abc", "cpu,cpuacct", cgroup)
    limit_v1(point, 400_000)
    limit_v1(point / "inner", 200_000)
    assert available_cores(process) == 2


def test_a_group_outside_of_what_is_mounted_has_the_limits_of_the_mount(process: Path) -> None:
    limit_v2(mount(process, "cgroup2", "/docker/abc", "nsdelegate", "0::/../xyz"), "200000 100000")
    assert available_cores(process) == 2


def test_both_versions_at_once_and_other_controllers_beside_them(process: Path) -> None:
    limit_v1(mount(process, "cgroup", "/", "cpuset", "3:cpuset:/"), 100_000)  # not of `cpu`
    limit_v1(mount(process, "cgroup", "/", "cpu", "1:cpu:/"), 700_000)
    limit_v2(mount(process, "cgroup2", "/", "nsdelegate", "0::/"), "500000 100000")
    assert available_cores(process) == 5


def test_affinity_below_the_quota_counts(process: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit_v2(mount(process, "cgroup2", "/", "nsdelegate", "0::/"), "400000 100000")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 5, 9})
    assert available_cores(process) == 3
