"""How a CPython that no Debian suite has is taken from elsewhere: uv's builds, or this machine."""

from __future__ import annotations

import asyncio
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from modicum.node.children import communicate

from .host import interpreter_prefixes, uv_binary

UV_ENVIRON = {"UV_HTTP_RETRIES": "0", "UV_HTTP_CONNECT_TIMEOUT": "3", "UV_HTTP_TIMEOUT": "20"}
"""Unreachable servers answer so in 0.1 to 5 s instead of 13 to 46; a reachable one sends the 20 MB in good time."""

_FETCH_TIMEOUT_S = 120.0

_LEFT_OUT = frozenset(
    {"test", "idlelib", "lib2to3", "turtledemo", "tkinter", "site-packages", "__pycache__", "EXTERNALLY-MANAGED"}
)
_MODULES_LEFT_OUT = re.compile(r"(_test|_ctypes_test|_xxtest|xxlimited|_tkinter|nis\.)")

Tell = Callable[[str], None]


class NoInterpreter(Exception):
    """No CPython of the wanted minor can be had; the message says what was tried."""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A CPython installation, and the C library that it may need at least."""

    prefix: Path
    version: str
    origin: str
    glibc: tuple[int, int]


async def find(minor: str, why: str, scratch: Path, tell: Tell) -> Interpreter:
    """Return a CPython of this minor, fetched by uv into `scratch` or found on the machine.

    `why` says why it has to come from there. Raises `NoInterpreter`.
    """
    fetched, failure = await fetch(minor, scratch)
    if fetched is not None:
        return fetched
    tell(f"uv has no Python {minor} for us ({failure}); looking on this machine.")
    for prefix in interpreter_prefixes(minor):
        version = _version(prefix, minor)
        if version:
            return Interpreter(prefix, version, f"this machine's {prefix}", _host_glibc())
    present = ", ".join(_minors_present()) or "none"
    raise NoInterpreter(
        f"No CPython {minor} can be had: {why}, uv could not fetch it ({failure}), and this machine "
        f"has none with its library complete (found here: {present}). Install one, for example with "
        f"`uv python install {minor}` or pyenv, or choose another python_version."
    )


def stage(interpreter: Interpreter, minor: str, target: Path) -> None:
    """Copy what an image needs of an installation to `target`, as if it had been installed in /usr/local."""
    prefix = interpreter.prefix
    library = f"lib/python{minor}"
    (target / "bin").mkdir(parents=True)
    for name in (f"python{minor}", f"python{minor}-config"):
        if (prefix / "bin" / name).exists():
            shutil.copy2(prefix / "bin" / name, target / "bin" / name)
    shutil.copytree(prefix / library, target / library, symlinks=True, ignore=_ignore)
    (target / library / "site-packages").mkdir()
    for shared in (prefix / "lib").glob(f"libpython{minor[0]}*.so*"):
        shutil.copy2(shared, target / "lib" / shared.name, follow_symlinks=False)
    headers = f"include/python{minor}"
    if (prefix / headers).is_dir():
        shutil.copytree(prefix / headers, target / headers)
    for package in (prefix / "lib/pkgconfig").glob(f"python-{minor}*.pc"):
        (target / "lib/pkgconfig").mkdir(exist_ok=True)
        shutil.copy2(package, target / "lib/pkgconfig" / package.name)
    _rename_prefix(target, str(prefix))


async def fetch(minor: str, folder: Path) -> tuple[Interpreter | None, str]:
    """Have uv put its newest CPython of this minor below `folder`; return it, or None and why there is none."""
    uv = uv_binary()
    if uv is None:
        return None, "uv is not installed here"
    environ = {**os.environ, **UV_ENVIRON, "UV_CACHE_DIR": str(folder / "cache")}
    command = [str(uv), "python", "install", "--no-bin", "--install-dir", str(folder / "pythons"), minor]
    try:
        code, said = await _run(command, environ)
    except (OSError, TimeoutError) as error:
        return None, str(error) or type(error).__name__
    found = sorted((folder / "pythons").glob(f"cpython-{minor}.*"))
    version = _version(found[-1], minor) if code == 0 and found else ""
    if not version:
        return None, _cause(said)
    return Interpreter(found[-1].resolve(), version, "uv's builds", (2, 17)), ""


async def _run(command: list[str], environ: Mapping[str, str]) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *command, env=environ, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(_FETCH_TIMEOUT_S):
        _, said = await communicate(process)
    return process.returncode or 0, said.decode(errors="replace")


def _cause(stderr: str) -> str:
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    return lines[-1].removeprefix("Caused by:").strip()[:200] if lines else "no reason given"


def _ignore(folder: str, names: list[str]) -> set[str]:
    dropped = {name for name in names if name in _LEFT_OUT or name.startswith("dist-packages")}
    if os.path.basename(folder) == "lib-dynload":
        dropped |= {name for name in names if _MODULES_LEFT_OUT.match(name)}
    return dropped | {name for name in names if name.endswith(".a")}


def _rename_prefix(root: Path, prefix: str) -> None:
    """Make text files name /usr/local.

    Never binaries: linkers share the tails of strings, and a replaced prefix may cut the version's string too.
    """
    patterns = ("_sysconfigdata*.py", "Makefile", "*.pc", "*-config")
    for path in (path for pattern in patterns for path in root.rglob(pattern)):
        if path.is_file() and not path.is_symlink():
            text = path.read_bytes()
            if prefix.encode() in text:
                path.write_bytes(text.replace(prefix.encode(), b"/usr/local"))


def _version(prefix: Path, minor: str) -> str:
    """Return the full version that the interpreter itself names, or "" if it does not run or is another."""
    code = "import platform, sys; print(platform.python_implementation(), platform.python_version())"
    try:
        done = subprocess.run(
            [str(prefix / f"bin/python{minor}"), "-I", "-S", "-c", code],
            capture_output=True, text=True, check=False, timeout=10,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ""
    name, _, version = done.stdout.strip().partition(" ")
    return version if name == "CPython" and version.startswith(minor + ".") else ""


def _minors_present() -> list[str]:
    return [f"3.{minor}" for minor in range(8, 20) if interpreter_prefixes(f"3.{minor}")]


def _host_glibc() -> tuple[int, int]:
    name, version = platform.libc_ver()
    numbers = [int(number) for number in version.split(".")[:2]] if name == "glibc" else []
    return (numbers[0], numbers[1]) if len(numbers) == 2 else (999, 0)
