"""The way of a call through a whole server: a caller, a node and an agent, each a connection that remembers."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from modicum.server.api.router import Router
from modicum.server.core import events as ev
from modicum.server.main import Server
from modicum.server.parts import Parts
from modicum.stores import calls
from modicum.wire.channel import RemoteFailure
from modicum.wire.frames import Frame, Header
from tests.unit.server.parts import Wire, ask

BLOB = "bl-" + "0" * 24
OPTIONS = {"min_containers": 0, "max_containers": 1, "scaledown_window": 60, "timeout": 300, "startup_timeout": 300}
SPEC = {"module": "m", "qualname": "f", "generator": False, "async": False}
CREATE = {"t": "function.create", "name": "f", "image": "im-1", "files": [], "options": OPTIONS, "spec": SPEC}
NODE = {"t": "node.hello", "node": "n", "cpus": 2.0, "memory_bytes": 1 << 33, "layers": ["la-1"]}
LOOP_TURNS = 20


class World:
    """A server with one app of one function, a node, a caller, and a container as soon as it is wanted."""

    def __init__(self, server: Server, parts: Parts, router: Router) -> None:
        self.server, self.parts, self.router = server, parts, router
        self.user, self.node = Wire("user"), Wire("node")
        self.function = ""

    async def begin(self) -> None:
        self.parts.builds.restore("im-1", ["la-1"], {"env": {"A": "b"}})
        await self.tell(self.node, {**NODE, "containers": []})
        app = (await self.tell(self.user, {"t": "app.create", "name": "a", "key": "k"}))["app"]
        await self.tell(self.user, {"t": "app.attach", "app": app})
        made = await self.tell(self.user, {**CREATE, "app": app}, b"code")
        self.function = made["function"]
        self.parts.controller.handle(ev.Recovered())

    async def tell(self, channel: Wire, header: Header, payload: bytes = b"") -> Any:
        return await ask(self.router, channel, header, payload)

    async def settle(self) -> None:
        for _ in range(LOOP_TURNS):
            await asyncio.sleep(0)

    async def inputs(
        self, call: str = "fc-1", kind: str = "sync", count: int = 1, channel: Wire | None = None, **fields: Any
    ) -> Any:
        header = {"t": "call.inputs", "call": call, "function": self.function, "kind": kind, "first": 0}
        return await self.tell(channel or self.user, {**header, "sizes": [1] * count, **fields}, b"x" * count)

    async def container(self) -> tuple[str, Wire]:
        """Let the node's container connect; return its id and its agent's connection."""
        await self.settle()
        for header, _ in self.node.sent:
            if header["t"] == "container.start":
                return header["container"], await self.agent(header["container"])
        raise AssertionError("none was started")

    async def agent(self, container: str, holding: list[list[Any]] | None = None) -> Wire:
        wire = Wire("container", container)
        answer, _ = await self.tell(wire, {"t": "agent.hello", "build": "x", "holding": holding or [], "loaded": True})
        assert answer["function"] == {**SPEC, "concurrency": None, "batching": None, "single_use": False}
        await self.settle()
        return wire


@pytest.fixture
async def world(assembled: tuple[Server, Parts, Router]) -> World:
    made = World(*assembled)
    await made.begin()
    return made


def run_of(agent: Wire) -> list[list[Any]]:
    return [entry for header, _ in agent.take() if header["t"] == "run" for entry in header["inputs"]]


def outputs(seq: int, *entries: list[Any]) -> Header:
    return {"t": "agent.outputs", "seq": seq, "outputs": list(entries)}


def of(frames: list[Frame], kind: str) -> list[Frame]:
    return [frame for frame in frames if frame[0]["t"] == kind]


async def test_the_whole_way_of_a_call(world: World) -> None:
    await world.inputs()
    container, agent = await world.container()
    start = of(world.node.sent, "container.start")[0][0]["spec"]
    assert start["layers"] == ["la-1"]
    assert start["env"]["A"] == "b"
    ((key, attempt, size, blob),) = run_of(agent)
    assert (key, attempt, size, blob) == ("fc-1:0", 1, 1, None)
    await world.tell(agent, outputs(1, [key, attempt, "ok", 0.01, 5, None]), b"value")
    ((header, payload),) = of(world.user.take(), "call.outputs")
    assert (header["call"], header["outputs"], payload) == ("fc-1", [[0, "ok", 5, None]], b"value")
    assert not world.parts.deliveries.calls
    assert container in world.parts.fleet.containers


async def test_a_function_that_is_not_there(world: World) -> None:
    with pytest.raises(RemoteFailure, match="fu-none does not exist"):
        await world.inputs("fc-1", "spawn", function="fu-none")
    header = {"t": "call.inputs", "call": "fc-1", "function": "fu-none", "kind": "map", "first": 0, "sizes": [0]}
    assert world.router(world.user, header, b"") is None  # one-way: the refusal is a message of its own
    (failed,) = of(world.user.take(), "call.failed")
    assert failed[0]["code"] == "not_found"


@pytest.mark.parametrize(
    "fields",
    [
        {"sizes": [2]},
        {"sizes": [-1, 2]},
        {"sizes": ["1"]},
        {"sizes": [0.5, 0.5]},
        {"sizes": None},
        {"first": -1},
        {"first": "0"},
        {"first": None},
        {"kind": "other"},
        {"kind": []},
        {"call": "no call"},
        {"call": ["fc-1"]},
        {"call": None},
        {"function": {}},
        {"blobs": {"0": "../../etc/passwd"}},
        {"blobs": {"0": "sha-" + "0" * 64}},
        {"blobs": {"0": 5}},
        {"blobs": [BLOB]},
        {"pieces": -1, "kind": "gen"},
    ],
    ids=repr,
)
async def test_inputs_that_make_no_sense_leave_nothing(world: World, fields: dict[str, Any]) -> None:
    with pytest.raises(RemoteFailure) as caught:
        await world.inputs(**fields)
    assert caught.value.code in ("invalid", "not_found")
    assert not world.parts.deliveries.calls
    assert not world.parts.deliveries.inputs


@pytest.mark.parametrize(
    "entry",
    [
        ["fc-1:0", 1, "timeout", 0.0, 1, None],
        ["fc-1:0", 1, "ok", 0.0, 2, None],
        ["fc-1:0", 1, "ok", 0.0, -1, None],
        ["fc-1:0", 1, "ok", "soon", 1, None],
        ["fc-1:0", 1, "ok", 0.0, 1, "sha-" + "0" * 64],
        ["fc-1:0", 1, "ok", 0.0, 1, "../x"],
        ["fc-1:0", 1, [], 0.0, 1, None],
        ["fc-1:0"],
        None,
    ],
    ids=repr,
)
async def test_outputs_that_make_no_sense_change_nothing(world: World, entry: Any) -> None:
    await world.inputs()
    _, agent = await world.container()
    with pytest.raises(RemoteFailure, match="malformed"):
        await world.tell(agent, outputs(1, entry), b"x")
    assert not of(world.user.take(), "call.outputs")
    await world.tell(agent, outputs(1, ["fc-1:0", 1, "ok", 0.0, 1, None]), b"x")
    assert of(world.user.take(), "call.outputs")


async def test_a_container_speaks_of_its_own_inputs_alone(world: World) -> None:
    await world.inputs("fc-1")
    _, agent = await world.container()
    await world.inputs("fc-2", "map", channel=world.user)
    forged = outputs(1, ["fc-9:0", 1, "ok", 0.0, 1, None], ["fc-1:0", 7, "ok", 0.0, 1, None])
    await world.tell(agent, forged, b"xy")
    assert not of(world.user.take(), "call.outputs")
    with pytest.raises(RemoteFailure, match="not expected"):
        await world.tell(Wire("container", "ta-other"), outputs(1, ["fc-1:0", 1, "ok", 0.0, 1, None]), b"x")


async def test_somebody_elses_call(world: World) -> None:
    await world.inputs("fc-1", "map", 2)
    other = Wire("container", "ta-other")
    with pytest.raises(RemoteFailure, match="somebody else's") as caught:
        await world.inputs("fc-1", "map", 2, channel=other)
    assert caught.value.code == "permission_denied"
    await world.tell(other, {"t": "call.forget", "call": "fc-1"})
    await world.tell(other, {"t": "call.ack", "call": "fc-1", "pieces": 5})
    assert "fc-1" in world.parts.deliveries.calls
    await world.tell(world.user, {"t": "call.forget", "call": "fc-1"})
    assert "fc-1" not in world.parts.deliveries.calls


async def test_inputs_that_come_again_are_joined(world: World) -> None:
    await world.inputs("fc-1", "map", 3)
    _, agent = await world.container()
    first = run_of(agent)
    again = Wire("user")
    await world.inputs("fc-1", "map", 3, channel=again)
    assert run_of(agent) == []
    await world.tell(agent, outputs(1, [first[0][0], 1, "ok", 0.0, 1, None]), b"v")
    assert not of(world.user.take(), "call.outputs")
    assert of(again.take(), "call.outputs")[0][0]["outputs"] == [[0, "ok", 1, None]]


async def test_an_agents_frames_behind_its_hello_are_looked_at_after_it(world: World) -> None:
    """It reconnects and sends again, in one go, what the server had not acknowledged."""
    await world.inputs()
    container, _ = await world.container()
    again = Wire("container", container)
    await world.tell(again, {"t": "agent.hello", "build": "x", "holding": [["fc-1:0", 1]]})
    await world.tell(again, outputs(1, ["fc-1:0", 1, "ok", 0.0, 1, None]), b"v")
    assert of(world.user.take(), "call.outputs")[0][1] == b"v"
    await world.settle()
    assert not run_of(again)


async def test_inputs_that_a_new_hello_does_not_name_are_sent_again(world: World) -> None:
    await world.inputs()
    container, _ = await world.container()
    agent = await world.agent(container)
    assert [entry[0] for entry in run_of(agent)] == ["fc-1:0"]


async def test_spawned_inputs_are_stored_before_the_answer(world: World) -> None:
    assert await world.inputs("fc-1", "spawn", 2) is None
    stored = await world.parts.database.submit(calls.outputs("fc-1", 1, 1, 1 << 20))
    assert stored == [calls.StoredOutput(1, None, b"", None)]
    await world.inputs("fc-1", "spawn", 2)
    _, agent = await world.container()
    entry = run_of(agent)[0]
    with pytest.raises(RemoteFailure) as caught:
        await world.tell(world.user, {"t": "call.get", "call": "fc-none", "index": 0, "wait_s": 0})
    assert caught.value.code == "not_found"
    get = {"t": "call.get", "call": "fc-1", "index": 0, "wait_s": 0}
    held = next(iter(world.parts.fleet.containers))
    assert await world.tell(world.user, get) == {"outputs": [], "why": f"it was given to the container {held}"}
    second = {**get, "index": 1}
    assert await world.tell(world.user, second) == {"outputs": [], "why": "its 1 container is busy"}
    waiting = asyncio.ensure_future(world.tell(world.user, {**get, "wait_s": 30}))
    await world.settle()
    await world.tell(agent, outputs(1, [entry[0], 1, "ok", 0.0, 1, None]), b"v")
    assert (await waiting)[1] == b"v"
    assert (await world.tell(world.user, get))[1] == b"v"


async def test_a_spawn_whose_caller_goes_away_runs_all_the_same(world: World) -> None:
    answer = asyncio.ensure_future(world.inputs("fc-1", "spawn"))
    await asyncio.sleep(0)
    answer.cancel()
    await asyncio.gather(answer, return_exceptions=True)
    await world.parts.database.submit(lambda connection: None)
    _, agent = await world.container()
    assert [entry[0] for entry in run_of(agent)] == ["fc-1:0"]


async def test_a_caller_that_does_not_come_back_is_given_up(world: World) -> None:
    await world.inputs("fc-1", "map", 2)
    _, agent = await world.container()
    ended = Wire("user")
    ended.closed = True
    call = world.parts.deliveries.calls["fc-1"]
    call.channel = ended
    world.server._closed(ended)
    assert call.channel is None
    from modicum.server.main import _abandon

    _abandon(world.parts, [call])
    assert not world.parts.deliveries.calls
    assert [header["keys"] for header, _ in of(agent.take(), "cancel")]


# -- generators ------------------------------------------------------------------------------------------------


async def generating(world: World) -> tuple[str, Wire]:
    await world.inputs("fc-1", "gen", pieces=0)
    return await world.container()


def piece(number: int) -> Header:
    return {"t": "agent.piece", "key": "fc-1:0", "piece": number, "end": True}


async def test_pieces_and_credit(world: World) -> None:
    _, agent = await generating(world)
    await world.tell(agent, piece(0), b"item")
    assert of(world.user.take(), "call.piece") == [
        ({"t": "call.piece", "call": "fc-1", "piece": 0, "end": True}, b"item")
    ]
    await world.tell(world.user, {"t": "call.ack", "call": "fc-1", "pieces": 1})
    assert of(agent.take(), "piece.ack") == [({"t": "piece.ack", "key": "fc-1:0", "pieces": 1}, b"")]
    with pytest.raises(RemoteFailure, match="malformed"):
        await world.tell(world.user, {"t": "call.ack", "call": "fc-1", "pieces": "all"})


async def test_a_caller_who_comes_back_gets_what_he_has_not(world: World) -> None:
    _, agent = await generating(world)
    agent.take()
    await world.inputs("fc-1", "gen", channel=Wire("user"), pieces=3)
    assert of(agent.take(), "piece.resend") == [({"t": "piece.resend", "key": "fc-1:0", "pieces": 3}, b"")]


async def adopted(world: World, holding: list[list[Any]]) -> Wire:
    """A container of the server before this one connects, as its node reports it."""
    world.node = Wire("node")
    await world.tell(world.node, {**NODE, "containers": [{"id": "ta-old", "function": world.function}]})
    return await world.agent("ta-old", holding)


async def test_an_adopted_generator_goes_on_for_a_caller_who_is_there_first(world: World) -> None:
    await world.inputs("fc-1", "gen", pieces=2)
    agent = await adopted(world, [["fc-1:0", 1]])
    assert of(agent.take(), "piece.resend")[0][0]["pieces"] == 2
    await world.tell(agent, piece(2), b"item")
    assert of(world.user.take(), "call.piece")[0][1] == b"item"


async def test_an_adopted_generator_goes_on_for_a_caller_who_comes_later(world: World) -> None:
    agent = await adopted(world, [["fc-1:0", 1]])
    await world.tell(agent, piece(2), b"nobody is there")
    await world.tell(agent, outputs(1, ["fc-1:0", 1, "done", 0.0, 1, None]), b"3")
    await world.inputs("fc-1", "gen", pieces=2)
    assert of(world.user.take(), "call.outputs")[0][0]["outputs"] == [[0, "done", 1, None]]
    assert of(agent.take(), "piece.resend")[0][0]["pieces"] == 2
    await world.tell(agent, piece(2), b"item")
    assert of(world.user.take(), "call.piece")[0][1] == b"item"


async def test_app_that_ends_before_anything_started_tells_its_callers(world: World) -> None:
    world.node.close()
    world.server._closed(world.node)
    await world.inputs()
    (app,) = world.parts.apps.by_id
    await world.tell(world.user, {"t": "app.stop", "app": app})
    ((header, payload),) = of(world.user.take(), "call.outputs")
    assert header["outputs"][0][1] == "terminated"
    assert payload


async def test_killed_container_that_its_node_does_not_know_is_gone(world: World) -> None:
    await world.inputs()
    await world.container()
    world.node.knows = False
    (app,) = world.parts.apps.by_id
    await world.tell(world.user, {"t": "app.stop", "app": app})
    assert not world.parts.fleet.containers


async def test_printed_outputs_come_before_the_end_of_their_container(world: World) -> None:
    await world.inputs()
    container, agent = await world.container()
    ((key, attempt, _, _),) = run_of(agent)
    await world.tell(agent, {**outputs(1, [key, attempt, "ok", 0.01, 5, None]), "printed": True}, b"value")
    end = {"t": "node.exited", "container": container, "code": 139, "signal": None, "oom": False, "detail": ""}
    await world.tell(world.node, end)
    await world.settle()
    ((header, _),) = of(world.user.take(), "call.outputs")
    assert header["outputs"] == [[0, "ok", 5, None]]
    assert container not in world.parts.fleet.containers


async def test_generator_whose_caller_has_items_is_not_begun_again(world: World) -> None:
    await world.inputs(kind="gen")
    container, agent = await world.container()
    ((key, _, _, _),) = run_of(agent)
    await world.tell(agent, {"t": "agent.piece", "key": key, "piece": 0, "end": True}, b"item")
    end = {"t": "node.exited", "container": container, "code": 1, "signal": None, "oom": False, "detail": ""}
    await world.tell(world.node, end)
    world.node.take()
    await world.inputs("fc-2")  # another input of the function, so that a container is started again
    _, agent = await world.container()
    assert [entry[0] for entry in run_of(agent)] == ["fc-2:0"]
    failed = [h for h, _ in of(world.user.take(), "call.outputs") if h["call"] == "fc-1"]
    assert failed[0]["outputs"][0][1] == "internal"


async def test_a_node_cannot_name_a_path_as_a_container(world: World, tmp_path: Path) -> None:
    (tmp_path / "victim").mkdir()
    for name in ("../../victim", str(tmp_path / "victim"), "ta-../x", "node", ""):
        evil = Wire("node")
        with pytest.raises(RemoteFailure, match="no id of a container"):
            await world.tell(evil, {**NODE, "node": "evil", "containers": [{"id": name, "function": "fu-1"}]})
        with pytest.raises(ValueError, match="no id of a container"):
            world.server._links.remove(name)
    assert (tmp_path / "victim").is_dir()


async def test_a_container_cannot_answer_for_another_function(world: World) -> None:
    await world.inputs()
    await world.container()
    (app,) = world.parts.apps.by_id
    made = await world.tell(world.user, {**CREATE, "app": app, "name": "g"}, b"code")
    world.node.take()
    await world.inputs("fc-2", function=made["function"])
    await world.settle()
    (start,) = of(world.node.sent, "container.start")
    evil = await world.agent(start[0]["container"], holding=[["fc-1:0", 1]])
    await world.tell(evil, outputs(1, ["fc-1:0", 1, "ok", 0.0, 6, None]), b"forged")
    assert [h["call"] for h, _ in of(world.user.take(), "call.outputs")] == []


async def test_an_output_that_nobody_asked_for_yet_is_given_to_its_own_function_alone(world: World) -> None:
    await world.inputs()
    _, agent = await world.container()
    await world.tell(agent, {"t": "agent.hello", "build": "x", "holding": [["fc-9:0", 1]]})
    await world.settle()
    await world.tell(agent, outputs(1, ["fc-9:0", 1, "ok", 0.0, 6, None]), b"forged")
    (app,) = world.parts.apps.by_id
    made = await world.tell(world.user, {**CREATE, "app": app, "name": "g"}, b"code")
    await world.inputs("fc-9", function=made["function"])
    assert [h["call"] for h, _ in of(world.user.take(), "call.outputs")] == []


async def test_a_container_cannot_answer_for_what_waits_in_the_store(world: World) -> None:
    await world.inputs()
    _, agent = await world.container()
    (app,) = world.parts.apps.by_id
    made = await world.tell(world.user, {**CREATE, "app": app, "name": "g"}, b"code")
    await world.inputs("fc-9", "spawn", function=made["function"])
    await world.parts.database.submit(lambda connection: None)
    world.parts.deliveries.inputs.pop("fc-9:0")  # as if it were not in memory yet
    await world.tell(agent, {"t": "agent.hello", "build": "x", "holding": [["fc-9:0", 1]]})
    await world.settle()
    await world.tell(agent, outputs(1, ["fc-9:0", 1, "ok", 0.0, 6, None]), b"forged")
    await world.settle()
    found = await world.parts.database.submit(calls.outputs("fc-9", 0, 1, 1 << 20))
    assert [each.status for each in found] == [None]


async def test_a_container_sees_calls_of_its_own_app_only(world: World) -> None:
    await world.inputs("fc-1", "spawn")
    other = (await world.tell(world.user, {"t": "app.create", "name": "b", "key": "other"}))["app"]
    made = await world.tell(world.user, {**CREATE, "app": other}, b"code")
    await world.inputs("fc-2", function=made["function"])
    await world.settle()
    starts = [h for h, _ in of(world.node.sent, "container.start") if h["spec"]["function"] == made["function"]]
    spy = await world.agent(starts[0]["container"])
    for header in (
        {"t": "call.get", "call": "fc-1", "index": 0, "wait_s": 0},
        {"t": "call.inputs", "call": "fc-3", "function": world.function, "kind": "sync", "first": 0, "sizes": [1]},
    ):
        with pytest.raises(RemoteFailure) as caught:
            await world.tell(spy, header, b"x" if "sizes" in header else b"")
        assert caught.value.code == "permission_denied"


async def test_a_container_writes_values_and_no_source(world: World) -> None:
    await world.inputs()
    _, agent = await world.container()
    put = {"t": "blob.put", "blob": "sha-" + "0" * 64, "offset": 0, "total": 1}
    with pytest.raises(RemoteFailure, match="no blob of a value"):
        await world.tell(agent, put, b"x")


async def test_a_container_that_does_not_read_is_cut_off(world: World) -> None:
    await world.inputs()
    _, agent = await world.container()
    agent.waiting = 65 << 20
    await world.tell(agent, {"t": "ping"})
    assert agent.closed
