"""What the node does before its event loop: its mounts, its helper, its network. Everything here blocks, once."""

from __future__ import annotations

import ipaddress
import os
import resource
import shutil
import socket
from dataclasses import dataclass
from pathlib import Path

from . import control, network
from .kernel import MS_BIND, MS_NODEV, MS_NOEXEC, MS_NOSUID, Kernel, kernel
from .layout import Layout
from .netns import start_helper

_CGROUPS = "/sys/fs/cgroup"


@dataclass(frozen=True, slots=True)
class Grounds:
    """What the node stands on."""

    layout: Layout
    keeper: socket.socket
    helper: socket.socket
    pid: int
    limits: str
    network_sentence: str
    plan: network.Plan
    bridge: int | None
    resolv_conf: Path
    init: str


def lay_grounds(layout: Layout, control_fd: int, calls: Kernel = kernel) -> Grounds:
    """Prepare the namespaces that the keeper has made. Raises `OSError`; the keeper then tries again."""
    os.environ.pop("PYTHONPATH", None)  # it was for this interpreter only
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # each container takes five descriptors
    init = shutil.which("catatonit")
    if init is None:
        raise FileNotFoundError("catatonit is missing: install the package catatonit")
    keeper = socket.socket(fileno=control_fd)
    os.set_inheritable(control_fd, False)
    calls.mount("modicum", str(layout.run), "tmpfs", MS_NOSUID | MS_NODEV, "mode=755,size=256m")
    os.chdir(layout.run)
    helper, _ = start_helper()
    welcome = _expect(control.receive(keeper))
    plan = network.Plan(ipaddress.IPv4Network(welcome["containers"]), ipaddress.IPv4Network(welcome["uplink"]))
    resolv_conf = _resolve_by(plan, layout.run / "resolv.conf", calls)
    bridge, sentence = _connect(plan, welcome)
    return Grounds(
        layout=layout,
        keeper=keeper,
        helper=helper,
        pid=welcome["pid"],
        limits=welcome["limits"],
        network_sentence=sentence,
        plan=plan,
        bridge=bridge,
        resolv_conf=resolv_conf,
        init=init,
    )


def hide_cgroups(hidden: bool, calls: Kernel = kernel) -> None:
    """Cover the machine's cgroups for the runtimes to come, or show them. They are the keeper's in any case."""
    if hidden == _is_mounted_over(_CGROUPS):
        return
    if hidden:
        calls.mount("modicum", _CGROUPS, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=755,size=64k")
    else:
        calls.unmount(_CGROUPS)


def _is_mounted_over(target: str) -> bool:
    mounts = [line.split() for line in _lines("/proc/self/mountinfo")]
    return any(fields[4] == target and fields[-2] == "modicum" for fields in mounts)


def _expect(received: tuple[control.Message, list[int]] | None) -> control.Message:
    if received is None:
        raise ConnectionError("the keeper is gone")
    return received[0]


def _resolve_by(plan: network.Plan, path: Path, calls: Kernel) -> Path:
    """Write the resolv.conf of containers, and make it the node's own, for what it downloads itself."""
    searched = [line for line in _lines("/etc/resolv.conf") if line.startswith(("search ", "options "))]
    path.write_text("\n".join([f"nameserver {plan.resolver}", *searched, ""]), encoding="utf-8")
    host_file = os.path.realpath("/etc/resolv.conf")
    if os.path.exists(host_file):
        calls.mount(str(path), host_file, None, MS_BIND)
    return path


def _connect(plan: network.Plan, welcome: control.Message) -> tuple[int | None, str]:
    try:
        return network.set_up(plan, welcome["addresses"]), welcome["network"]
    except network.NetworkUnavailable as failure:
        return None, f"no network for containers: {failure}"


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
