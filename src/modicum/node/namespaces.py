"""How the node's namespaces are made, and its first process in them.

    keeper ── fork ──> maker: expose host paths, unshare user+mount+net+pid+ipc+uts, wait for its id maps
                         └── fork ──> pid 1: /proc, execve catatonit ──> python -m modicum.node.main

The maker exists because whoever has unshared a pid namespace can never fork again once its pid 1 has died. Keeper,
maker and pid 1 are tied together by PDEATHSIG, so that none outlives the one above it; and the kernel ends all of a
pid namespace with its pid 1. catatonit is that pid 1: it reaps strays, which Python could not do without stealing
the exit statuses that `subprocess` waits for.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from . import expose
from .housing import NodeNotStarted
from .ids import IdMaps, format_map
from .kernel import (
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
    MS_BIND,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_PRIVATE,
    MS_REC,
    Kernel,
    kernel,
)

_ALL = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS

_BY_SIGNAL = 128
"""A shell's way to say in an exit status that a signal ended a process."""

_COUNTED = "user/max_user_namespaces"
_SETTINGS = (
    (_COUNTED, "0", "65536"),
    ("kernel/apparmor_restrict_unprivileged_userns", "1", "0"),
    ("kernel/unprivileged_userns_clone", "0", "1"),
)
"""Sysctls: the value that forbids namespaces, to ordinary users or to all, and one that does not."""

_CAP_SYS_ADMIN = 21

CONTROL_FD = 3
"""Where the node finds its socket to the keeper."""


@dataclass(frozen=True, slots=True)
class Blueprint:
    """What a node is made of. `writable` are the only host directories that it can change."""

    maps: IdMaps
    paths: tuple[str, ...]
    writable: tuple[str, ...]
    argv: tuple[str, ...]
    environ: dict[str, str]


@dataclass(frozen=True, slots=True)
class Born:
    """A running node: the maker, our child, ends as the node does; `pid` is the node's pid 1 out here."""

    maker: int
    pid: int


def start_node(blueprint: Blueprint, control: int, on_network: Callable[[int], None], calls: Kernel = kernel) -> Born:
    """Make the namespaces and start the node. `control` becomes its descriptor 3.

    `on_network(pid)` is called when that process is in the new user and network namespace, before the node runs.
    Raises `NodeNotStarted`. The calling process must have one thread only.
    """
    ready, go = os.pipe(), os.pipe()
    maker = os.fork()
    if maker == 0:
        _maker(blueprint, control, ready[1], go[0], (ready[0], go[1]), calls)
    os.close(ready[1])
    os.close(go[0])
    try:
        _expect(ready[0])
        _write_maps(maker, blueprint.maps)
        on_network(maker)
        os.write(go[1], b"g")
        return Born(maker, int(_expect(ready[0])))
    except (NodeNotStarted, OSError, subprocess.SubprocessError) as failure:
        os.kill(maker, signal.SIGKILL)
        os.waitpid(maker, 0)
        raise NodeNotStarted(f"{failure}{_hint(blueprint.maps)}") from failure
    finally:
        os.close(ready[0])
        os.close(go[1])


def _hint(maps: IdMaps) -> str:
    """Return what forbids namespaces here, if anything known does, and what to do about it."""
    for name, forbidding, allowing in _SETTINGS:
        path = Path("/proc/sys", name)
        applies = path.exists() and (not maps.privileged or name == _COUNTED)
        if applies and path.read_text(encoding="ascii").strip() == forbidding:
            return f"; no namespaces may be made here: have root run sysctl {name.replace('/', '.')}={allowing}"
    if maps.privileged and not _has_capability(_CAP_SYS_ADMIN):
        return (
            "; root may make no namespaces here (it lacks CAP_SYS_ADMIN): start the container around it with that right"
        )
    return ""


def _has_capability(number: int) -> bool:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    effective = next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff:"))
    return bool(int(effective, 16) >> number & 1)


def _expect(ready: int) -> bytes:
    said = os.read(ready, 4096)
    if said.startswith(b"!") or not said:
        raise NodeNotStarted(said[1:].decode(errors="replace") or "the maker of the namespaces died")
    return said


def _write_maps(pid: int, maps: IdMaps) -> None:
    for name, extents in (("uid", maps.uids), ("gid", maps.gids)):
        if maps.privileged:
            Path(f"/proc/{pid}/{name}_map").write_text(format_map(extents), encoding="ascii")
            continue
        try:
            words = format_map(extents).split()
            subprocess.run([f"new{name}map", str(pid), *words], check=True, capture_output=True, timeout=20)
        except (FileNotFoundError, PermissionError):
            raise NodeNotStarted(f"new{name}map is missing: install the package uidmap") from None
        except subprocess.CalledProcessError as failure:
            raise NodeNotStarted(f"new{name}map: {failure.stderr.decode(errors='replace').strip()}") from None


# -- in the maker ------------------------------------------------------------------------------------------


def _maker(blueprint: Blueprint, control: int, ready: int, go: int, others: tuple[int, int], calls: Kernel) -> NoReturn:
    try:
        _keep_only(control, ready, go, others)
        code = _make(blueprint, control, ready, go, calls)
    except BaseException as failure:  # noqa: BLE001 - the outermost frame of this process: the parent reports it
        _say(ready, b"!" + (str(failure) or traceback.format_exc()).encode())
        os._exit(1)
    os._exit(code)


def _make(blueprint: Blueprint, control: int, ready: int, go: int, calls: Kernel) -> int:
    calls.die_with_parent(signal.SIGKILL)
    os.umask(0o022)
    _enter_namespaces(blueprint, calls)
    _say(ready, b"n")
    if os.read(go, 1) != b"g":
        raise NodeNotStarted("the keeper gave up")
    os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    calls.die_with_parent(signal.SIGKILL)  # changing ids has cleared it
    if not blueprint.maps.privileged:
        _arrange_mounts(blueprint, calls)
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        _first_process(blueprint, control, (read_end, write_end), calls)
    os.close(write_end)
    failure = os.read(read_end, 4096)  # closed by execve, unless there is something to say
    if failure:
        raise NodeNotStarted(failure.decode(errors="replace"))
    _say(ready, str(pid).encode())
    os.close(ready)
    os.close(control)
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else _BY_SIGNAL - code


def _enter_namespaces(blueprint: Blueprint, calls: Kernel) -> None:
    """Real root arranges the mounts before it becomes nobody: afterwards they are locked together for the node."""
    if blueprint.maps.privileged:
        calls.unshare(CLONE_NEWNS)
        calls.mount("none", "/", None, MS_REC | MS_PRIVATE)
        is_open = expose.is_open_to(*blueprint.maps.root)
        plan = expose.plan((*blueprint.paths, *blueprint.writable), is_open)
        expose.apply(plan, blueprint.maps.root, calls)
        _arrange_mounts(blueprint, calls)
    calls.unshare(_ALL)


def _arrange_mounts(blueprint: Blueprint, calls: Kernel) -> None:
    """Make everything private, and read-only but for `writable`, /proc and /sys (whose new instances inherit it)."""
    calls.mount("none", "/", None, MS_REC | MS_PRIVATE)
    for path in blueprint.writable:
        calls.mount(path, path, None, MS_BIND)
    calls.set_read_only("/", read_only=True, recursive=True)
    for path in (*blueprint.writable, "/proc", "/sys"):
        calls.set_read_only(path, read_only=False)
    for path in blueprint.writable:  # a container's mounts of them inherit it
        calls.take_privilege(path)


def _first_process(blueprint: Blueprint, control: int, failure: tuple[int, int], calls: Kernel) -> NoReturn:
    report = fcntl.fcntl(failure[1], fcntl.F_DUPFD_CLOEXEC, CONTROL_FD + 1)  # out of the way of the control socket
    os.close(failure[1])
    try:
        calls.die_with_parent(signal.SIGKILL)
        os.setsid()
        calls.set_hostname("modicum-node")
        calls.mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        if control != CONTROL_FD:
            os.dup2(control, CONTROL_FD)
        os.set_inheritable(CONTROL_FD, True)
        os.execve(blueprint.argv[0], blueprint.argv, blueprint.environ)
    except BaseException as error:  # noqa: BLE001 - the outermost frame of this process: the parent reports it
        _say(report, str(error).encode())
    os._exit(1)


def _keep_only(control: int, ready: int, go: int, others: tuple[int, int]) -> None:
    """Close what the keeper holds: its lock, its selector, earlier nodes' sockets."""
    for descriptor in others:
        os.close(descriptor)
    kept = {0, 1, 2, control, ready, go}
    for name in os.listdir("/proc/self/fd"):
        if int(name) not in kept:
            try:
                os.close(int(name))
            except OSError:
                pass  # the one that listed the directory


def _say(descriptor: int, text: bytes) -> None:
    try:
        os.write(descriptor, text[:4096])
    except OSError:
        pass  # nobody listens any longer
