"""How a container is made of plain processes: an init of ours, and below it the command.

Nothing is kept from them: they are processes of whoever runs the node, and see all that he sees.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from modicum.runtimes.base import Capabilities, Command, ContainerSpec, Executed, Exit, RuntimeFailure, Usage
from modicum.runtimes.process_usage import Census, usage_at_end, usage_of

from .descendants import below, children, end_orphans
from .executor import Executor, exit_of
from .locator import Locator

_INIT = Path(__file__).with_name("init.py")
_SAID_BYTES_MAX = 8192
_ORPHANS_S = 1.0


class ProcessRuntime:
    """Starts containers without isolation. The node must be a subreaper, for what outlives a killed init."""

    name = "process"
    capabilities = Capabilities(isolation=False)

    def __init__(self) -> None:
        self._inits: set[int] = set()
        self._census = Census(children)

    async def start(self, spec: ContainerSpec) -> PlainProcess:
        """Start it. Raises `RuntimeFailure` if it cannot be, or if the specification asks for isolation."""
        if not spec.network:
            raise RuntimeFailure(f"container {spec.id}: the process runtime cannot keep a container off the network")
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            process = _spawn(spec, theirs.fileno())
        except OSError as failure:
            ours.close()
            raise RuntimeFailure(f"container {spec.id}: {failure}") from failure
        finally:
            theirs.close()
        started = PlainProcess(process, ours, self._inits, spec, self._census)
        try:
            await started.started()
        except asyncio.CancelledError:
            started.kill()
            await started.wait()
            raise
        return started


def _spawn(spec: ContainerSpec, descriptor: int) -> subprocess.Popen[bytes]:
    locate = Locator(spec)
    environ = locate.environ(spec.env)
    argv = [locate.word(word) for word in spec.argv]
    return subprocess.Popen(
        [sys.executable, "-I", "-S", str(_INIT), str(descriptor), *argv],
        stdin=subprocess.DEVNULL,
        stdout=spec.stdout,
        stderr=spec.stderr,
        pass_fds=(descriptor,),
        cwd=locate.directory(spec.cwd),
        env=environ,
        start_new_session=True,
    )


class PlainProcess:
    """A started container: its init, and the socket on which that tells."""

    def __init__(
        self,
        init: subprocess.Popen[bytes],
        link: socket.socket,
        inits: set[int],
        spec: ContainerSpec,
        census: Census[dict[int, list[int]]],
    ) -> None:
        self._init = init
        self._census = census
        self._executor = Executor(link, spec, Locator(spec))
        self._inits = inits
        inits.add(init.pid)
        self._link = link
        link.setblocking(False)
        self._loop = asyncio.get_running_loop()
        self._started: asyncio.Future[str] = self._loop.create_future()
        self._status: int | None = None
        self._end: asyncio.Future[Exit] = self._loop.create_future()
        self._is_hung_up = False
        self._loop.add_reader(link, self._on_readable)

    async def started(self) -> None:
        """Return when its command runs. Raises `RuntimeFailure` if that could not be started."""
        failure = await asyncio.shield(self._started)
        if failure:
            await self.wait()
            raise RuntimeFailure(failure)

    async def execute(self, command: Command) -> Executed:
        """Have its init execute a command. Raises `RuntimeFailure` if that cannot be, as when it has ended."""
        return await self._executor.execute(command)

    async def wait(self) -> Exit:
        """Return when it has ended and everything of it is gone."""
        return await asyncio.shield(self._end)

    async def usage(self) -> Usage:
        """Return what it has used up to now."""
        if self._end.done():
            return Usage()
        pids = {self._init.pid, *below(self._init.pid, await self._census.take())}
        return await asyncio.to_thread(usage_of, pids)

    def kill(self) -> None:
        """SIGKILL all of it: its init does so when we hang up."""
        if not (self._end.done() or self._is_hung_up):
            self._is_hung_up = True
            self._link.shutdown(socket.SHUT_WR)

    def _on_readable(self) -> None:
        try:
            said = self._link.recv(_SAID_BYTES_MAX)
        except BlockingIOError:
            return
        except OSError:
            said = b""
        if not said:
            self._finish()
        elif said.startswith(b"{"):
            self._executor.hear(said)
        elif not self._started.done():
            self._started.set_result(said[1:].decode(errors="replace"))
        else:
            self._status = int(said)

    def _finish(self) -> None:
        """The init has ended: by itself, or killed. In the latter case its command was killed with it, but no more."""
        self._loop.remove_reader(self._link)
        self._link.close()
        _, self._init.returncode, used = os.wait4(self._init.pid, 0)
        self._inits.discard(self._init.pid)
        if not self._started.done():
            self._started.set_result("its init ended before its command ran")
        detail = ""
        if self._status is None:
            detail = "its init was killed"
            end_orphans(self._inits, _ORPHANS_S)
        self._executor.close()
        ended = exit_of(signal.SIGKILL if self._status is None else self._status, detail)
        self._end.set_result(dataclasses.replace(ended, usage=usage_at_end(used)))
