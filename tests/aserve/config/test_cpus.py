"""The number of usable CPUs, by cgroups(7) and sched_getaffinity(2), in aserve and in abench."""

import os

import pytest

from abench.system.cpus import usable_cpus
from aserve.config.cpus import available_cpus


@pytest.fixture(params=[available_cpus, usable_cpus])
def count(request, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))

    def count_cpus(membership, files):
        for name, text in files.items():
            file = tmp_path / "cgroup" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        (tmp_path / "membership").write_text(membership)
        return request.param(tmp_path / "cgroup", tmp_path / "membership")

    return count_cpus


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        ("0::/\n", {}, 8),
        ("0::/\n", {"cpu.max": "max 100000\n"}, 8),
        ("0::/\n", {"cpu.max": "200000 100000\n"}, 2),
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 2),  # a fraction counts as one
        ("0::/\n", {"cpu.max": "1000 100000\n"}, 1),
        ("0::/\n", {"cpu.max": "6400000 100000\n"}, 8),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "300000 100000\n"}, 3),
        ("0::/of/the/host\n", {"cpu.max": "300000 100000\n"}, 3),
        ("4:cpu,cpuacct:/\n0::/\n", {"cpu,cpuacct/cpu.cfs_quota_us": "-1\n"}, 8),
        (
            "4:cpu,cpuacct:/docker/x\n",
            {
                "cpu,cpuacct/docker/x/cpu.cfs_quota_us": "250000\n",
                "cpu,cpuacct/docker/x/cpu.cfs_period_us": "100000\n",
            },
            3,
        ),
        (
            "1:cpu:/\n",
            {"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "100000\n"},
            1,
        ),
        ("", {}, 8),
    ],
)
def test_the_lowest_limit_counts(count, membership, files, expected):
    assert count(membership, files) == expected


def test_without_control_groups_affinity_counts(count, tmp_path):
    assert available_cpus(tmp_path, tmp_path / "none") == 8
    assert usable_cpus(tmp_path, tmp_path / "none") == 8
