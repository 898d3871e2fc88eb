"""What is peculiar to one OCI runtime's executable, and how what it says and its exit status are to be read."""

from __future__ import annotations

import base64
import json
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modicum.runtimes.base import Exit

from .seccomp import profile

_SIGNAL_BASE = 128


@dataclass(frozen=True, slots=True)
class Binary:
    """A runtime's executable and what is peculiar to it."""

    name: str
    path: str
    run_options: tuple[str, ...]
    global_options: tuple[str, ...]
    filter: bytes | None = None
    """The compiled seccomp filter, if the runtime takes it so: compiling takes crun 3 ms, each time."""


def exit_of(status: int, oom: bool = False, detail: str = "") -> Exit:
    """Translate the runtime's exit status: 128 + n says that signal n ended the container."""
    if status < 0:
        return Exit(_SIGNAL_BASE - status, -status, oom, detail)
    number = status - _SIGNAL_BASE
    known = number in signal.valid_signals()
    return Exit(status, number if known else None, oom and number == signal.SIGKILL, detail)


def close_door(config: dict[str, Any], binary: Binary) -> None:
    """Add the seccomp filter to a configuration in the way that this runtime takes fastest."""
    if binary.filter is not None:
        config["annotations"] = {"run.oci.seccomp_bpf_data": base64.b64encode(binary.filter).decode()}
    else:
        config["linux"]["seccomp"] = profile()


def complaint(log: Path) -> str:
    """Return what the runtime says in its log was wrong; nothing if the container's own program ended so."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return "; ".join(said for line in lines if (said := _complaint(line)))


def _complaint(line: str) -> str:
    """Return the message of a line in the runtime's log, if it is more than a warning."""
    try:
        parsed = json.loads(line)
    except ValueError:
        return line.strip()
    return str(parsed.get("msg", "")) if parsed.get("level", "error") in ("error", "fatal") else ""
