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
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from .kernel import kernel
from .network import MTU, TAP, Plan

_READY_S = 5.0
_AGAIN_S = 0.5
_TUN = "/dev/net/tun"


@dataclass(frozen=True, slots=True)
class Uplink:
    """A running uplink, or none: then `sentence` says why."""

    process: subprocess.Popen[bytes] | None
    sentence: str


class Uplinks:
    """The uplink of one node, made again when it dies: its containers lose their connections, but not their lives."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._never, self._unwritten = os.pipe2(os.O_CLOEXEC)
        self.ended = self._never
        """A descriptor that becomes readable when the uplink ends."""
        self.sentence = ""

    def connect(self, pid: int) -> None:
        """Connect the network namespace of this process."""
        self._started = time.monotonic()
        found = start_uplink(pid, self._plan)
        self._process, self.sentence = found.process, found.sentence
        if found.process is not None:
            self.ended = os.pidfd_open(found.process.pid)

    def connect_again(self, pid: int) -> None:
        """Connect it again after the uplink has ended; not more than once in a while."""
        self._forget()
        time.sleep(max(0.0, self._started + _AGAIN_S - time.monotonic()))
        self.connect(pid)

    def stop(self) -> None:
        """End it."""
        self._forget()
        os.close(self._never)
        os.close(self._unwritten)

    def _forget(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        if self.ended != self._never:
            os.close(self.ended)
            self.ended = self._never


def start_uplink(pid: int, plan: Plan) -> Uplink:
    """Connect the network namespace of process `pid`; returns when it is usable. Never raises."""
    failures: list[str] = []
    if not os.access(_TUN, os.R_OK | os.W_OK):
        return Uplink(
            None, f"no network for containers: this user may not open {_TUN}; have root run: chmod 0666 {_TUN}"
        )
    for name, attempts in (("slirp4netns", _slirp_commands(pid, plan)), ("pasta", _pasta_commands(pid, plan))):
        if shutil.which(name) is None:
            failures.append(f"{name} is not installed")
            continue
        for command in attempts:
            process = _slirp(command) if name == "slirp4netns" else _pasta(command)
            if process is not None:
                return Uplink(process, f"network by {name}")
        failures.append(f"{name} did not start (see keeper.log)")
    advice = "" if shutil.which("slirp4netns") else "; install the package slirp4netns"
    return Uplink(None, f"no network for containers: {'; '.join(failures)}{advice}")


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
    if os.geteuid() == 0:
        options += ["--runas", "0"]  # as nobody, which it becomes by itself, it could not enter the namespaces
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
