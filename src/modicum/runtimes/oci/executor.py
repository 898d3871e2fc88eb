"""How crun or runc executes a further command in a container: `exec`, from within the container's cgroup.

The runtime's own cgroup code is off, so the process is moved there before it becomes the runtime. What it executes gets
the rights of the container's first process by its own specification: left to itself, crun would give it back the ways
to more of them that the container has lost (no-new-privileges).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from modicum.runtimes import sessions
from modicum.runtimes.base import Command, ContainerSpec, Exit, RuntimeFailure

from .binary import Binary, complaint, exit_of
from .config import build_process
from .slot import Beside, Slot

_NOT_FOUND, _NOT_EXECUTED = 127, 126
_NO_SUCH_PROGRAM = ("not found in $PATH", "No such file or directory", "no such file or directory")


class Executor:
    """Executes commands in one container. Its files are below `directory`, in `execs`."""

    def __init__(self, binary: Binary, directory: Path, spec: ContainerSpec, slot: Slot, open_files: int) -> None:
        self._binary = binary
        self._state = directory / "state"
        self._files = directory / "execs"
        self._spec = spec
        self._slot = slot
        self._open_files = open_files

    async def execute(self, command: Command) -> OciExecuted:
        """Begin to execute it. Raises `RuntimeFailure`."""
        files = Files(self._files, command.id)
        process = build_process(self._spec, command, self._open_files)
        try:
            files.specification.write_text(json.dumps(process), encoding="utf-8")
            if command.terminal is None:
                beside = await self._slot.run_beside(self._argv(files), command.descriptors)
                return OciExecuted(beside, files)
            return await self._on_terminal(files)
        except OSError as failure:
            files.remove()
            raise RuntimeFailure(f"{command.argv[0]}: {failure}") from failure
        except BaseException:
            files.remove()
            raise

    async def _on_terminal(self, files: Files) -> OciExecuted:
        """The terminal is made in the container's own devpts, and its near side comes through a socket."""
        if self._binary.name == "runc":  # it hands a terminal over only when it does not wait for the command
            raise RuntimeFailure("no terminal can be had in a container of runc's; install the package crun")
        with files.console() as (console, path):
            nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
            try:
                argv = self._argv(files, "--tty", "--console-socket", path)
                beside = await self._slot.run_beside(argv, (nothing, nothing, nothing))
            finally:
                os.close(nothing)
            executed = OciExecuted(beside, files)
            executed.terminal = await _sent_descriptor(console, executed)
        return executed

    def _argv(self, files: Files, *options: str) -> tuple[str, ...]:
        return (
            self._binary.path,
            *("--root", str(self._state), "--log", str(files.log)),
            *self._binary.global_options,
            *("exec", *options, "--process", str(files.specification), self._spec.id),
        )


class Files:
    """What belongs to one command."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = name
        self.specification = folder / f"{name}.json"
        self.log = folder / f"{name}.log"

    @contextlib.contextmanager
    def console(self) -> Iterator[tuple[socket.socket, str]]:
        """Give a listening socket, and a path to it that is short whatever the folder's is."""
        handle = os.open(self._folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            path = f"/proc/{os.getpid()}/fd/{handle}/{self._name}.s"
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as console:
                console.bind(path)
                console.listen(1)
                console.setblocking(False)
                yield console, path
        finally:
            os.close(handle)

    def remove(self) -> None:
        """Remove them. Harmless when repeated."""
        for path in (self.specification, self.log, self._folder / f"{self._name}.s"):
            path.unlink(missing_ok=True)


class OciExecuted:
    """A command that is executed."""

    def __init__(self, beside: Beside, files: Files) -> None:
        self.terminal = -1
        self._beside = beside
        self._files = files
        # Awaited by wait(); it also runs when nobody asks, so that no files stay.
        self.end = asyncio.ensure_future(self._follow())

    async def wait(self) -> Exit:
        """Return when it has ended."""
        return await asyncio.shield(self.end)

    def signal(self, number: int) -> None:
        """Send a signal to it and to all of its session; the runtime itself goes on, and tells how it ended."""
        if not self.end.done():
            sessions.signal_all(sessions.members_below(self._beside.pid), number)

    async def _follow(self) -> Exit:
        status = await self._beside.wait()
        said = complaint(self._files.log) if status != 0 else ""
        self._files.remove()
        if not said:
            return exit_of(status)
        code = _NOT_FOUND if any(words in said for words in _NO_SUCH_PROGRAM) else _NOT_EXECUTED
        return replace(exit_of(code), detail=said)


async def _sent_descriptor(console: socket.socket, executed: OciExecuted) -> int:
    """Return the descriptor that the runtime sends. Raises `RuntimeFailure` if it ends before."""
    receiving = asyncio.ensure_future(_receive(console))
    try:
        await asyncio.wait([receiving, executed.end], return_when=asyncio.FIRST_COMPLETED)
        if receiving.done():
            return receiving.result()
        raise RuntimeFailure(executed.end.result().detail or "the runtime ended before the command had a terminal")
    finally:
        receiving.cancel()


async def _receive(console: socket.socket) -> int:
    loop = asyncio.get_running_loop()
    connection, _ = await loop.sock_accept(console)
    with connection:
        readable: asyncio.Future[None] = loop.create_future()
        loop.add_reader(connection, lambda: None if readable.done() else readable.set_result(None))
        try:
            await readable
        finally:
            loop.remove_reader(connection)
        _, descriptors, _, _ = socket.recv_fds(connection, 4096, 1)
    if not descriptors:
        raise RuntimeFailure("the command's terminal was lost on the way; are there too many open files?")
    os.set_inheritable(descriptors[0], False)
    return descriptors[0]
