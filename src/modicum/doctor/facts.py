"""What is found out about a machine. Nothing here judges, and nothing here asks: `probes.py` fills it in."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of starting a node. `failure` is empty if it started; the rest is as in `node.hello`."""

    failure: str = ""
    uses: str = ""
    limits: str = ""
    network: str = ""


@dataclass(frozen=True, slots=True)
class Home:
    """The home's directory, or where it would be made."""

    path: str
    problem: str = ""
    """Why it cannot be used; empty if it can."""
    file_system: str = ""
    free_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Facts:
    """One machine, as one user sees it."""

    system: str
    kernel: tuple[int, int]
    user: str
    is_root: bool
    runtime: str
    """What MODICUM_RUNTIME asks for."""
    trial: Trial
    home: Home
    namespaces: str = ""
    """What the kernel says to an ordinary user's namespaces; empty if it makes them."""
    sysctls: dict[str, str] = field(default_factory=dict)
    """Those that may forbid namespaces, as far as they exist."""
    ids: str = ""
    """What is wrong with the user's subordinate ids; empty if nothing is."""
    cgroup_version: int = 0
    missing: frozenset[str] = frozenset()
    """Programs of `findings.PROGRAMS` that are not on the PATH."""
    pythons: dict[str, str] = field(default_factory=dict)
    """Minor version → where an interpreter of it is, for those that are here."""
    uv: str = ""
    """Where uv is; empty if it is not installed."""
    behind_s: float = 0.0
    """By how many seconds the clock is certainly behind."""
    packages: str | None = ""
    """Why no package index can be reached; empty if one can, None if that was not tried."""
    devices: frozenset[str] = frozenset()
    """Device files that this user may open: /dev/kvm, /dev/fuse, /dev/net/tun, /dev/nvidia…"""
    gpus: tuple[str, ...] = ()
    """The types of those that functions can have, and how many of each, as in `H100:8`."""
    gpus_note: str = ""
    """What there is to say of them; where they are declared, that they are."""
    gpus_problem: str = ""
    """Why containers would not find theirs."""
