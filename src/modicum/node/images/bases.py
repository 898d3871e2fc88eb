"""How the base layer of `debian_slim` is made where no registry can be asked: bootstrapped on the spot."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import apt, interpreter
from .threads import in_thread

SUITES = {"3.11": "bookworm", "3.13": "trixie", "3.14": "forky"}
"""The Debian suite whose own CPython has this minor."""

_GLIBC = (("bookworm", (2, 36)), ("trixie", (2, 41)), ("forky", (2, 42)))
"""For an interpreter from elsewhere: the oldest suite with a C library new enough for it."""

_TOOLS = ("ca-certificates", "netbase", "tzdata", "gcc", "g++", "make", "gfortran")
_OWN_PYTHON = ("python3", "python3-venv", "python3-dev")
_LIBRARIES = ("libbz2-1.0", "libcrypt1", "liblzma5", "libncursesw6", "libsqlite3-0", "libtinfo6", "libuuid1", "zlib1g")
_LIBRARIES_OF = {"bookworm": ("libffi8", "libreadline8", "libssl3")}
_LIBRARIES_SINCE_TRIXIE = ("libffi8", "libreadline8t64", "libssl3t64")
"""What a CPython that was built on a Debian needs at run time, of the modules that are kept."""

_TMPFS_MIB = 4096
_MEMORY_TO_SPARE_MIB = 3072
"""The bootstrap needs 1 GB; it goes to the disk rather than make the machine short of memory."""

_HERE = Path(__file__).parent
_LOG_LINES_SHOWN = 15
_NO_SUITE = "does not have a Release file"

ENV = {"PATH": "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
"""What a process in the image finds set."""

Tell = Callable[[str], None]


class BaseFailed(Exception):
    """The base cannot be made; the message is for whoever asked for the image."""


class _SuiteMissing(Exception):
    """The wanted Python comes with no suite that can be had; the message says why."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What to bootstrap."""

    suite: str
    packages: tuple[str, ...]
    interpreter: interpreter.Interpreter | None = None


async def build(minor: str, target: Path, work: Path, tell: Tell) -> dict[str, Any]:
    """Make the root directory of a Debian with CPython `minor` in `target`; return the image's configuration.

    `work` is an empty directory for all else. Cancelling ends every process and mount of it. Raises `BaseFailed`.
    """
    suite = SUITES.get(minor)
    try:
        if suite is None:
            raise _SuiteMissing("no Debian suite has it")
        await _bootstrap(minor, Recipe(suite, _TOOLS + _OWN_PYTHON), target, work / "own", tell)
    except _SuiteMissing as missing:
        if suite is not None:
            tell(f"{missing}; looking for a Python {minor} for an older one.")
        recipe = await _with_interpreter(minor, str(missing), work, tell)
        await _bootstrap(minor, recipe, target, work / "other", tell)
    return {"env": dict(ENV), "workdir": "/root", "python": "/usr/local/bin/python3", "python_minor": minor}


async def _bootstrap(minor: str, recipe: Recipe, target: Path, work: Path, tell: Tell) -> None:
    work.mkdir()
    settings = await in_thread(lambda: apt.host_settings(recipe.suite))
    if (found := recipe.interpreter) is not None:
        await in_thread(lambda: interpreter.stage(found, minor, work / "python"))
    _lay_out(settings, work)
    environ = {
        **_proxies(),
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "SUITE": recipe.suite,
        "PYTHON": minor,
        "PACKAGES": ",".join(recipe.packages),
        "WORK": str(work),
        "OUT": str(target),
        "TMPFS": str(_TMPFS_MIB if _memory_available_mib() > _MEMORY_TO_SPARE_MIB else 0),
    }
    with_python = f"CPython {found.version} from {found.origin}" if found else f"its own Python {minor}"
    tell(f"Bootstrapping Debian {recipe.suite} with {with_python} (once) …")
    started = asyncio.get_running_loop().time()
    await _run(environ, work / "log", recipe.suite)
    tell(f"Debian {recipe.suite} is ready after {asyncio.get_running_loop().time() - started:.0f} s.")


async def _with_interpreter(minor: str, why: str, work: Path, tell: Tell) -> Recipe:
    try:
        found = await interpreter.find(minor, why, work / "uv", tell)
    except interpreter.NoInterpreter as error:
        raise BaseFailed(str(error)) from None
    suite = next((name for name, glibc in _GLIBC if glibc >= found.glibc), None)
    if suite is None:
        needed = "{}.{}".format(*found.glibc)
        raise BaseFailed(f"CPython {found.version} from {found.origin} may need glibc {needed}, which no Debian has.")
    libraries = _LIBRARIES + _LIBRARIES_OF.get(suite, _LIBRARIES_SINCE_TRIXIE)
    return Recipe(suite, _TOOLS + libraries, found)


def _lay_out(settings: apt.AptSettings, work: Path) -> None:
    """Write what bootstrap.sh reads."""
    (work / "acquire.conf").write_text(settings.acquire)
    if settings.sources:
        (work / "debian.sources").write_text(settings.sources)
    (work / "keys").mkdir()
    for key in settings.keys:
        if key.is_file():
            copy = work / "keys" / key.relative_to("/")
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(key, copy)


async def _run(environ: dict[str, str], log: Path, suite: str) -> None:
    with log.open("wb") as output:
        try:
            process = await asyncio.create_subprocess_exec(
                "unshare", "--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc", "--propagation=private",
                "sh", str(_HERE / "bootstrap.sh"),
                env=environ, stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip
        except FileNotFoundError as error:
            raise BaseFailed(f"Cannot bootstrap Debian: {error.filename} is not installed.") from None
    try:
        code = await process.wait()
    except asyncio.CancelledError:
        process.send_signal(signal.SIGKILL)  # the child of unshare is killed with it, and its namespace with the child
        await process.wait()
        raise
    if code != 0:
        said = await in_thread(lambda: log.read_text(errors="replace"))
        if _NO_SUITE in said:
            raise _SuiteMissing(f"the package archive that this machine uses has no Debian {suite}")
        lines = said.splitlines()[-_LOG_LINES_SHOWN:]
        raise BaseFailed("\n".join([f"Bootstrapping Debian {suite} failed (exit status {code}):", *lines]))


def _proxies() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")}


def _memory_available_mib() -> int:
    with open("/proc/meminfo") as file:
        for line in file:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) // 1024
    return 0
