"""The relay between a user's terminal and a process in a container: who may say what, how much, and how it ends."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from modicum.server.api.router import Router
from modicum.server.core.events import ExitReason
from modicum.server.execs import SESSIONS_MAX
from modicum.server.main import Server
from modicum.server.parts import Parts
from modicum.server.records import App, Container
from modicum.wire.channel import RemoteFailure
from modicum.wire.frames import Frame, Header
from modicum.wire.messages import CONTAINER, NODE, USER
from modicum.wire.terminals import WINDOW_BYTES
from tests.unit.server.parts import Wire, ask

EXEC, BOX = "ex-0123456789", "ta-1"
TTY = {"rows": 24, "cols": 80, "term": "xterm"}


class Scene:
    """A user, a node with a container, and the server between them."""

    def __init__(self, server: Server, parts: Parts, router: Router) -> None:
        self.server, self.parts, self.router = server, parts, router
        self.user, self.node, self.agent = Wire(USER), Wire(NODE, "no-1"), Wire(CONTAINER, BOX)
        parts.fleet.nodes["no-1"], parts.fleet.node_facts["no-1"] = self.node, {}
        parts.fleet.containers[BOX] = Container(BOX, "fu-1", "ap-1", "no-1", channel=self.agent)
        parts.fleet.node_joined.set()
        parts.apps.by_id["ap-1"] = App("ap-1", "app", "key")

    async def start(self, **fields: Any) -> Any:
        return await ask(self.router, self.user, {"t": "exec.start", "exec": EXEC, "container": BOX, **fields})

    def say(self, channel: Wire, kind: str, payload: bytes = b"", **fields: Any) -> None:
        self.router(channel, {"t": kind, "exec": EXEC, **fields}, payload)

    def close(self, channel: Wire) -> None:
        channel.closed = True
        self.server._closed(channel)


@pytest.fixture
def scene(assembled: tuple[Server, Parts, Router]) -> Scene:
    return Scene(*assembled)


async def test_a_session_from_start_to_end(scene: Scene) -> None:
    await scene.start(argv=["cat"], env={"A": "b"}, cwd="/tmp", tty=TTY)
    to_node = {"exec": EXEC, "container": BOX}
    started = {"t": "exec.start", **to_node, "argv": ["cat"], "env": {"A": "b"}, "cwd": "/tmp", "tty": TTY}
    assert scene.node.take() == [(started, b"")]
    scene.say(scene.user, "exec.input", b"hello")
    scene.say(scene.user, "exec.resize", rows=5, cols=6)
    scene.say(scene.user, "exec.signal", signal=2)
    assert scene.node.take() == [
        ({"t": "exec.input", "eof": False, **to_node}, b"hello"),
        ({"t": "exec.resize", "rows": 5, "cols": 6, **to_node}, b""),
        ({"t": "exec.signal", "signal": 2, **to_node}, b""),
    ]
    scene.say(scene.node, "exec.ack", bytes=5)
    scene.say(scene.node, "exec.output", b"hello", stream="stdout", smuggled=1)
    scene.say(scene.node, "exec.ended", code=3)
    scene.say(scene.node, "exec.ended", code=4)
    assert scene.user.take() == [
        ({"t": "exec.ack", "bytes": 5, "exec": EXEC}, b""),
        ({"t": "exec.output", "stream": "stdout", "exec": EXEC}, b"hello"),
        ({"t": "exec.ended", "code": 3, "exec": EXEC}, b""),
    ]
    scene.say(scene.user, "exec.input", b"too late")
    assert scene.node.take() == []


@pytest.mark.parametrize(
    "fields",
    [
        {"argv": []},
        {"argv": [""]},
        {"argv": "cat"[:0]},
        {"argv": [1]},
        {"argv": ["a\0b"]},
        {"argv": ["cat"], "cwd": "tmp"},
        {"argv": ["cat"], "env": {"A=": "b"}},
        {"argv": ["cat"], "env": {"A": 1}},
        {"argv": ["cat"], "tty": {"rows": -1, "cols": 1}},
        {"argv": ["cat"], "tty": {"rows": 1, "cols": 1, "term": "a\nb"}},
        {"argv": ["cat"], "exec": "ex-"},
    ],
)
async def test_commands_that_make_no_sense(scene: Scene, fields: Header) -> None:
    with pytest.raises(RemoteFailure) as caught:
        await scene.start(**fields)
    assert caught.value.code == "invalid"
    assert scene.node.take() == []


async def test_what_is_no_container(scene: Scene) -> None:
    for name in ("../1", "frontend", ""):
        with pytest.raises(RemoteFailure, match=f"no container {name} runs") as caught:
            await scene.start(argv=["cat"], container=name)
        assert caught.value.code == "not_found"
    assert scene.node.take() == []


async def test_a_command_that_is_too_long(scene: Scene) -> None:
    with pytest.raises(RemoteFailure, match="65536 bytes at most, not 65537") as caught:
        await scene.start(argv=["x" * 65537])
    assert caught.value.code == "request_size"


@pytest.mark.parametrize("container", ["ta-2", "../1"])
async def test_there_is_no_such_container(scene: Scene, container: str) -> None:
    with pytest.raises(RemoteFailure, match=f"no container {container} runs; `modicum container list") as caught:
        await scene.start(argv=["cat"], container=container)
    assert caught.value.code == "not_found"


async def test_a_container_that_is_about_to_start_is_waited_for(scene: Scene) -> None:
    gate = asyncio.Event()

    async def starting() -> None:
        await gate.wait()

    scene.parts.fleet.containers[BOX].starting = asyncio.ensure_future(starting())
    waiting = asyncio.ensure_future(scene.start(argv=["cat"]))
    await asyncio.sleep(0)
    assert scene.node.take() == []
    gate.set()
    await waiting
    assert scene.node.take()[0][0]["t"] == "exec.start"


async def test_a_command_that_cannot_be_started(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(header: Header, payload: bytes = b"") -> Frame:
        raise RemoteFailure("exec_failed", "no such file")

    monkeypatch.setattr(scene.node, "request", refuse)
    with pytest.raises(RemoteFailure, match="no such file"):
        await scene.start(argv=["cat"])
    monkeypatch.undo()
    scene.node.take()
    await scene.start(argv=["cat"])  # the id is free again


async def test_ids_and_their_number(scene: Scene) -> None:
    await scene.start(argv=["cat"])
    with pytest.raises(RemoteFailure, match="a session ex-0123456789 already"):
        await scene.start(argv=["cat"])
    for number in range(SESSIONS_MAX - 1):
        await scene.start(argv=["cat"], exec=f"ex-{number:08}")
    with pytest.raises(RemoteFailure, match="128 commands and interactions are going on"):
        await scene.start(argv=["cat"], exec="ex-abcdefgh")


async def test_a_user_who_goes_away_is_told_to_the_node(scene: Scene) -> None:
    await scene.start(argv=["cat"])
    scene.node.take()
    scene.close(scene.user)
    assert scene.node.take() == [({"t": "exec.ended", "exec": EXEC, "container": BOX}, b"")]


async def test_a_node_that_goes_away(scene: Scene) -> None:
    await scene.start(argv=["cat"])
    scene.close(scene.node)
    told = {"code": 137, "detail": "the connection to its container was lost", "t": "exec.ended", "exec": EXEC}
    assert scene.user.take() == [(told, b"")]


async def test_what_ended_with_its_container_says_why_that_did(scene: Scene) -> None:
    await scene.start(argv=["cat"])
    scene.parts.fleet.containers[BOX].asked = "idle for 60 s"
    scene.say(scene.node, "exec.ended", code=137, signal=9, gone=True)
    told = {"code": 137, "signal": 9, "detail": "its container has ended: idle for 60 s"}
    assert scene.user.take() == [({**told, "t": "exec.ended", "exec": EXEC}, b"")]


async def test_a_container_that_ends_takes_its_sessions_along(scene: Scene) -> None:
    await scene.start(argv=["cat"])
    scene.parts.fleet.exited(BOX, ExitReason.CRASHED, "its process ended with exit code 1")
    assert scene.user.take()[0][0]["detail"] == "its container has ended: its process ended with exit code 1"
    scene.say(scene.node, "exec.ended", code=137, gone=True)  # it comes too late
    assert scene.user.take() == []


async def test_who_sends_more_than_his_credit_is_hung_up_on(scene: Scene) -> None:
    await scene.start(argv=["cat"])
    for _ in range(4):
        scene.say(scene.node, "exec.output", b"x" * 65536, stream="stdout")
    scene.say(scene.user, "exec.ack", bytes=1)
    scene.say(scene.node, "exec.output", b"x", stream="stdout")
    assert len(scene.user.take()) == 5
    scene.say(scene.node, "exec.output", b"x", stream="stdout")
    assert not scene.node.closed, "containers depend on it"
    assert "more than it had credit for" in scene.user.take()[0][0]["detail"]
    assert scene.node.take()[-1][0]["t"] == "exec.ended"
    await scene.start(argv=["cat"])
    for _ in range(4):
        scene.say(scene.user, "exec.input", b"x" * 65536)
    assert not scene.user.closed
    scene.say(scene.user, "exec.input", b"x")
    assert scene.user.closed
    assert WINDOW_BYTES == 4 * 65536


async def test_what_needs_no_credit_does_not_pile_up_at_the_user(scene: Scene) -> None:
    await scene.start(argv=["cat"])
    scene.say(scene.user, "exec.input", b"12")
    scene.say(scene.node, "exec.output", b"", stream="stdout")
    for _ in range(3):
        scene.say(scene.node, "exec.ack", bytes=1)
    scene.say(scene.node, "exec.ack", bytes=0)
    assert [header["bytes"] for header, _ in scene.user.take()] == [1, 1]


@pytest.mark.parametrize(
    ("who", "kind", "fields"),
    [
        ("user", "exec.output", {"stream": "stdout"}),
        ("user", "exec.resize", {"rows": "1", "cols": 2}),
        ("user", "exec.signal", {"signal": 0}),
        ("user", "exec.signal", {"signal": 65}),
        ("user", "exec.ack", {"bytes": -1}),
        ("node", "exec.output", {"stream": "stdlog"}),
        ("node", "exec.ended", {"code": "0"}),
        ("stranger", "exec.ack", {"bytes": 1}),
        ("agent", "exec.output", {"stream": "stdout"}),
    ],
)
async def test_frames_that_make_no_sense(scene: Scene, who: str, kind: str, fields: Header) -> None:
    """A container may speak of sessions only that it began itself, and a user of his own."""
    await scene.start(argv=["cat"])
    scene.node.take()
    channel = Wire(USER) if who == "stranger" else getattr(scene, who)
    with pytest.raises(RemoteFailure):
        scene.say(channel, kind, b"x", **fields)
    assert scene.node.take() == []
    assert scene.user.take() == []


async def test_too_much_at_once(scene: Scene) -> None:
    await scene.start(argv=["cat"])
    with pytest.raises(RemoteFailure, match="65537 bytes at once"):
        scene.say(scene.user, "exec.input", b"x" * 65537)


# -- interactions ------------------------------------------------------------------------------------------


async def interact(scene: Scene, session: str = EXEC) -> Any:
    return await ask(scene.router, scene.agent, {"t": "agent.interact", "exec": session})


async def attach(scene: Scene) -> None:
    await ask(scene.router, scene.user, {"t": "exec.attach", "app": "ap-1", "tty": TTY})


async def test_an_interaction(scene: Scene) -> None:
    await attach(scene)
    assert await interact(scene) == {"tty": TTY}
    told = {"function": "", "input": "", "log": ["ap-1", 0]}
    opened = {"t": "exec.opened", "exec": EXEC, "container": BOX, **told}
    assert scene.user.take() == [(opened, b"")]
    scene.say(scene.agent, "exec.output", b"> ", stream="stdout")
    scene.say(scene.user, "exec.input", b"1\n")
    assert scene.user.take()[0][1] == b"> "
    assert scene.agent.take()[0][1] == b"1\n"
    scene.say(scene.agent, "exec.ended", code=0)
    assert scene.user.take() == [({"code": 0, "t": "exec.ended", "exec": EXEC}, b"")]


async def test_an_interaction_of_an_app_that_nobody_attends(scene: Scene) -> None:
    with pytest.raises(RemoteFailure, match="run it with `modicum run -i`") as caught:
        await interact(scene)
    assert caught.value.code == "failed_precondition"
    await attach(scene)
    scene.close(scene.user)
    with pytest.raises(RemoteFailure, match="run it with `modicum run -i`"):
        await interact(scene)


async def test_interactions_take_turns(scene: Scene) -> None:
    await attach(scene)
    await interact(scene)
    await attach(scene)  # again, after another window's size: whose turn it is stays
    second = asyncio.ensure_future(interact(scene, "ex-second00"))
    await asyncio.sleep(0)
    assert not second.done()
    scene.say(scene.agent, "exec.ended", code=0)
    assert await second == {"tty": TTY}
    third = asyncio.ensure_future(interact(scene, "ex-third000"))
    await asyncio.sleep(0)
    scene.close(scene.user)  # the second's user is gone, and the third waits in vain
    assert scene.agent.take()[-1][0] == {"t": "exec.ended", "exec": "ex-second00", "container": BOX}
    with pytest.raises(RemoteFailure, match="run -i"):
        await third


async def test_one_terminal_takes_an_apps_interactions(scene: Scene) -> None:
    await attach(scene)
    await attach(scene)
    scene.user, first = Wire(USER), scene.user
    with pytest.raises(RemoteFailure, match="another terminal takes the interactions of ap-1"):
        await attach(scene)
    scene.close(first)
    await attach(scene)
    with pytest.raises(RemoteFailure, match="there is no app ap-2"):
        await ask(scene.router, scene.user, {"t": "exec.attach", "app": "ap-2", "tty": TTY})


async def test_a_functions_clocks_stand_still_while_it_speaks_with_its_user_or_waits_for_him(scene: Scene) -> None:
    told: list[bool] = []
    scene.parts.execs.on_interaction = lambda container, is_going_on: told.append(is_going_on)
    await attach(scene)
    await interact(scene)
    assert told == [True]
    second = asyncio.ensure_future(interact(scene, "ex-second00"))
    await asyncio.sleep(0)
    assert told == [True, True]
    second.cancel()
    await asyncio.wait([second])
    assert told == [True, True, False]
    scene.say(scene.agent, "exec.ended", code=0)
    assert told == [True, True, False, False]
