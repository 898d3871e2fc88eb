"""Where containers' limits are written, on cgroup v1, v2 and hybrid hosts.

Every container runs in a *slot*: a directory of its own below `modicum/<home>` in each hierarchy. The keeper makes
it, moves the parked process into it, writes limits, reads whether memory ran out, and removes it. All of it happens
outside the node's namespaces, so no container or node can lift its limits.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from modicum.runtimes.base import Limits, Usage

from . import cgroup_usage

CPU_PERIOD_US = 100_000
_WANTED = ("pids", "memory", "cpu")
"""What limits. On version 1 CPU time is counted by another controller, `cpuacct`."""

_SCAFFOLD = 2
"""The runtime and the container's init count as well, and are ours."""


SLOTS_MAX = 4096
"""Of one home. The kernel has 65535 memory cgroups for the whole machine."""


@dataclass(frozen=True, slots=True)
class Tree:
    """The hierarchies found. `groups` maps a controller to the directory in which slots are made."""

    groups: dict[str, Path]
    version: int
    missing: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """What `node.hello` and `modicum doctor` say of limits."""
        if not self.groups:
            return "limits not enforced: no writable cgroup (start as root, or in a delegated subtree)"
        if self.missing:
            return f"limits enforced on cgroup v{self.version}, but for {', '.join(self.missing)}"
        return f"limits enforced on cgroup v{self.version}"


def find_tree(home_key: str, root: Path = Path("/sys/fs/cgroup"), own: str | None = None) -> Tree:
    """Find, or make, this home's directories. Never raises: what cannot be had is `missing`.

    `own` is the text of /proc/self/cgroup; a test gives another.
    """
    if (root / "cgroup.controllers").exists():
        return _unified_tree(home_key, root, own)
    groups: dict[str, Path] = {}
    for controller in (*_WANTED, "cpuacct"):
        group = root / controller / "modicum" / home_key
        if (root / controller / "cgroup.procs").exists() and _make(group) and _may_use(group):
            same = [other for other in groups.values() if other.samefile(group)]  # `cpu,cpuacct` is one as a rule
            groups[controller] = same[0] if same else group
    return Tree(groups, 1, tuple(name for name in _WANTED if name not in groups))


def _unified_tree(home_key: str, root: Path, own: str | None) -> Tree:
    base = root if os.access(root / "cgroup.subtree_control", os.W_OK) else _delegated(root, own)
    if base is None:
        return Tree({}, 2, _WANTED)
    group = base / "modicum" / home_key
    if not _make(group):
        return Tree({}, 2, _WANTED)
    for level in (base, base / "modicum", group):
        for controller in _WANTED:
            _try_write(level / "cgroup.subtree_control", f"+{controller}")
    present = _read(group / "cgroup.subtree_control").split()
    groups = {name: group for name in _WANTED if name in present}
    return Tree(groups, 2, tuple(name for name in _WANTED if name not in groups))


def _delegated(root: Path, own: str | None) -> Path | None:
    """Return the subtree that systemd has given to this user (`Delegate=yes`), its processes moved to a leaf.

    No process may sit in a group that has children with controllers.
    """
    text = own if own is not None else _read(Path("/proc/self/cgroup"))
    path = next((line[3:] for line in text.splitlines() if line.startswith("0::")), "/")
    base = root / path.strip("/")
    if path == "/" or not os.access(base / "cgroup.subtree_control", os.W_OK):
        return None
    leaf = base / "rest"
    if not _make(leaf):
        return None
    for pid in _read(base / "cgroup.procs").split():
        _try_write(leaf / "cgroup.procs", pid)
    return base


class Slots:
    """The slots below one tree. Methods raise `OSError` where the kernel refuses."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree

    def park(self, slot: str, pid: int) -> None:
        """Make the slot and move a process in. Takes 10 to 15 ms on v1 (the kernel waits for a grace period)."""
        for group in self._directories(slot):
            if not group.exists() and len(_children(group.parent)) >= SLOTS_MAX:
                raise OSError(errno.ENOSPC, f"there are {SLOTS_MAX} slots already")
            group.mkdir(exist_ok=True)
            (group / "cgroup.procs").write_text(str(pid), encoding="ascii")

    def expel(self, slot: str, pid: int) -> None:
        """Move a process that is none of ours out of a slot, to the top, lest it be killed with the slot."""
        for group in self._directories(slot):
            if str(pid) in _read(group / "cgroup.procs").split():
                _try_write(group.parents[2] / "cgroup.procs", str(pid))

    def limit(self, slot: str, limits: Limits) -> None:
        """Write the limits of a slot, which is used once; None means none."""
        groups = self._tree.groups
        if limits.pids is not None and "pids" in groups:
            _write(groups["pids"] / slot / "pids.max", str(limits.pids + _SCAFFOLD))
        if limits.cpus is not None and "cpu" in groups:
            self._limit_cpus(groups["cpu"] / slot, limits.cpus)
        if limits.cpus_share is not None and "cpu" in groups:
            self._weigh(groups["cpu"] / slot, limits.cpus_share)
        if limits.memory_bytes is not None and "memory" in groups:
            self._limit_memory(groups["memory"] / slot, limits.memory_bytes)

    def measure(self, slot: str) -> Usage:
        """Return what a slot's processes have used."""
        groups = {name: group / slot for name, group in self._tree.groups.items()}
        read = cgroup_usage.version_2 if self._tree.version == 2 else cgroup_usage.version_1
        return read(groups)

    def remove(self, slot: str, within_s: float = 2.0) -> bool:
        """End whatever is left in the slot and remove it; False if the kernel still holds it after that time."""
        removed = [_remove_group(group, time.monotonic() + within_s) for group in self._directories(slot)]
        return all(removed)

    def sweep(self) -> bool:
        """Remove every slot of this home: what a dead node left."""
        names = {path.name for group in self._tree.groups.values() for path in _children(group)}
        removed = [self.remove(name) for name in sorted(names)]
        return all(removed)

    def close(self) -> None:
        """Remove the home's own directories, and those above if they are empty."""
        self.sweep()
        for group in set(self._tree.groups.values()):
            for path in (group, group.parent):
                try:
                    path.rmdir()
                except OSError:
                    break  # another home lives there

    def _directories(self, slot: str) -> list[Path]:
        return [group / slot for group in dict.fromkeys(self._tree.groups.values())]

    def _limit_cpus(self, group: Path, cpus: float) -> None:
        quota = max(1000, int(cpus * CPU_PERIOD_US))  # the kernel takes no less than 1 ms
        if self._tree.version == 2:
            _write(group / "cpu.max", f"{quota} {CPU_PERIOD_US}")
        else:
            _write(group / "cpu.cfs_period_us", str(CPU_PERIOD_US))
            _write(group / "cpu.cfs_quota_us", str(quota))

    def _weigh(self, group: Path, cpus: float) -> None:
        """Both defaults, 100 and 1024, are the weight of one CPU."""
        if self._tree.version == 2:
            _write(group / "cpu.weight", str(min(10_000, max(1, round(cpus * 100)))))
        else:
            _write(group / "cpu.shares", str(min(1 << 18, max(2, round(cpus * 1024)))))

    def _limit_memory(self, group: Path, memory_bytes: int) -> None:
        if self._tree.version == 2:
            _write(group / "memory.max", str(memory_bytes))
            _try_write(group / "memory.swap.max", "0")
        else:
            _write(group / "memory.limit_in_bytes", str(memory_bytes))
            _try_write(group / "memory.memsw.limit_in_bytes", str(memory_bytes))  # absent without swap accounting


def _remove_group(group: Path, deadline: float) -> bool:
    pause = 0.001
    while True:
        try:
            group.rmdir()
            return True
        except FileNotFoundError:
            return True
        except OSError:
            _kill_all(group)
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
        pause = min(pause * 2, 0.05)


def _kill_all(group: Path) -> None:
    for child in _children(group):
        _remove_group(child, 0.0)
    if _try_write(group / "cgroup.kill", "1"):
        return
    for pid in _read(group / "cgroup.procs").split():
        try:
            os.kill(int(pid), signal.SIGKILL)
        except (ProcessLookupError, ValueError):
            pass


def _children(group: Path) -> list[Path]:
    try:
        return [Path(entry.path) for entry in os.scandir(group) if entry.is_dir()]
    except FileNotFoundError:
        return []


def _make(group: Path) -> bool:
    try:
        group.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    with contextlib.suppress(OSError):  # somebody else has made it, as it should be
        group.parent.chmod(0o755)  # whatever the umask: the homes of other users lie there too
    return True


def _may_use(group: Path) -> bool:
    return os.access(group, os.W_OK) and os.access(group / "cgroup.procs", os.W_OK)


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="ascii")


def _try_write(path: Path, text: str) -> bool:
    try:
        with open(path, "r+", encoding="ascii") as file:  # never creates: a plain directory would take anything
            file.write(text)
    except OSError:
        return False
    return True


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except OSError:
        return ""
