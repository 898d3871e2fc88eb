"""What the facts mean: whether functions can run here, what is missing, and what to do about it. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from modicum.runtimes import PROCESS

from .facts import Facts

Level = Literal["ok", "note", "warning", "error"]
"""A `note` is of no consequence now, a `warning` of some, and with an `error` no function can run."""

KERNEL_MIN = (5, 12)
"""mount_setattr is of 5.12, overlays in user namespaces of 5.11."""

PROGRAMS = {
    "catatonit": "catatonit",
    "mmdebstrap": "mmdebstrap",
    "unshare": "util-linux",
    "crun": "crun",
    "runc": "runc",
    "newuidmap": "uidmap",
    "newgidmap": "uidmap",
    "slirp4netns": "slirp4netns",
    "pasta": "passt",
    "nft": "nftables",
    "buildah": "buildah",
}
"""Program → Debian's package of it."""

SYSCTLS = {
    "kernel.apparmor_restrict_unprivileged_userns": ("1", "0"),
    "kernel.unprivileged_userns_clone": ("0", "1"),
    "user.max_user_namespaces": ("0", "65536"),
}
"""Sysctl → the value that forbids namespaces, and one that does not."""

WITHOUT = "or run without isolation, with MODICUM_RUNTIME=process in the environment"

_GIB = 1 << 30
_LITTLE, _TOO_LITTLE = 4 * _GIB, _GIB // 4
"""A base has 0.45 GB, and as much again while it is made."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing about the machine. `fix` is what to do, if there is something to be done."""

    name: str
    level: Level
    text: str
    fix: str = ""


def judge(facts: Facts) -> list[Finding]:
    """Return all findings, in the order in which a person wants to read them."""
    isolated = [] if facts.runtime == PROCESS else [*_namespaces(facts), *_programs(facts)]
    return [
        _system(facts),
        *isolated,
        *_runtime(facts),
        *_home(facts),
        *_clock(facts),
        *_pythons(facts),
        *_packages(facts),
        *_extras(facts),
    ]


def can_run(findings: list[Finding]) -> bool:
    """Whether functions can run on the machine."""
    return all(finding.level != "error" for finding in findings)


def _system(facts: Facts) -> Finding:
    text = f"{facts.system}, as {facts.user}"
    if facts.kernel < KERNEL_MIN and facts.runtime != PROCESS:
        wanted = "{}.{}".format(*KERNEL_MIN)
        return Finding("system", "error", text, f"a Linux of {wanted} or newer is needed; {WITHOUT}")
    return Finding("system", "ok", text)


def _namespaces(facts: Facts) -> Iterator[Finding]:
    if facts.namespaces:
        yield Finding("namespaces", "error", f"no user namespaces: {facts.namespaces}", _namespaces_fix(facts))
    else:
        yield Finding("namespaces", "ok", "user, mount, process and network namespaces can be made")
    if facts.ids:
        text, _, fix = facts.ids.partition("; ")
        yield Finding("ids", "error", text, fix)
    elif not facts.is_root:
        yield Finding("ids", "ok", "subordinate ids in /etc/subuid and /etc/subgid")


def _namespaces_fix(facts: Facts) -> str:
    for name, (forbidding, allowing) in SYSCTLS.items():
        if facts.sysctls.get(name) == forbidding:
            return f"have root run: sysctl {name}={allowing}"
    return "inside another container: start that one with the right to make namespaces"


def _programs(facts: Facts) -> Iterator[Finding]:
    always = ["catatonit", "mmdebstrap", "unshare"]
    if not facts.is_root:
        always += ["newuidmap", "newgidmap"]
    needed = [name for name in always if name in facts.missing]
    wanted = ("crun", "runc") if facts.runtime == "auto" else (facts.runtime,)
    if facts.missing.issuperset(wanted):
        needed.append(wanted[0])
    if needed:
        yield Finding("programs", "error", f"not installed: {', '.join(needed)}", _install(needed))
    else:
        yield Finding("programs", "ok", "all that containers need is installed")


def _install(programs: list[str]) -> str:
    packages = list(dict.fromkeys(PROGRAMS[name] for name in programs))
    return f"install the package{'s' if len(packages) > 1 else ''} {' '.join(packages)}"


def _runtime(facts: Facts) -> Iterator[Finding]:
    trial = facts.trial
    if trial.failure:
        fix = "" if facts.runtime == PROCESS else f"see to the above, {WITHOUT}"
        why = "it has no ids" if facts.ids and facts.ids in trial.failure else trial.failure
        yield Finding("runtime", "error", f"no container can be started: {why}", fix)
        return
    if facts.runtime == PROCESS:
        yield Finding("runtime", "warning", trial.uses, "unset MODICUM_RUNTIME where containers can be had")
        return
    yield Finding("runtime", "ok", f"{trial.uses} (MODICUM_RUNTIME={facts.runtime})")
    yield _limits(facts)
    yield _network(facts)


def _limits(facts: Facts) -> Finding:
    if "not enforced" not in facts.trial.limits:
        return Finding("limits", "ok", facts.trial.limits)
    if facts.cgroup_version == 2:
        fix = "delegate a subtree: `systemctl edit user@.service` as root, with [Service] Delegate=cpu memory pids"
    else:
        fix = "start Modicum as root, or boot with systemd.unified_cgroup_hierarchy=1"
    return Finding("limits", "warning", facts.trial.limits, fix)


def _network(facts: Facts) -> Finding:
    if not facts.trial.network.startswith("no network"):
        return Finding("network", "ok", facts.trial.network)
    needed = ["slirp4netns"] if facts.missing.issuperset(("slirp4netns", "pasta")) else []
    needed += ["nft"] if "nft" in facts.missing else []
    fix = _install(needed) if needed else ""
    if "/dev/net/tun" not in facts.devices:
        fix = "have root run: chmod 0666 /dev/net/tun (and `modprobe tun` if it is not there)"
    return Finding("network", "warning", facts.trial.network, fix)


def _home(facts: Facts) -> Iterator[Finding]:
    home = facts.home
    if home.problem:
        elsewhere = "set MODICUM_HOME to a directory of your own on a local disk"
        yield Finding("home", "error", f"{home.path}: {home.problem}", elsewhere)
        return
    text = f"{home.path}, {home.file_system}, {home.free_bytes / _GIB:.1f} GiB free"
    if home.free_bytes < _LITTLE:
        level: Level = "error" if home.free_bytes < _TOO_LITTLE else "warning"
        yield Finding("home", level, text, "make room, or set MODICUM_HOME to a directory on a larger disk")
    else:
        yield Finding("home", "ok", text)


def _clock(facts: Facts) -> Iterator[Finding]:
    if facts.behind_s > 0:
        days = facts.behind_s / 86400
        text = f"the clock is at least {days:.1f} days behind: certificates will seem not to be valid yet"
        yield Finding("clock", "warning", text, "set it, for example with `timedatectl set-ntp true`")
    else:
        yield Finding("clock", "ok", "not behind")


def _pythons(facts: Facts) -> Iterator[Finding]:
    if facts.uv:
        yield Finding("uv", "ok", facts.uv)
    else:
        yield Finding("uv", "warning", "not installed: no uv_pip_install", "pip install uv")
    found = ", ".join(f"{minor} ({where})" for minor, where in facts.pythons.items()) or "none"
    if facts.pythons:
        yield Finding("python", "ok", f"for debian_slim: {found}")
    else:
        yield Finding(
            "python", "error", f"for debian_slim: {found}", "install a Python of 3.11 or newer with its venv module"
        )


def _packages(facts: Facts) -> Iterator[Finding]:
    if facts.packages is None:
        yield Finding("packages", "note", "not tried whether an index can be reached")
    elif facts.packages:
        fix = "images that are built already work; else see to the network, proxy variables, pip.conf or uv.toml"
        yield Finding("packages", "warning", f"no index can be reached: {facts.packages}", fix)
    else:
        yield Finding("packages", "ok", "an index can be reached")


def _extras(facts: Facts) -> Iterator[Finding]:
    """What nothing needs that exists today; it is told so that one knows."""
    if "buildah" in facts.missing:
        yield Finding("buildah", "note", "not installed")
    else:
        yield Finding("buildah", "note", "installed")
    for name, device in (("fuse", "/dev/fuse"), ("kvm", "/dev/kvm")):
        can = device in facts.devices
        yield Finding(
            name, "note", f"{device} can be opened" if can else f"{device} is not there, or closed to this user"
        )
    nodes = sorted(device for device in facts.devices if device.startswith("/dev/nvidia"))
    there = ", ".join(facts.gpus) or (f"none found, only {', '.join(nodes)}" if nodes else "none found")
    if facts.gpus_problem and facts.runtime != PROCESS:
        yield Finding("gpu", "warning", f"{there}; functions that ask for one fail: {facts.gpus_problem}")
    else:
        yield Finding("gpu", "note", f"{there}; {facts.gpus_note}" if facts.gpus_note else there)
