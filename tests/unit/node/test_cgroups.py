"""Are limits written where each kind of host has them? (Trees of plain files stand in for the kernel's.)"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from modicum.node import cgroups
from modicum.node.cgroups import Slots, Tree, find_tree
from modicum.runtimes.base import Limits, Usage


def v1(root: Path, *controllers: str) -> Path:
    for name in controllers:
        (root / name).mkdir()
        (root / name / "cgroup.procs").touch()
        group = root / name / "modicum/home"
        group.mkdir(parents=True)
        (group / "cgroup.procs").touch()
    return root


def v2(root: Path, controllers: str) -> Path:
    (root / "cgroup.controllers").write_text(controllers)
    for level in (root, root / "modicum", root / "modicum/home"):
        level.mkdir(exist_ok=True)
        (level / "cgroup.subtree_control").write_text(controllers)
    return root


def test_version_1(tmp_path: Path) -> None:
    tree = find_tree("home", v1(tmp_path, "pids", "memory", "cpu"))
    assert tree.groups == {name: tmp_path / name / "modicum/home" for name in ("pids", "memory", "cpu")}
    assert tree.sentence == "limits enforced on cgroup v1"


def test_a_missing_controller_is_said(tmp_path: Path) -> None:
    tree = find_tree("home", v1(tmp_path, "pids", "cpu"))
    assert tree.sentence == "limits enforced on cgroup v1, but for memory"


def test_other_users_homes_stay_reachable_whatever_the_umask(tmp_path: Path) -> None:
    (tmp_path / "pids").mkdir()
    (tmp_path / "pids/cgroup.procs").touch()
    before = os.umask(0o077)
    try:
        find_tree("home", tmp_path)
    finally:
        os.umask(before)
    assert (tmp_path / "pids/modicum").stat().st_mode & 0o777 == 0o755


def test_no_cgroups_at_all(tmp_path: Path) -> None:
    assert find_tree("home", tmp_path).sentence.startswith("limits not enforced")


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, str]]:
    """What is written where the kernel would merge it, and a plain file would not."""
    found: list[tuple[Path, str]] = []
    monkeypatch.setattr(cgroups, "_try_write", lambda path, text: found.append((path, text)))
    return found


def test_version_2(tmp_path: Path, written: list[tuple[Path, str]]) -> None:
    tree = find_tree("home", v2(tmp_path, "cpu memory pids\n"))
    assert [(str(path.parent.relative_to(tmp_path)), text) for path, text in written] == [
        (level, f"+{name}") for level in (".", "modicum", "modicum/home") for name in ("pids", "memory", "cpu")
    ]
    assert tree == Tree(dict.fromkeys(("pids", "memory", "cpu"), tmp_path / "modicum/home"), 2, ())


def test_a_delegated_subtree_of_version_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: list[tuple[Path, str]]
) -> None:
    v2(tmp_path, "cpu memory pids")
    scope = tmp_path / "user.slice/mine.scope"
    v2_scope = scope / "modicum/home"
    v2_scope.mkdir(parents=True)
    for level in (scope, scope / "modicum", v2_scope):
        (level / "cgroup.subtree_control").write_text("memory pids")
    (scope / "cgroup.procs").write_text("7\n8\n")
    monkeypatch.setattr("os.access", lambda path, mode: str(path).startswith(str(scope)))
    tree = find_tree("home", tmp_path, "0::/user.slice/mine.scope\n")
    assert tree.groups == dict.fromkeys(("pids", "memory"), v2_scope)
    assert written[:2] == [(scope / "rest/cgroup.procs", "7"), (scope / "rest/cgroup.procs", "8")]


def test_limits_of_version_1(tmp_path: Path) -> None:
    tree = find_tree("home", v1(tmp_path, "pids", "memory", "cpu"))
    for group in tree.groups.values():
        (group / "1").mkdir()
    (tree.groups["memory"] / "1/memory.memsw.limit_in_bytes").touch()
    Slots(tree).limit("1", Limits(pids=10, memory_bytes=1 << 20, cpus=0.5, cpus_share=0.125))
    written = {path.name: path.read_text() for group in tree.groups.values() for path in (group / "1").iterdir()}
    assert written == {
        "pids.max": "12",  # 10 + the runtime + the init
        "cpu.cfs_period_us": "100000",
        "cpu.cfs_quota_us": "50000",
        "cpu.shares": "128",  # of 1024 for a whole one
        "memory.limit_in_bytes": "1048576",
        "memory.memsw.limit_in_bytes": "1048576",
    }


def test_limits_of_version_2(tmp_path: Path, written: list[tuple[Path, str]]) -> None:
    tree = find_tree("home", v2(tmp_path, "cpu memory pids"))
    slot = tree.groups["cpu"] / "1"
    slot.mkdir()
    Slots(tree).limit("1", Limits(pids=None, memory_bytes=1 << 20, cpus=0.001, cpus_share=4.0))
    certain = {path.name: path.read_text() for path in slot.iterdir()}
    assert certain == {"cpu.max": "1000 100000", "cpu.weight": "400", "memory.max": "1048576"}
    assert written[-1] == (slot / "memory.swap.max", "0")  # absent where swap is not accounted


@pytest.mark.parametrize(
    ("text", "expected"), [("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n", True), ("oom_kill 0", False)]
)
def test_memory_ran_out(tmp_path: Path, text: str, expected: bool) -> None:
    tree = find_tree("home", v1(tmp_path, "memory"))
    slot = tree.groups["memory"] / "1"
    slot.mkdir()
    (slot / "memory.oom_control").write_text(text)
    assert Slots(tree).measure("1") == Usage(oom=expected)


def test_usage_of_version_1(tmp_path: Path) -> None:
    tree = find_tree("home", v1(tmp_path, "pids", "memory", "cpu", "cpuacct"))
    assert tree.sentence == "limits enforced on cgroup v1"  # the fourth only counts
    for group in set(tree.groups.values()):
        (group / "1").mkdir()
    (tree.groups["cpuacct"] / "1/cpuacct.usage").write_text("1500000000\n")
    memory = tree.groups["memory"] / "1"
    (memory / "memory.usage_in_bytes").write_text("5000\n")
    (memory / "memory.max_usage_in_bytes").write_text("9000\n")
    (memory / "memory.stat").write_text("cache 4000\nrss 1000\ntotal_inactive_file 3000\n")
    (memory / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 0\n")
    assert Slots(tree).measure("1") == Usage(1.5, 2000, 9000)  # 5000 - 3000 that can be had back


def test_cpu_time_is_counted_beside_the_limits_where_both_are_one(tmp_path: Path) -> None:
    v1(tmp_path, "pids", "memory", "cpu")
    (tmp_path / "cpuacct").symlink_to("cpu")
    tree = find_tree("home", tmp_path)
    assert tree.groups["cpuacct"] == tree.groups["cpu"]


def test_usage_of_version_2(tmp_path: Path, written: list[tuple[Path, str]]) -> None:
    tree = find_tree("home", v2(tmp_path, "cpu memory pids"))
    slot = tree.groups["cpu"] / "1"
    slot.mkdir()
    (slot / "cpu.stat").write_text("usage_usec 2500000\nuser_usec 1\n")
    (slot / "memory.current").write_text("5000\n")
    (slot / "memory.stat").write_text("anon 1000\ninactive_file 3000\n")
    (slot / "memory.events").write_text("low 0\nmax 7\noom 1\noom_kill 1\n")
    assert Slots(tree).measure("1") == Usage(2.5, 2000, oom=True)  # a kernel before 5.19 counts no peak


def test_a_sweep_removes_every_slot(tmp_path: Path) -> None:
    tree = find_tree("home", v1(tmp_path, "pids", "memory"))
    for group, slot in ((tree.groups["pids"], "1"), (tree.groups["memory"], "1"), (tree.groups["memory"], "2")):
        (group / slot).mkdir()
    assert Slots(tree).sweep()
    assert not [path for group in tree.groups.values() for path in group.iterdir() if path.is_dir()]
