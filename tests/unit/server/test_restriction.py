"""What functions with restrict_modal_access and block_network are kept from, and what is told of what they return."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from modicum.server.api.agents import AHEAD_BYTES_MAX, PIECE_BYTES
from modicum.server.api.router import Router
from modicum.server.links import CONNECTIONS_MAX, Links
from modicum.server.main import Server
from modicum.server.parts import Parts
from modicum.stores import calls as stored
from modicum.wire.channel import Answer, Channel, RemoteFailure, connect
from modicum.wire.frames import Header
from tests.unit.server.parts import Wire, ask, assemble
from tests.unit.server.test_calls import BLOB, CREATE, NODE, OPTIONS, SPEC, World, of, outputs, run_of
from tests.unit.server.test_recovery import taking_over

RESTRICTED = {"restrict_modal_access": True}


async def begun(assembled: tuple[Server, Parts, Router], **options: Any) -> World:
    """Return a server whose one function has these options."""
    world = World(*assembled)
    await world.begin()
    app = (await world.tell(world.user, {"t": "app.create", "name": "b", "key": "k2"}))["app"]
    await world.tell(world.user, {"t": "app.attach", "app": app})
    made = await world.tell(world.user, {**CREATE, "app": app, "options": {**OPTIONS, **options}}, b"code")
    world.function = made["function"]
    return world


async def inside(world: World, principal: str = "restricted") -> tuple[str, Wire, dict[str, Any]]:
    """Let the container's agent say hello; return its id, its connection and what it is told."""
    await world.settle()
    container = of(world.node.take(), "container.start")[0][0]["container"]
    wire = Wire(principal, container)
    hello = {"t": "agent.hello", "build": "x", "holding": [], "loaded": True}
    answer, _ = await world.tell(wire, hello)
    await world.settle()
    return container, wire, answer


async def spec_of(world: World) -> dict[str, Any]:
    await world.inputs("fc-8")
    await world.settle()
    spec: dict[str, Any] = of(world.node.sent, "container.start")[0][0]["spec"]
    return spec


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, (True, False, False)),
        ({"block_network": True}, (False, False, False)),
        (RESTRICTED, (True, True, True)),
        ({"restrict_output": True}, (True, False, True)),
        ({**RESTRICTED, "block_network": True}, (False, True, True)),
    ],
    ids=str,
)
async def test_what_the_node_is_told(
    assembled: tuple[Server, Parts, Router], options: dict[str, Any], told: tuple[bool, ...]
) -> None:
    spec = await spec_of(await begun(assembled, **options))
    assert (spec["network"], spec["restricted"], spec["plain"]) == told


async def test_the_agent_is_told_and_learns_of_no_other_function(assembled: tuple[Server, Parts, Router]) -> None:
    world = await begun(assembled, **RESTRICTED)
    await world.inputs()
    _, _, answer = await inside(world)
    assert (answer["restricted"], answer["functions"]) == (True, {})


@pytest.mark.parametrize("options", [RESTRICTED, {"restrict_output": True}], ids=str)
async def test_outputs_are_marked_as_plain(assembled: tuple[Server, Parts, Router], options: dict[str, Any]) -> None:
    world = await begun(assembled, **options)
    await world.inputs("fc-1", "map", 2)
    _, agent, _ = await inside(world, "restricted" if "restrict_modal_access" in options else "container")
    first, second = run_of(agent)[0][0], "fc-1:1"
    await world.tell(agent, outputs(1, [first, 1, "ok", 0.01, 1, None]), b"v")
    await world.tell(agent, outputs(2, [second, 1, "exception", 0.01, 1, BLOB]), b"e")
    told = [entry for header, _ in of(world.user.take(), "call.outputs") for entry in header["outputs"]]
    assert told == [[0, "ok", 1, None, True], [1, "exception", 1, BLOB, True]]


async def test_outputs_of_spawned_inputs_stay_plain(assembled: tuple[Server, Parts, Router]) -> None:
    world = await begun(assembled, **RESTRICTED)
    await world.inputs("fc-1", "spawn")
    _, agent, _ = await inside(world)
    await world.tell(agent, outputs(1, [run_of(agent)[0][0], 1, "ok", 0.01, 1, None]), b"v")
    get = {"t": "call.get", "call": "fc-1", "index": 0, "wait_s": 5}
    assert (await world.tell(world.user, get))[0]["outputs"] == [[0, "ok", 1, None, True]]
    world.parts.fleet.functions[world.function].definition["options"]["restrict_modal_access"] = False
    kept = await world.parts.database.submit(stored.outputs("fc-1", 0, 1, 99))
    assert kept == [stored.StoredOutput(0, "ok", b"v", None, True)]
    assert (await world.tell(world.user, get))[0]["outputs"] == [[0, "ok", 1, None, True]]


async def test_pieces_of_generators_are_marked(assembled: tuple[Server, Parts, Router]) -> None:
    world = await begun(assembled, **RESTRICTED)
    await world.inputs("fc-1", "gen", pieces=0)
    _, agent, _ = await inside(world)
    run_of(agent)
    await world.tell(agent, {"t": "agent.piece", "key": "fc-1:0", "piece": 0, "end": True}, b"item")
    ((header, _),) = of(world.user.take(), "call.piece")
    assert header["plain"] is True


async def test_a_generator_that_keeps_to_no_window_is_ended(assembled: tuple[Server, Parts, Router]) -> None:
    """What its reader does not take would stay in the server's memory."""
    world = await begun(assembled)
    await world.inputs("fc-1", "gen", pieces=0)
    container, agent, _ = await inside(world, "container")
    piece = {"t": "agent.piece", "key": "fc-1:0", "end": True}
    count = AHEAD_BYTES_MAX // ((1 << 20) + PIECE_BYTES)
    for number in range(2 * count):
        if number == count:  # its reader is there
            await world.tell(world.user, {"t": "call.ack", "call": "fc-1", "pieces": number})
        await world.tell(agent, {**piece, "piece": number}, b"x" * (1 << 20))
    assert of(world.node.take(), "container.kill") == []
    assert len(of(world.user.take(), "call.piece")) == 2 * count
    await world.tell(agent, {**piece, "piece": 2 * count}, b"x" * (1 << 20))
    assert of(world.user.take(), "call.piece") == []
    await world.settle()
    ((header, _),) = of(world.node.take(), "container.kill")
    assert (header["container"], header["reason"]) == (container, "a generator sent more than its reader takes")


async def test_what_keeps_it_from_starting_is_marked(assembled: tuple[Server, Parts, Router]) -> None:
    world = await begun(assembled, **RESTRICTED)
    await world.inputs("fc-1")
    _, agent, _ = await inside(world)
    await world.tell(agent, {"t": "agent.failed", "status": "exception", "why": "no"}, b"hostile")
    told = of(world.user.take(), "call.outputs")
    assert [header["outputs"][0][4:] for header, _ in told] == [[True]]


async def test_a_restricted_container_reads_what_its_inputs_name_alone(assembled: tuple[Server, Parts, Router]) -> None:
    world = await begun(assembled, **RESTRICTED)
    other = "bl-" + "1" * 24
    for blob in (BLOB, other):
        await world.tell(world.user, {"t": "blob.put", "blob": blob, "offset": 0, "total": 1}, b"x")
    await world.inputs("fc-1", blobs={"0": BLOB})
    container, agent, _ = await inside(world)
    read = {"t": "blob.get", "offset": 0}
    assert await world.tell(agent, {**read, "blob": BLOB}) == ({"total": 1}, b"x")
    for blob, wire in ((other, agent), (BLOB, Wire("restricted", "ta-other"))):
        with pytest.raises(RemoteFailure, match="a container may not read that blob"):
            await world.tell(wire, {**read, "blob": blob})
    with pytest.raises(RemoteFailure, match="restrict_modal_access=True"):
        await world.tell(agent, {"t": "blob.free", "blob": BLOB})
    assert container in world.parts.fleet.containers


async def test_outputs_of_what_it_does_not_hold_change_nothing(assembled: tuple[Server, Parts, Router]) -> None:
    world = await begun(assembled, **RESTRICTED)
    await world.inputs("fc-1")
    _, agent, _ = await inside(world)
    run_of(agent)
    await world.inputs("fc-2", "sync")  # it waits: the one container has its hands full
    await world.tell(agent, outputs(1, ["fc-2:0", 1, "ok", 0.01, 1, None], ["fc-3:0", 1, "ok", 0.01, 1, None]), b"ab")
    await world.tell(agent, {"t": "agent.piece", "key": "fc-2:0", "piece": 0, "end": True}, b"item")
    await world.tell(agent, {"t": "agent.taken", "keys": ["fc-2:0", "fc-3:0"]})
    await world.settle()
    assert of(world.user.take(), "call.outputs") == []
    assert set(world.parts.deliveries.inputs) == {"fc-1:0", "fc-2:0"}
    await world.inputs("fc-3", "sync")  # nor does one that it has guessed come before its input
    await world.settle()
    told = of(world.user.take(), "call.outputs")
    assert told == []


@pytest.mark.parametrize(
    ("reported", "defined", "expected"),
    [
        ({}, {}, (False, False)),
        ({"restricted": True, "plain": True}, {}, (True, True)),  # as it was when it began
        ({}, RESTRICTED, (True, True)),  # a node that was taken over does not set it free
        ({"plain": True}, {}, (False, True)),
        ({}, {"restrict_output": True}, (False, True)),
    ],
    ids=str,
)
async def test_an_adopted_container_is_restricted_again(
    tmp_path: Path, reported: dict[str, bool], defined: dict[str, Any], expected: tuple[bool, bool]
) -> None:
    _, parts, router = assemble(tmp_path)
    parts.builds.restore("im-1", ["la-1"], {})
    app = (await ask(router, Wire("user"), {"t": "app.create", "name": "a", "key": "k"}))["app"]
    made = await ask(router, Wire("user"), {**CREATE, "app": app, "options": {**OPTIONS, **defined}}, b"code")
    parts.database.close()
    parts.logs.close()
    async with taking_over(tmp_path, "auto") as (later, taken):
        await later._restore(taken)
        asked: list[tuple[str, bool]] = []

        async def listen(container: str, owner: int, restricted: bool = False) -> Any:
            asked.append((container, restricted))
            return None

        taken.fleet._links.listen_container = listen  # type: ignore[method-assign]
        entry = {"id": "ta-1", "function": made["function"], "generation": 0, "started_at": 1.0, **reported}
        await ask(later._router, Wire("node"), {**NODE, "containers": [entry]})
        container = taken.fleet.containers["ta-1"]
        assert (container.restricted, container.plain) == expected
        assert asked == [("ta-1", expected[0])]
        taken.fleet.containers.clear()


@pytest.mark.parametrize("restricted", [True, False])
async def test_who_speaks_is_decided_by_the_socket(tmp_path: Path, restricted: bool) -> None:
    """Real sockets: a restricted container's connections are counted, too."""
    seen: list[tuple[str, str]] = []

    def heard(channel: Channel, header: Header, payload: bytes) -> Answer:
        seen.append((channel.principal, channel.name))
        return None

    links = Links(tmp_path, heard, lambda _: None)
    listener = await links.listen_container("ta-1", os.geteuid(), restricted)
    channels = [await connect(str(tmp_path / "links/ta-1"), heard) for _ in range(CONNECTIONS_MAX + 1)]
    for channel in channels[:-1]:
        await channel.request({"t": "hello"})
    await asyncio.wait_for(channels[-1].wait_closed(), 10)
    assert set(seen) == {("restricted" if restricted else "container", "ta-1")}
    for channel in channels:
        channel.close()
    listener.close()


async def test_plain_processes_cannot_be_restricted(tmp_path: Path) -> None:
    async with taking_over(tmp_path, "process") as (later, parts):
        parts.builds.restore("im-1", ["la-1"], {})
        app = (await ask(later._router, Wire("user"), {"t": "app.create", "name": "a", "key": "k"}))["app"]
        for name in ("block_network", "restrict_modal_access"):
            spec = {**SPEC, "name": "untrusted"}
            create = {**CREATE, "app": app, "spec": spec, "options": {**OPTIONS, name: True}}
            with pytest.raises(RemoteFailure, match=f"'untrusted' has {name}=True, which MODICUM_RUNTIME=process"):
                await ask(later._router, Wire("user"), create, b"code")


async def test_no_variant_frees_itself(assembled: tuple[Server, Parts, Router]) -> None:
    world = await begun(assembled, **RESTRICTED)
    for name in ("restrict_modal_access", "block_network", "restrict_output"):
        with pytest.raises(RemoteFailure, match="are no settings of a variant"):
            await world.tell(world.user, {"t": "function.bind", "function": world.function, "options": {name: False}})
    bound = await world.tell(world.user, {"t": "function.bind", "function": world.function, "options": {"timeout": 3}})
    assert bound["options"]["restrict_modal_access"] is True
