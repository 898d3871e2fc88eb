"""How the node's network namespace reaches the outside: a user-mode network stack on the host's side.

slirp4netns first, pasta if it is missing. Both are started so that the host's loopback stays out of reach. Neither
ends with the namespace that it serves, so it is tied to the keeper by PDEATHSIG, and ended with each node.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from .kernel import kernel
from .network import MTU, TAP, Plan

_READY_S = 5.0


@dataclass(frozen=True, slots=True)
class Uplink:
    """A running uplink, or none: then `sentence` says why."""

    process: subprocess.Popen[bytes] | None
    sentence: str

    def stop(self) -> None:
        """End it."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()


def start_uplink(pid: int, plan: Plan) -> Uplink:
    """Connect the network namespace of process `pid`; returns when it is usable. Never raises."""
    failures: list[str] = []
    for name, attempts in (("slirp4netns", _slirp_commands(pid, plan)), ("pasta", _pasta_commands(pid, plan))):
        if shutil.which(name) is None:
            failures.append(f"{name} is not installed")
            continue
        for command in attempts:
            process = _slirp(command) if name == "slirp4netns" else _pasta(command)
            if process is not None:
                return Uplink(process, f"network by {name}")
        failures.append(f"{name} did not start (see keeper.log)")
    return Uplink(None, f"no network for containers: {'; '.join(failures)}")


def _slirp_commands(pid: int, plan: Plan) -> list[list[str]]:
    """With its own sandbox and system call filter if they work here, else without."""
    basic = ["--configure", f"--mtu={MTU}", f"--cidr={plan.uplink}", "--disable-host-loopback"]
    where = [str(pid), TAP]
    closed = [["--enable-sandbox", "--enable-seccomp"], ["--enable-sandbox"], []]
    return [["slirp4netns", *basic, *options, *where] for options in closed]


def _slirp(command: list[str]) -> subprocess.Popen[bytes] | None:
    ready, said = os.pipe()
    process = _start([command[0], f"--ready-fd={said}", *command[1:]], (said,))
    os.close(said)
    try:
        heard, _, _ = select.select([ready], [], [], _READY_S)
        if heard and os.read(ready, 1):
            return process
    finally:
        os.close(ready)
    process.kill()
    process.wait()
    return None


def _pasta_commands(pid: int, plan: Plan) -> list[list[str]]:
    namespaces = ["--userns", f"/proc/{pid}/ns/user", "--netns", f"/proc/{pid}/ns/net"]
    # No port is forwarded either way, and the gateway's address does not lead to the host.
    closed = ["-t", "none", "-u", "none", "-T", "none", "-U", "none", "--no-map-gw"]
    options = ["--config-net", "--quiet", "--foreground", "--dns-forward", str(plan.resolver)]
    return [["pasta", *options, *closed, *namespaces]]


def _pasta(command: list[str]) -> subprocess.Popen[bytes] | None:
    """It says nothing when it is ready, so look for its route in the namespace."""
    process = _start(command, ())
    routes = Path(command[-1]).parent.parent / "net" / "route"
    for _ in range(int(_READY_S / 0.01)):
        if process.poll() is not None:
            return None
        if len(_lines(routes)) > 1:
            return process
        select.select([], [], [], 0.01)
    process.kill()
    process.wait()
    return None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").splitlines()
    except OSError:
        return []


def _start(command: list[str], inherited: Iterable[int]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        pass_fds=tuple(inherited),
        start_new_session=True,
        preexec_fn=lambda: kernel.die_with_parent(signal.SIGKILL),  # noqa: PLW1509 - the keeper has one thread here
    )
