"""What the server has executed in this node's containers: each command, with its input and output on their way.

A command ends with its user: when he is gone, or the server is, its session gets SIGHUP, and SIGKILL a moment later.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from typing import Any, Protocol

from modicum.runtimes.base import Command, Executed, Exit, RuntimeFailure
from modicum.wire.channel import RemoteFailure
from modicum.wire.frames import Header
from modicum.wire.terminals import STDERR, STDOUT

from .streams import Input, Outputs

HANGUP_S = 2.0
"""What has not ended so long after SIGHUP is killed."""

AGAIN_S = 0.1
"""What is killed may be starting something just then."""

GONE_WITHIN_S = 0.25
"""What SIGKILL has ended so shortly before its container ended with that."""

Send = Callable[[Header, bytes], None]


class Host(Protocol):
    """A container in which commands are executed."""

    async def execute(self, command: Command) -> Executed:
        """Execute a command in it. Raises `RuntimeFailure`."""

    async def wait(self) -> Exit:
        """Return when it has ended."""


class Execs:
    """The commands that are executed, by the id of their session. `send` takes one-way messages to the server."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._commands: dict[str, _Session] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, host: Host, header: dict[str, Any]) -> None:
        """Execute a command in a container. Raises `RemoteFailure` if it cannot be."""
        name = header["exec"]
        if name in self._commands:
            raise RemoteFailure("conflict", f"there is a session {name} already")
        session = self._commands[name] = _Session(name, self._send)
        begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        task = asyncio.ensure_future(self._follow(session, host, header, begun))
        self._tasks.add(task)  # ends with the command, which close() ends
        task.add_done_callback(self._tasks.discard)
        # Who asked may be gone before it has begun: what is half begun cannot be ended, so it is begun all the same.
        try:
            await asyncio.shield(begun)
        except RuntimeFailure as failure:
            raise RemoteFailure("exec_failed", str(failure)) from failure

    def take(self, header: Header, payload: bytes) -> None:
        """Take a message about one of them. One that has ended meanwhile is nothing unusual."""
        session = self._commands.get(header["exec"])
        if session is not None:
            session.take(header, payload)

    def hang_up(self) -> None:
        """Nobody is there any longer: all are to end."""
        for session in self._commands.values():
            session.hang_up()

    async def close(self) -> None:
        """End all of them."""
        self.hang_up()
        for session in self._commands.values():
            session.kill()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _follow(self, session: _Session, host: Host, header: dict[str, Any], begun: asyncio.Future[None]) -> None:
        try:
            if not await _begin(session, host, header, begun):
                return
            ended = await session.run()
            message: Header = {"t": "exec.ended", "exec": session.name, "code": ended.code, "detail": ended.detail}
            if ended.signal is not None:
                message["signal"] = ended.signal
            if ended.signal == signal.SIGKILL and not session.is_hung_up:
                message["gone"] = await _ends(host)
            self._send(message, b"")
        finally:
            del self._commands[session.name]


async def _begin(session: _Session, host: Host, header: dict[str, Any], begun: asyncio.Future[None]) -> bool:
    """Execute a command; tell whoever waits, and return, whether it has begun."""
    try:
        await session.start(host, header)
    except BaseException as failure:
        if not begun.cancelled():
            begun.set_exception(failure)
            begun.exception()  # whoever asked may be gone
        if not isinstance(failure, Exception):
            raise
        return False
    if not begun.cancelled():
        begun.set_result(None)
    return True


async def _ends(host: Host) -> bool:
    """Whether a container ends just now: what is in it is killed first."""
    try:
        async with asyncio.timeout(GONE_WITHIN_S):
            await host.wait()
    except TimeoutError:
        return False
    return True


class _Session:
    """One command."""

    def __init__(self, name: str, send: Send) -> None:
        self.name = name
        self.is_hung_up = False
        self._send = send
        self._executed: Executed | None = None
        self._outputs = Outputs(self._on_output)
        self._input: Input | None = None
        self._hung_up = asyncio.Event()

    async def start(self, host: Host, header: dict[str, Any]) -> None:
        """Execute it. Raises `RuntimeFailure`."""
        tty, argv = header["tty"], tuple(header["argv"])
        facts: dict[str, Any] = {"env": dict(header.get("env") or {}), "cwd": header.get("cwd")}
        if tty is not None:
            facts["env"].setdefault("TERM", tty["term"])
            executed = await host.execute(Command(self.name, argv, **facts, terminal=(tty["rows"], tty["cols"])))
            self._executed = executed
            self._outputs.add(STDOUT, os.dup(executed.terminal))
            self._input = Input(executed.terminal, self._on_taken, is_terminal=True)
            return
        pipes = [os.pipe2(os.O_CLOEXEC) for _ in range(3)]
        (stdin, write), (read, stdout), (read_error, stderr) = pipes
        far = (stdin, stdout, stderr)
        try:
            self._executed = await host.execute(Command(self.name, argv, **facts, descriptors=far))
        except BaseException:
            for descriptor in (write, read, read_error):
                os.close(descriptor)
            raise
        finally:
            for descriptor in far:
                os.close(descriptor)
        self._outputs.add(STDOUT, read)
        self._outputs.add(STDERR, read_error)
        self._input = Input(write, self._on_taken, is_terminal=False)

    async def run(self) -> Exit:
        """Return how it ended, when its output has been sent."""
        assert self._executed is not None
        assert self._input is not None
        ending = asyncio.ensure_future(self._executed.wait())
        hanging_up = asyncio.ensure_future(self._hung_up.wait())
        try:
            await asyncio.wait([ending, hanging_up], return_when=asyncio.FIRST_COMPLETED)
            if ending.done():
                await self._drain(hanging_up)
            else:
                await self._end(ending)
            return ending.result()
        finally:
            hanging_up.cancel()
            self._outputs.close()
            self._input.close()

    async def _drain(self, hanging_up: asyncio.Future[Any]) -> None:
        """Send what there is still, unless nobody takes it any longer."""
        draining = asyncio.ensure_future(self._outputs.drained())
        try:
            await asyncio.wait([draining, hanging_up], return_when=asyncio.FIRST_COMPLETED)
        finally:
            draining.cancel()

    async def _end(self, ending: asyncio.Future[Exit]) -> None:
        """Have it end, by and by."""
        assert self._executed is not None
        assert self._input is not None
        self._outputs.close()
        self._input.close()
        self._executed.signal(signal.SIGHUP)
        await asyncio.wait([ending], timeout=HANGUP_S)
        while not ending.done():
            self.kill()
            await asyncio.wait([ending], timeout=AGAIN_S)

    def take(self, header: Header, payload: bytes) -> None:
        """Take a message of its user's."""
        if header["t"] == "exec.ended":
            self.hang_up()
        elif header["t"] == "exec.ack":
            self._outputs.acknowledge(header["bytes"])
        elif self._executed is not None and self._input is not None:
            if header["t"] == "exec.input":
                self._input.write(payload, bool(header.get("eof")))
            elif header["t"] == "exec.resize":
                self._input.resize(header["rows"], header["cols"])
            elif header["t"] == "exec.signal":
                self._executed.signal(header["signal"])

    def hang_up(self) -> None:
        """Its user is gone."""
        self.is_hung_up = True
        self._hung_up.set()

    def kill(self) -> None:
        """SIGKILL it."""
        if self._executed is not None:
            self._executed.signal(signal.SIGKILL)

    def _on_output(self, stream: str, data: bytes) -> None:
        self._send({"t": "exec.output", "exec": self.name, "stream": stream}, data)

    def _on_taken(self, count: int) -> None:
        self._send({"t": "exec.ack", "exec": self.name, "bytes": count}, b"")
