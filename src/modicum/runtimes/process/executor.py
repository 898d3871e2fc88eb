"""How a container's init is asked to execute further commands, and what the node hears of them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import termios
from typing import Any

from modicum.runtimes import sessions
from modicum.runtimes.base import Command, ContainerSpec, Exit, RuntimeFailure

from .locator import Locator

_SIGNAL_BASE = 128


class Executor:
    """Executes commands in one container, over the socket to its init."""

    def __init__(self, link: socket.socket, spec: ContainerSpec, locate: Locator) -> None:
        self._link = link
        self._spec = spec
        self._locate = locate
        self._executed: dict[str, PlainExecuted] = {}
        self._is_closed = False

    async def execute(self, command: Command) -> PlainExecuted:
        """Execute it. Raises `RuntimeFailure`."""
        near, far = (-1, -1) if command.terminal is None else _make_terminal(*command.terminal)
        executed = PlainExecuted(near)
        try:
            if self._is_closed or command.id in self._executed:
                raise RuntimeFailure("the container has ended")
            descriptors = command.descriptors if command.terminal is None else (far,)
            self._executed[command.id] = executed
            socket.send_fds(self._link, [json.dumps(self._request(command)).encode()], descriptors)
        except (OSError, RuntimeFailure) as failure:
            self._executed.pop(command.id, None)
            if near >= 0:
                os.close(near)
            raise RuntimeFailure(f"{command.argv[0]}: {failure}") from failure
        finally:
            if far >= 0:
                os.close(far)
        return executed

    def hear(self, said: bytes) -> None:
        """Take what the init says of one."""
        message = json.loads(said)
        executed = self._executed.get(message["exec"])
        if executed is None:
            return
        if "status" in message:
            del self._executed[message["exec"]]
            executed.ended(message["status"])
        else:
            executed.started(message["pid"], message["failure"])

    def close(self) -> None:
        """The container has ended, and all that was executed in it."""
        self._is_closed = True
        while self._executed:
            self._executed.popitem()[1].ended(signal.SIGKILL)

    def _request(self, command: Command) -> dict[str, Any]:
        return {
            "exec": command.id,
            "argv": [self._locate.word(word) for word in command.argv],
            "env": self._locate.environ({**self._spec.env, **command.env}),
            "cwd": self._locate.directory(command.cwd or self._spec.cwd),
            "terminal": command.terminal is not None,
        }


class PlainExecuted:
    """A command that is executed."""

    def __init__(self, terminal: int) -> None:
        self.terminal = terminal
        self._pid = 0
        self._failure = ""
        self._early: list[int] = []
        self._end: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()

    async def wait(self) -> Exit:
        """Return when it has ended."""
        return await asyncio.shield(self._end)

    def signal(self, number: int) -> None:
        """Send a signal to its session; before it is known to have begun, as soon as it has."""
        if self._end.done():
            return
        if not self._pid:
            self._early.append(number)
            return
        sessions.signal_all(sessions.members(self._pid), number)

    def started(self, pid: int, failure: str) -> None:
        """It has begun, or could not."""
        self._pid, self._failure = pid, failure
        for number in self._early:
            self.signal(number)

    def ended(self, status: int) -> None:
        """It has ended with this wait status."""
        if not self._end.done():
            self._end.set_result(exit_of(status, self._failure))


def exit_of(status: int, detail: str = "") -> Exit:
    """Translate a wait status."""
    code = os.waitstatus_to_exitcode(status)
    return Exit(code, detail=detail) if code >= 0 else Exit(_SIGNAL_BASE - code, -code, detail=detail)


def _make_terminal(rows: int, columns: int) -> tuple[int, int]:
    """Return the near and the far side of a new terminal of this size."""
    near, far = os.openpty()
    termios.tcsetwinsize(far, (rows, columns))
    return near, far
