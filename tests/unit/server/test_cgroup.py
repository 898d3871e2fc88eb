"""Does a server leave the client's cgroups, and stay out of trouble where it may not?"""

from __future__ import annotations

from pathlib import Path

from modicum.server.cgroup import leave_clients_cgroups


def hierarchy(path: Path) -> Path:
    """A directory that looks like a hierarchy of cgroups in which ours has been made already."""
    (path / "modicum/daemons").mkdir(parents=True)
    for group in (path, path / "modicum/daemons"):
        (group / "cgroup.procs").touch()
    return path / "modicum/daemons/cgroup.procs"


def test_v1_leaves_all_but_the_topmost(tmp_path: Path) -> None:
    memory, systemd, pids = (hierarchy(tmp_path / name) for name in ("memory", "systemd", "pids"))
    unified = hierarchy(tmp_path / "unified")
    leave_clients_cgroups(tmp_path, "9:name=systemd:/user.slice/1\n4:memory:/box:1\n8:pids:/\n0::/\n")
    assert memory.read_text() == systemd.read_text() == "0"
    assert pids.read_text() == unified.read_text() == ""


def test_v2(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").touch()
    joined = hierarchy(tmp_path)
    leave_clients_cgroups(tmp_path, "0::/user.slice/session-1.scope\n")
    assert joined.read_text() == "0"


def test_where_nothing_may_be_made_all_stays(tmp_path: Path) -> None:
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory/cgroup.procs").touch()
    (tmp_path / "memory/modicum").touch()
    leave_clients_cgroups(tmp_path, "4:memory:/box\n5:cpuset:/box\n")
    assert (tmp_path / "memory/cgroup.procs").read_text() == ""
