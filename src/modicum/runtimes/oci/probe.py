"""Which OCI runtime works on this machine, found by running one container with each until one succeeds."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from modicum.runtimes.base import ContainerSpec, RuntimeFailure

from .binary import Binary, close_door
from .config import INIT, build_config
from .runtime import remove_flat

_TIMEOUT_S = 20.0
_ID = "probe"

Names = tuple[str, ...]

CANDIDATES: Names = ("crun", "runc")
"""In order of preference: crun takes 5 ms for a container, runc 30."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The runtime to use; `reason` says why this one."""

    binary: Binary
    reason: str


def choose(
    init: str,
    directory: Path,
    namespaces: tuple[str, str],
    hide_cgroups: Callable[[bool], None],
    names: Names = CANDIDATES,
) -> Choice:
    """Return the first runtime that can run a container here, its seccomp filter compiled.

    `namespaces` are paths of a user and a network namespace. `hide_cgroups` is called with whether a runtime must not
    see the machine's cgroups: crun refuses some that it sees, runc insists on seeing them (and, told that it is
    unprivileged, does not mind that it may not use them). Takes about 30 ms and blocks. Raises `RuntimeFailure` with
    what each of them said.
    """
    failures: list[str] = []
    for name in names:
        path = shutil.which(name)
        if path is None:
            failures.append(f"{name} is not installed")
            continue
        try:
            hide_cgroups(name == "crun")
            binary = _try(name, path, init, directory, namespaces)
        except (RuntimeFailure, OSError, subprocess.SubprocessError) as failure:
            failures.append(f"{name}: {failure}")
            continue
        return Choice(binary, f"{name} works" + (f" ({'; '.join(failures)})" if failures else ""))
    advice = "" if any(shutil.which(name) for name in names) else f"; install the package {names[0]}"
    raise RuntimeFailure(f"no container runtime works: {'; '.join(failures)}{advice}")


def _try(name: str, path: str, init: str, directory: Path, namespaces: tuple[str, str]) -> Binary:
    if name == "crun":
        binary = Binary(name, path, ("--no-new-keyring",), ("--log-format", "json", "--cgroup-manager", "disabled"))
        binary = dataclasses.replace(binary, filter=_compile_filter(binary, init, directory, namespaces))
    else:
        binary = Binary(name, path, ("--no-new-keyring",), ("--log-format", "json", "--rootless", "true"))
    with _Bundle(binary, init, directory, namespaces) as bundle:
        bundle.invoke("run", *binary.run_options, "--bundle", str(bundle.path), _ID)
    return binary


def _compile_filter(binary: Binary, init: str, directory: Path, namespaces: tuple[str, str]) -> bytes | None:
    """Have crun compile the filter for a container that never starts; it leaves it in its state directory."""
    with _Bundle(binary, init, directory, namespaces) as bundle:
        bundle.invoke("create", *binary.run_options, "--bundle", str(bundle.path), _ID)
        try:
            return (bundle.state / _ID / "seccomp.bpf").read_bytes()
        except FileNotFoundError:
            return None  # another version keeps it elsewhere: it compiles at each start then
        finally:
            bundle.invoke("delete", "--force", _ID)


class _Bundle:
    """A container that prints its init's version and ends."""

    def __init__(self, binary: Binary, init: str, directory: Path, namespaces: tuple[str, str]) -> None:
        self._binary = binary
        self.path = directory / _ID
        self.state = directory / "state"
        root = directory / "probe-root"
        spec = ContainerSpec(_ID, root, ("-V",), {"PATH": "/"}, "/", "probe", 1, 2)
        config = build_config(spec, init, *namespaces, open_files=1024)
        config["process"]["args"] = [INIT, "-V"]
        close_door(config, binary)
        for made in (self.state, root, self.path):
            made.mkdir(exist_ok=True)
        (self.path / "config.json").write_text(json.dumps(config), encoding="utf-8")

    def __enter__(self) -> _Bundle:
        return self

    def __exit__(self, *_: object) -> None:
        remove_flat(self.path)
        remove_flat(self.state / _ID)

    def invoke(self, *words: str) -> None:
        log = self.path / "log"
        where = ("--root", str(self.state), "--log", str(log))
        command = [self._binary.path, *where, *self._binary.global_options, *words]
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_TIMEOUT_S,
            check=False,
        )
        if done.returncode:
            said = log.read_text(encoding="utf-8", errors="replace").strip() if log.exists() else ""
            raise RuntimeFailure(said or f"{words[0]} ended with status {done.returncode}")
