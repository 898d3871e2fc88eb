"""Commands that a node has executed: their streams under credit, and what ends them. The commands are this test's."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import termios
from collections.abc import Callable
from typing import Any

import pytest

from modicum.node import execs
from modicum.node.execs import Execs
from modicum.runtimes.base import Command, Exit, RuntimeFailure
from modicum.wire.channel import RemoteFailure
from modicum.wire.frames import Frame, Header
from modicum.wire.terminals import WINDOW_BYTES

EXEC = "ex-0123456789"


class Executed:
    """A command whose far ends the test has."""

    def __init__(self, command: Command) -> None:
        self.command = command
        self.signals: list[int] = []
        self.ends_with: set[int] = {signal.SIGKILL}
        self.end: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
        self.terminal, self.far = os.openpty() if command.terminal else (-1, -1)
        self.stdin, self.stdout, self.stderr = (
            (self.far,) * 3 if command.terminal else tuple(os.dup(each) for each in command.descriptors)
        )

    async def wait(self) -> Exit:
        return await asyncio.shield(self.end)

    def signal(self, number: int) -> None:
        self.signals.append(number)
        if number in self.ends_with and not self.end.done():
            self.finish(Exit(128 + number, number))

    def finish(self, ended: Exit) -> None:
        """End it."""
        self.close()
        self.end.set_result(ended)

    def close(self) -> None:
        for descriptor in {self.stdin, self.stdout, self.stderr}:
            os.close(descriptor)


class Host:
    """A container in which the last command is kept."""

    def __init__(self) -> None:
        self.ended: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
        self.executed: Executed
        self.failure: Exception | None = None

    async def execute(self, command: Command) -> Executed:
        if self.failure is not None:
            raise self.failure
        self.executed = Executed(command)
        return self.executed

    async def wait(self) -> Exit:
        return await asyncio.shield(self.ended)


class Scene:
    def __init__(self) -> None:
        self.sent: list[Frame] = []
        self.changed = asyncio.Event()
        self.execs = Execs(self._take)
        self.host = Host()

    def _take(self, header: Header, payload: bytes) -> None:
        self.sent.append((header, bytes(payload)))
        self.changed.set()

    async def start(self, **fields: Any) -> Executed:
        header = {"exec": EXEC, "argv": ["cat"], "tty": None, **fields}
        await self.execs.start(self.host, header)
        return self.host.executed

    def say(self, kind: str, payload: bytes = b"", **fields: Any) -> None:
        self.execs.take({"t": kind, "exec": EXEC, **fields}, payload)

    async def until(self, condition: Callable[[], object]) -> None:
        """Return when it holds; it is looked at whenever something has been sent."""
        while not condition():
            self.changed.clear()
            await self.changed.wait()

    def output(self, stream: str = "stdout") -> bytes:
        return b"".join(payload for header, payload in self.sent if header.get("stream") == stream)

    def ending(self) -> Header | None:
        return next((header for header, _ in self.sent if header["t"] == "exec.ended"), None)

    async def ended(self) -> Header:
        await self.until(self.ending)
        return self.ending() or {}


@pytest.fixture
async def scene() -> Scene:
    return Scene()


async def test_streams_input_and_end(scene: Scene) -> None:
    executed = await scene.start(argv=["a", "b"], env={"A": "b"}, cwd="/tmp")
    command = executed.command
    assert (command.argv, command.env, command.cwd, command.terminal) == (("a", "b"), {"A": "b"}, "/tmp", None)
    scene.say("exec.input", b"given", eof=True)
    assert os.read(executed.stdin, 100) == b"given"
    assert os.read(executed.stdin, 100) == b"", "that was the end"
    os.write(executed.stdout, b"out")
    os.write(executed.stderr, b"error")
    executed.finish(Exit(3))
    assert await scene.ended() == {"t": "exec.ended", "exec": EXEC, "code": 3, "detail": ""}
    assert (scene.output(), scene.output("stderr")) == (b"out", b"error")
    assert ({"t": "exec.ack", "exec": EXEC, "bytes": 5}, b"") in scene.sent
    scene.say("exec.input", b"too late")


async def test_output_waits_for_credit_also_after_the_end(scene: Scene) -> None:
    executed = await scene.start()

    def produce() -> None:
        for _ in range(6):
            os.write(executed.stdout, b"x" * 65536)

    producing = asyncio.get_running_loop().run_in_executor(None, produce)
    await scene.until(lambda: len(scene.output()) == WINDOW_BYTES)
    os.write(executed.stderr, b"late")
    scene.say("exec.ack", bytes=WINDOW_BYTES - 65536)  # all but the last 64 KiB, which stay in the pipe
    await producing
    await scene.until(lambda: len(scene.output()) + len(scene.output("stderr")) >= 2 * WINDOW_BYTES - 131072)
    executed.finish(Exit(0))
    for _ in range(3):
        await asyncio.sleep(0)
    scene.say("exec.ack", bytes=WINDOW_BYTES)
    await scene.ended()
    assert scene.output() == b"x" * 6 * 65536
    assert scene.output("stderr") == b"late"


async def test_input_that_nobody_reads_is_not_taken(scene: Scene) -> None:
    executed = await scene.start()
    for _ in range(4):
        scene.say("exec.input", b"y" * 65536)
    taken = sum(header["bytes"] for header, _ in scene.sent if header["t"] == "exec.ack")
    assert taken == 65536, "so much is in the pipe"
    read = 0
    os.set_blocking(executed.stdin, False)
    while read < WINDOW_BYTES:
        with contextlib.suppress(BlockingIOError):
            read += len(os.read(executed.stdin, 65536))
        await asyncio.sleep(0)
    await scene.until(lambda: sum(h["bytes"] for h, _ in scene.sent if h["t"] == "exec.ack") == WINDOW_BYTES)
    executed.finish(Exit(0))
    await scene.ended()


async def test_input_of_a_command_that_has_closed_it_is_thrown_away(scene: Scene) -> None:
    executed = await scene.start()
    os.close(executed.stdin)
    executed.stdin = executed.stdout
    scene.say("exec.input", b"lost")
    scene.say("exec.input", b"lost")
    assert [header["bytes"] for header, _ in scene.sent] == [4]
    executed.finish(Exit(0))
    await scene.ended()


async def test_a_terminal(scene: Scene) -> None:
    executed = await scene.start(tty={"rows": 30, "cols": 90, "term": "vt100"}, env={"A": "b"})
    assert executed.command.terminal == (30, 90)
    assert executed.command.env == {"A": "b", "TERM": "vt100"}
    scene.say("exec.resize", rows=5, cols=6)
    assert termios.tcgetwinsize(executed.far) == (5, 6)
    scene.say("exec.input", b"typed\n")
    assert os.read(executed.far, 100) == b"typed\n"
    os.write(executed.far, b"shown")
    await scene.until(lambda: scene.output().endswith(b"shown"))
    assert scene.output() == b"typed\r\nshown"
    executed.finish(Exit(0))
    await scene.ended()
    scene.say("exec.resize", rows=7, cols=8)


async def test_signals(scene: Scene) -> None:
    executed = await scene.start()
    scene.say("exec.signal", signal=2)
    assert executed.signals == [2]
    executed.finish(Exit(130, 2))
    assert (await scene.ended())["signal"] == 2


async def test_a_user_who_goes_away_ends_it(scene: Scene) -> None:
    executed = await scene.start()
    executed.ends_with.add(signal.SIGHUP)
    scene.say("exec.ended")
    assert (await scene.ended())["code"] == 129
    assert executed.signals == [signal.SIGHUP]


async def test_what_ignores_the_hangup_is_killed(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execs, "HANGUP_S", 0)
    executed = await scene.start()
    scene.execs.hang_up()
    assert (await scene.ended())["code"] == 137
    assert executed.signals == [signal.SIGHUP, signal.SIGKILL]


async def test_a_hangup_while_the_output_waits_for_credit(scene: Scene) -> None:
    """The command is over, and nobody will ever take the rest."""
    executed = await scene.start()
    for _ in range(5):
        os.write(executed.stdout, b"x" * 65536)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    executed.finish(Exit(0))
    await asyncio.sleep(0)
    scene.execs.hang_up()
    assert (await scene.ended())["code"] == 0
    await scene.execs.close()
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}, "nobody waits for the user any longer"


async def test_what_is_killed_with_its_container_is_told_apart(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    executed = await scene.start()
    executed.signal(signal.SIGKILL)
    scene.host.ended.set_result(Exit(137))
    assert (await scene.ended())["gone"] is True
    scene.sent.clear()
    scene.host = Host()
    monkeypatch.setattr(execs, "GONE_WITHIN_S", 0)
    (await scene.start()).signal(signal.SIGKILL)
    assert (await scene.ended())["gone"] is False


async def test_a_command_that_cannot_be_executed_leaves_no_descriptor(scene: Scene) -> None:
    before = set(os.listdir("/proc/self/fd"))
    scene.host.failure = RuntimeFailure("no room")
    with pytest.raises(RemoteFailure, match="no room") as caught:
        await scene.start()
    assert caught.value.code == "exec_failed"
    assert set(os.listdir("/proc/self/fd")) == before
    scene.host.failure = None
    executed = await scene.start()
    with pytest.raises(RemoteFailure, match="already"):
        await scene.start()
    executed.finish(Exit(0))
    await scene.ended()
    assert set(os.listdir("/proc/self/fd")) == before


async def test_closing_ends_all(scene: Scene) -> None:
    executed = await scene.start()
    await scene.execs.close()
    assert executed.signals[-1] == signal.SIGKILL
    assert scene.ending() is not None


async def test_a_command_that_begins_while_the_server_is_lost_ends(scene: Scene) -> None:
    """What the runtime does at that moment cannot be stopped half-way: nobody would know of the command."""
    goes_on = asyncio.Event()
    execute = scene.host.execute

    async def slowly(command: Command) -> Executed:
        await goes_on.wait()
        return await execute(command)

    scene.host.execute = slowly  # type: ignore[method-assign]
    asking = asyncio.ensure_future(scene.start())
    await asyncio.sleep(0)
    asking.cancel()
    scene.execs.hang_up()
    with pytest.raises(asyncio.CancelledError):
        await asking
    goes_on.set()
    await scene.execs.close()
    assert scene.host.executed.signals[0] == signal.SIGHUP
    assert scene.host.executed.end.done()
