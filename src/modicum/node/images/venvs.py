"""How an image is made of virtual environments, where containers are plain processes of this machine."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modicum.node.children import communicate

from . import host, interpreter
from .bases import ENV, BaseFailed
from .ground import StepRefused, Tell
from .threads import in_thread

VENV = "venv"
"""The environment's directory in a layer."""

_KEPT = frozenset({"add_files", "debian_slim", "pip_install", "uv_pip_install"})
"""Steps that change only the environment, or bring files to /root. All others would change this machine."""

_PLACES = frozenset({VENV, "root", "tmp"})

STRAY = "the process runtime can bring files below /root only, not to /{}"

_PROBE = """\
import ensurepip, glob, os, sys, sysconfig
folders = [os.path.join(os.path.dirname(ensurepip.__file__), "_bundled"), sysconfig.get_config_var("WHEEL_PKG_DIR")]
wheels = [wheel for folder in folders if folder for wheel in sorted(glob.glob(os.path.join(folder, "pip-*.whl")))]
print("%d.%d.%d" % sys.version_info[:3], wheels[-1])
"""
"""What an interpreter is asked: its version, and where the pip is that comes with it."""

_PROBE_TIMEOUT_S = 10.0
_LINKED = "lib"
"""Below it files are shared with the layer below; the rest of an environment is small, and names its own place."""


@dataclass(frozen=True, slots=True)
class Found:
    """An interpreter, its full version, and the wheel of the pip that comes with it."""

    python: str
    version: str
    pip: str


class VenvGround:
    """One environment per layer, with what was in the one below. `pythons` is where uv puts interpreters."""

    compiles_agent = False

    def __init__(self, pythons: Path) -> None:
        self._pythons = pythons

    def check(self, step: Mapping[str, Any]) -> None:
        """Raise `StepRefused` for a step that would change the machine, or be lost."""
        if step["op"] not in _KEPT:
            raise StepRefused(
                f"the process runtime cannot run the step {step['op']!r}: its images are virtual environments on this "
                "machine, and the step would change the machine itself. Do by hand what it is to do, or use a runtime "
                "with isolation (`modicum doctor` says what that needs)."
            )

    async def base(self, step: Mapping[str, Any], target: Path, work: Path, tell: Tell) -> dict[str, Any]:
        """Make an environment of an interpreter of the wanted minor version, and never of another."""
        minor = step["python"]
        found = await self._interpreter(minor, tell)
        tell(f"Making a virtual environment with CPython {found.version}, {found.python}; there is no Debian below it.")
        venv = str(target / VENV)
        await _uv(work, "venv", "--no-project", "--python", found.python, venv)
        await _uv(work, "pip", "install", "--no-index", "--no-deps", "--python", venv, found.pip)
        return {"env": dict(ENV), "workdir": "/root", "python": "python3", "python_minor": minor}

    def settings(self) -> host.HostSettings:
        """Return the machine's settings with no path to be mounted: a plain process sees all of them."""
        return dataclasses.replace(host.collect(), paths=())

    def seal(self, layer: Path, final: Path) -> None:
        """Have the environment name its final place, and keep the files that later layers share from being changed."""
        stray = sorted({entry.name for entry in os.scandir(layer)} - _PLACES)
        if stray:
            raise StepRefused(STRAY.format(stray[0]))
        if not (layer / VENV).is_dir():
            return
        _rename(layer / VENV, final / VENV)
        for path in _files(layer / VENV / _LINKED):
            path.chmod(stat.S_IMODE(path.lstat().st_mode) & ~0o222)

    async def _interpreter(self, minor: str, tell: Tell) -> Found:
        found = await in_thread(lambda: next(interpreters(minor), None))
        if found is not None:
            return found
        tell(f"No CPython {minor} is on this machine; asking uv for it.")
        fetched, failure = await interpreter.fetch(minor, self._pythons)
        python = f"{fetched.prefix}/bin/python{minor}" if fetched is not None else ""
        found = await in_thread(lambda: _ask(python, minor)) if python else None
        if found is None:
            raise BaseFailed(
                f"There is no CPython {minor} with ensurepip on this machine, and uv could not fetch one ({failure}). "
                f"Install it, for example the package python{minor}-venv, or with `uv python install {minor}` or "
                "pyenv, or choose another python_version."
            )
        return found


def clone(source: Path, target: Path) -> None:
    """Make `target` the same environment as `source`, sharing the files of its packages where the disk allows it."""
    for entry in os.scandir(source):
        to = target / entry.name
        target.mkdir(exist_ok=True)
        if entry.is_symlink():
            os.symlink(os.readlink(entry.path), to)
        elif entry.is_dir():
            share = entry.name.startswith(_LINKED)
            shutil.copytree(entry.path, to, symlinks=True, copy_function=_link if share else shutil.copy2)
        else:
            shutil.copy2(entry.path, to)
    _rename(target, target, source)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target)


def _rename(venv: Path, final: Path, old: Path | None = None) -> None:
    """Replace the environment's own path, or `old`, by `final` in what names it: scripts, and pyvenv.cfg."""
    was, becomes = str(old or venv).encode(), str(final).encode()
    for path in [*_files(venv / "bin"), venv / "pyvenv.cfg"]:
        content = path.read_bytes()
        if was in content:
            path.write_bytes(content.replace(was, becomes))


def _files(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            yield path


def interpreters(minor: str) -> Iterator[Found]:
    """Yield the interpreters of this minor version on this machine that environments can be made with."""
    folders = [Path(sys.base_prefix), *host.interpreter_prefixes(minor), Path("/usr")]
    named = [str(folder / "bin" / f"python{minor}") for folder in folders]
    for path in dict.fromkeys([*named, shutil.which(f"python{minor}") or ""]):
        found = _ask(path, minor) if path and os.path.exists(path) else None
        if found is not None:
            yield found


def _ask(python: str, minor: str) -> Found | None:
    try:
        done = subprocess.run(
            [python, "-I", "-c", _PROBE], capture_output=True, text=True, timeout=_PROBE_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    version, _, pip = done.stdout.strip().partition(" ")
    return Found(python, version, pip) if done.returncode == 0 and version.startswith(f"{minor}.") else None


async def _uv(work: Path, *arguments: str) -> None:
    """Run uv, which makes in 0.1 s what takes venv 5. Raises `BaseFailed` with what it says."""
    uv = host.uv_binary()
    if uv is None:
        raise BaseFailed("uv is not installed beside Modicum: pip install uv")
    options = ("--quiet", "--no-config", "--offline", f"--cache-dir={work}/cache")
    process = await asyncio.create_subprocess_exec(
        str(uv),
        *arguments,
        *options,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await communicate(process)
    if process.returncode:
        raise BaseFailed(
            f"uv {arguments[0]} failed (exit status {process.returncode}):\n{said.decode(errors='replace')}"
        )
