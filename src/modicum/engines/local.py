"""How this machine supplies a node: a keeper runs for the home, detached, and is started again when it is gone.

The keeper outlives the server: when a server ends without stopping its engine, node and containers run on for the next.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from modicum.engines.base import EngineFailure
from modicum.node.ids import NoSubordinateIds, id_maps
from modicum.node.images.host import is_build_variable
from modicum.node.layout import Layout, WrongOwner, package_parent, prepare
from modicum.runtimes import AUTO, PROCESS
from modicum.wire.version import PROTOCOL

CHECK_EVERY_S = 1.0
STOP_S = 10.0
LOG_BYTES_MAX = 1 << 20
_POLL_S = 0.02

log = logging.getLogger("modicum.engine")

_KEPT = frozenset({"HOME", "LANG", "LOGNAME", "PATH", "USER"})


WAY_WITHOUT = "without isolation, as plain processes, functions run with MODICUM_RUNTIME=process in the environment"
NOTICE = (
    "Functions run as plain processes, without isolation from this machine: "
    "the server was started with MODICUM_RUNTIME=process."
)


class LocalEngine:
    """The engine of one machine. `runtime` is one of `modicum.runtimes.RUNTIMES`."""

    def __init__(self, home: Path, runtime: str = AUTO) -> None:
        self._layout = Layout(home.resolve(), runtime)
        self.directory = self._layout.node
        self.notice = NOTICE if runtime == PROCESS else ""
        self._watching: asyncio.Task[None] | None = None
        self._children: list[subprocess.Popen[bytes]] = []

    async def start(self) -> None:
        """Have a keeper from now on. Raises `EngineFailure`."""
        if self._watching is not None:
            return
        try:
            prepare(self._layout, self._root())
        except NoSubordinateIds as failure:
            raise EngineFailure(f"{failure}; {WAY_WITHOUT}") from failure
        except (WrongOwner, OSError) as failure:
            raise EngineFailure(str(failure)) from failure
        facts = self.status()
        if facts and (facts.get("protocol"), facts.get("runtime")) != (PROTOCOL, self._layout.runtime):
            await self._end_keeper()  # it is not what is wanted; its containers' inputs run again
        self._ensure_keeper()
        self._watching = asyncio.create_task(self._watch())  # cancelled by stop()

    async def stop(self) -> None:
        """End the keeper, and with it the node and all containers; return when they are gone."""
        self._watch_no_longer()
        await self._end_keeper()

    async def undo_start(self) -> None:
        """End the keeper if it is one that we started: it has no containers yet."""
        self._watch_no_longer()
        if any(child.poll() is None for child in self._children):
            await self._end_keeper()

    def status(self) -> dict[str, Any]:
        """Return what the keeper says of itself; empty while there is none."""
        if not self._is_kept():
            return {}
        try:
            facts = json.loads(self._layout.keeper_facts.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}  # it is just starting
        return facts if isinstance(facts, dict) else {}

    def failure(self) -> str:
        """Return why there is no node, as far as is known."""
        why = self.status().get("failure") or ""
        return f"{why}; {WAY_WITHOUT}" if why and self._layout.runtime != PROCESS else str(why)

    def check(self) -> None:
        """Look now whether there is a keeper, as when a node's connection has ended, and start one if not."""
        if self._watching is not None:
            self._ensure_keeper()

    def _watch_no_longer(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            self._watching = None

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(CHECK_EVERY_S)
            try:
                self._ensure_keeper()
            except OSError as failure:  # no process, no descriptor: the next look may find some
                log.warning("keeper not started", extra={"why": str(failure)})

    def _root(self) -> tuple[int, int]:
        """Return who owns what the node writes. Raises `NoSubordinateIds`."""
        return (os.geteuid(), os.getegid()) if self._layout.runtime == PROCESS else id_maps().root

    def _ensure_keeper(self) -> None:
        self._children = [child for child in self._children if child.poll() is None]
        if not self._is_kept():
            self._children.append(self._spawn())

    def _spawn(self) -> subprocess.Popen[bytes]:
        """Two that start at once end as one: the keeper's lock decides."""
        path = self._layout.keeper_log
        is_long = path.exists() and path.stat().st_size > LOG_BYTES_MAX
        with open(path, "wb" if is_long else "ab") as output:
            return subprocess.Popen(
                [sys.executable, *keeper_arguments(self._layout)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",
                env=keeper_environment(os.environ),
                start_new_session=True,
            )

    def _is_kept(self) -> bool:
        """Whether a keeper holds the home's lock."""
        try:
            lock = os.open(self._layout.lock, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
        return False

    async def _end_keeper(self) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + STOP_S
        asked = 0
        for child in self._children:
            child.terminate()  # one that has just been started holds no lock yet
        while self._is_kept() or any(child.poll() is None for child in self._children):
            pid = self.status().get("pid", 0)  # unknown for a moment when it has just been started
            if pid and (pid != asked or loop.time() > deadline):
                _signal(pid, signal.SIGTERM if pid != asked else signal.SIGKILL)
                asked = pid
            await asyncio.sleep(_POLL_S)
        self._children.clear()


def keeper_arguments(layout: Layout) -> tuple[str, ...]:
    """Return how Python is to run a keeper."""
    return "-m", "modicum.node.keeper", "--home", str(layout.home), "--runtime", layout.runtime


def keeper_environment(environ: os._Environ[str] | dict[str, str]) -> dict[str, str]:
    """Return what of the server's environment a keeper gets: what finds programs, and what builds must know."""
    kept = {
        name: value
        for name, value in environ.items()
        if name in _KEPT or name.startswith(("LC_", "MODICUM_")) or is_build_variable(name)
    }
    return {**kept, "PATH": _with_system_programs(kept.get("PATH", "")), "PYTHONPATH": package_parent()}


def _with_system_programs(path: str) -> str:
    """Programs such as nft stand in directories that an unprivileged user's PATH may lack."""
    parts = [part for part in path.split(":") if part]
    return ":".join(dict.fromkeys([*parts, "/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"]))


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass
