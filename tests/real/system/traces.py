"""What there is of a home on this machine: processes, cgroups, network namespaces, mounts, directories.

Everything is found through the home's own path, or a mark that its containers' environment carries: other homes on the
same machine are never looked at, let alone touched.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from modicum.node.layout import Layout

_LINK = re.compile(r"/links/(ta-\w+) /run/modicum ")
_NODE_ENTRY = "node"


@dataclass(frozen=True)
class Process:
    """A process as the host sees it. Its pid and start make it the same one or another."""

    pid: int
    started: int
    parent: int
    state: str
    command: str
    depth: int
    innermost_pid: int
    network: str
    cgroup: str
    container: str | None

    @property
    def key(self) -> tuple[int, int]:
        """What no other process has, ever."""
        return self.pid, self.started


@dataclass(frozen=True)
class Trace:
    """One moment of a home."""

    processes: dict[int, Process]
    cgroups: frozenset[tuple[str, int]]
    networks: dict[str, tuple[int, ...]]
    directories: frozenset[str]
    scratch: frozenset[str]

    @property
    def builds(self) -> frozenset[str]:
        """The directories of steps of images."""
        return frozenset(path for path in self.directories if os.path.basename(path).startswith(("ag-", "bu-")))

    def keys(self) -> set[tuple[int, int]]:
        """Return the keys of all processes."""
        return {process.key for process in self.processes.values()}

    def of_container(self, container: str) -> list[Process]:
        """Return a container's processes."""
        return [process for process in self.processes.values() if process.container == container]

    def below(self, pid: int) -> list[Process]:
        """Return a process' descendants."""
        found, parents = [], {pid}
        while parents:
            children = [process for process in self.processes.values() if process.parent in parents]
            found += children
            parents = {process.pid for process in children}
        return found


@dataclass(frozen=True)
class Doomed:
    """What must be gone once something has been killed."""

    processes: frozenset[tuple[int, int]]
    cgroups: frozenset[tuple[str, int]]
    directories: frozenset[str]

    def left_in(self, trace: Trace) -> list[str]:
        """Say what of it there still is."""
        left = [str(process) for process in trace.processes.values() if process.key in self.processes]
        left += [str(group) for group in sorted(self.cgroups & trace.cgroups)]
        left += sorted(self.directories & (trace.directories | trace.scratch))
        return left


def doomed(trace: Trace, processes: list[Process]) -> Doomed:
    """Return these processes with the cgroups and directories that are theirs. A node's are all that is half made, too.

    Network namespaces cannot be told apart for ever, as their numbers are used again: see `surplus_networks`.
    """
    containers = {process.container for process in processes} - {None}
    groups = {process.cgroup for process in processes} - {""}
    directories = {path for path in trace.directories if os.path.basename(path) in containers}
    if any("-m modicum.node.main" in process.command for process in processes):
        directories |= trace.scratch | trace.builds
    return Doomed(
        frozenset(process.key for process in processes),
        frozenset(group for group in trace.cgroups if os.path.basename(group[0]) in groups),
        frozenset(directories),
    )


def surplus_networks(trace: Trace) -> list[str]:
    """Say so if there are more network namespaces than the node's own and one for each container and parked place."""
    places = [p for p in trace.processes.values() if p.depth == 2 and p.command.startswith("/bin/sh -c read -r")]
    containers = [p for p in trace.processes.values() if p.depth == 3 and p.innermost_pid == 1]
    if len(trace.networks) <= 1 + len(places) + len(containers):
        return []
    return [f"networks (with their holders) {trace.networks} for {len(places)} places and {containers}"]


def take(home: Path, mark: str) -> Trace:
    """Look at everything now. `mark` is a text that stands in the environment of all that runs in containers."""
    processes = _processes(home, mark)
    own = os.readlink("/proc/self/ns/net")
    return Trace(
        processes,
        frozenset(_cgroups(home)),
        {name: tuple(holders) for name, holders in _networks(processes).items() if name != own},
        frozenset(_directories(home)),
        frozenset(_entries(home / "node/tmp")),
    )


def foreign_mounts(home: Path, trace: Trace) -> list[str]:
    """Return mentions of the home in mount namespaces that are not its own."""
    own = {_link(process.pid, "mnt") for process in trace.processes.values() if process.depth > 1}
    seen: set[str] = set()
    found = []
    for pid in _pids():
        namespace = _link(pid, "mnt")
        if namespace and namespace not in own | seen:
            seen.add(namespace)
            found += [line for line in _read(f"/proc/{pid}/mountinfo").splitlines() if str(home) in line]
    return found


def slots(trace: Trace) -> dict[str, list[str]]:
    """Return the home's cgroups by slot."""
    found: dict[str, list[str]] = {}
    for path, _ in trace.cgroups:
        found.setdefault(os.path.basename(path), []).append(path)
    return found


def _processes(home: Path, mark: str) -> dict[int, Process]:
    wanted = (str(home).encode(), mark.encode())
    every = {process.pid: process for pid in _pids() if (process := _process(pid)) is not None}
    found = {}
    for process in every.values():
        spoken = _read_bytes(f"/proc/{process.pid}/environ") + process.command.encode()
        if any(text in spoken for text in wanted) and process.pid != os.getpid():
            found[process.pid] = process
    parents = set(found)
    while parents:
        children = {pid: process for pid, process in every.items() if process.parent in parents and pid not in found}
        parents = set(children)
        found.update(children)
    return found


def _process(pid: int) -> Process | None:
    stat, status = _read(f"/proc/{pid}/stat"), _read(f"/proc/{pid}/status")
    if not stat or "NSpid:" not in status:
        return None
    fields = stat.rpartition(")")[2].split()
    inner = status.partition("NSpid:")[2].splitlines()[0].split()
    command = _read_bytes(f"/proc/{pid}/cmdline").replace(b"\0", b" ").decode(errors="replace").strip()
    link = _LINK.search(_read(f"/proc/{pid}/mountinfo")) if len(inner) > 2 else None
    cgroup = _read(f"/proc/{pid}/cgroup").partition("/modicum/")[2].splitlines()
    return Process(
        pid,
        int(fields[19]),
        int(fields[1]),
        fields[0],
        command,
        len(inner),
        int(inner[-1]),
        _link(pid, "net"),
        os.path.basename(cgroup[0]) if cgroup else "",
        link[1] if link else None,
    )


def _networks(processes: dict[int, Process]) -> dict[str, list[int]]:
    """Return who keeps which network namespace, being in it or having it open. Mounted ones are others'."""
    found: dict[str, list[int]] = {}
    for pid, process in processes.items():
        for name in {process.network, *_open_files(pid)}:
            if name.startswith("net:["):
                found.setdefault(name, []).append(pid)
    return found


def _open_files(pid: int) -> Iterator[str]:
    try:
        for descriptor in os.scandir(f"/proc/{pid}/fd"):
            try:
                yield os.readlink(descriptor.path)
            except OSError:
                continue
    except OSError:
        return


def _cgroups(home: Path) -> set[tuple[str, int]]:
    root, key = Path("/sys/fs/cgroup"), Layout(home).key
    found = set()
    for pattern in (f"modicum/{key}/*/", f"*/modicum/{key}/*/", f"user.slice/**/modicum/{key}/*/"):
        for path in root.glob(pattern):
            try:
                found.add((str(path), path.stat().st_ino))
            except FileNotFoundError:
                continue
    return found


def _directories(home: Path) -> set[str]:
    """Each container has one for its socket and one for what it writes."""
    links = {name for name in _entries(home / "links") if os.path.basename(name) != _NODE_ENTRY}
    return links | _entries(home / "node/containers")


def _entries(folder: Path) -> set[str]:
    try:
        return {entry.path for entry in os.scandir(folder)}
    except FileNotFoundError:
        return set()


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _link(pid: int, namespace: str) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/{namespace}")
    except OSError:
        return ""


def _read(path: str) -> str:
    return _read_bytes(path).decode(errors="replace")


def _read_bytes(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""
