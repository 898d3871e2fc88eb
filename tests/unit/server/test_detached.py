"""Apps that outlive their clients: until when, and what a server knows of them that takes over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from modicum.server.api.router import Router
from modicum.server.main import Server, _abandon
from modicum.server.parts import Parts
from modicum.stores import calls as stored
from modicum.stores import queries
from modicum.wire.channel import RemoteFailure
from modicum.wire.frames import PAYLOAD_BYTES_MAX
from modicum.wire.messages import SERIALIZED_BYTES_MAX
from tests.unit.server.parts import Wire, ask, assemble
from tests.unit.server.test_calls import BLOB, CREATE, World, of

DETACHED = {"t": "app.create", "name": "a", "key": "d", "detached": True, "tags": {"team": "blue"}}


@pytest.fixture
async def world(assembled: tuple[Server, Parts, Router]) -> World:
    made = World(*assembled)
    await made.begin()
    return made


async def detached(world: World) -> str:
    """Have the world's calls go to the function of a detached app."""
    app = (await world.tell(world.user, DETACHED))["app"]
    await world.tell(world.user, {"t": "app.attach", "app": app})
    world.function = (await world.tell(world.user, {**CREATE, "app": app}, b"code"))["function"]
    return str(app)


async def until(world: World, condition: Any) -> None:
    """Let everything go on, the store too, until it is so."""
    async with asyncio.timeout(10):
        while not condition():
            await world.parts.database.submit(lambda connection: None)


async def test_one_without_work_ends_when_it_is_left(world: World) -> None:
    app = await detached(world)
    await world.tell(world.user, {"t": "app.leave", "app": app})
    await until(world, lambda: app not in world.parts.apps.by_id)
    await world.tell(world.user, {"t": "app.leave", "app": app})  # again, after a lost connection


async def test_only_detached_ones_are_left(world: World) -> None:
    (app,) = world.parts.apps.by_id
    with pytest.raises(RemoteFailure, match="is not detached: it ends with its client"):
        await world.tell(world.user, {"t": "app.leave", "app": app})
    assert app in world.parts.apps.by_id


async def test_it_ends_when_its_last_container_has_gone(world: World) -> None:
    app = await detached(world)
    await world.inputs(kind="spawn")
    container, agent = await world.container()
    await world.tell(world.user, {"t": "app.leave", "app": app})
    outputs = {"t": "agent.outputs", "seq": 1, "outputs": [["fc-1:0", 1, "ok", 0.01, 5, None]]}
    await world.tell(agent, outputs, b"value")
    await until(world, lambda: not world.parts.deliveries.calls)
    world.parts.fleet.changed()
    await world.settle()
    assert app in world.parts.apps.by_id  # its container is warm
    exited = {"t": "node.exited", "container": container, "code": 0, "signal": None, "oom": False, "detail": ""}
    await world.tell(world.node, exited)
    await until(world, lambda: app not in world.parts.apps.by_id)
    answer, payload = await world.tell(world.user, {"t": "call.get", "call": "fc-1", "index": 0, "wait_s": 0})
    assert (answer["outputs"], payload) == ([[0, "ok", 5, None]], b"value")


async def test_calls_whose_callers_are_gone_go_on(world: World) -> None:
    await detached(world)
    caller = Wire("user")
    await world.inputs("fc-2", "sync", channel=caller)
    caller.close()
    world.server._closed(caller)
    (call,) = [call for call in world.parts.deliveries.calls.values() if call.id == "fc-2"]
    _abandon(world.parts, [call])
    assert call.id in world.parts.deliveries.calls


async def test_who_comes_back_keeps_it(world: World) -> None:
    app = await detached(world)
    await world.tell(world.user, {"t": "app.leave", "app": app})
    watch = world.parts.apps.by_id[app].watch
    await world.tell(world.user, {"t": "app.attach", "app": app})
    await world.settle()
    assert watch is not None and watch.cancelled()
    assert app in world.parts.apps.by_id


async def test_stopping_one_that_is_watched(world: World) -> None:
    app = await detached(world)
    await world.inputs(kind="spawn")
    await world.tell(world.user, {"t": "app.leave", "app": app})
    stopping = asyncio.ensure_future(world.tell(world.user, {"t": "app.stop", "app": app}))
    await world.settle()
    for header, _ in of(world.node.take(), "container.kill"):
        exited = {"t": "node.exited", "code": 0, "signal": 9, "oom": False, "detail": ""}
        await world.tell(world.node, {**exited, "container": header["container"]})
    await stopping
    answer, payload = await world.tell(world.user, {"t": "call.get", "call": "fc-1", "index": 0, "wait_s": 0})
    assert (answer["outputs"][0][1], b"its app has ended" in payload) == ("terminated", True)


@pytest.fixture
async def successor(world: World, tmp_path: Path) -> AsyncIterator[Parts]:
    """The parts of a server that takes over from the world's, which had a detached app with a waiting input."""
    await detached(world)
    await world.inputs(kind="spawn")
    server, parts, _ = assemble(tmp_path)
    await server._restore(parts)
    yield parts
    parts.database.close()
    parts.logs.close()


async def test_the_next_server_knows_that_it_is_detached(successor: Parts) -> None:
    (app,) = [app for app in successor.apps.by_id.values() if app.detached]
    assert (app.name, app.tags) == ("a", {"team": "blue"})
    successor.apps._client_is_gone(app)
    assert app.watch is not None and app.stopping is None  # its input waits
    status: Any = await ask(_router(successor), Wire("user"), {"t": "server.status"})
    assert {"id": app.id, "name": "a", "detached": True, "tags": {"team": "blue"}} in status["apps"]
    app.watch.cancel()


def _router(parts: Parts) -> Router:
    router = Router()
    router.parts = parts
    return router


# -- the store ---------------------------------------------------------------------------------------------------


async def test_an_ended_app_is_not_taken_up_again_and_forgotten_after_a_while(world: World) -> None:
    app = await detached(world)
    await world.inputs(kind="spawn")
    database = world.parts.database
    await database.submit(stored.end_app(app, 100.0))
    everything = await database.submit(queries.everything)
    assert app not in [each.id for each in everything.apps]
    assert app not in [row.app for row in everything.functions]
    await database.submit(queries.forget_ended(100.0))
    assert await database.submit(stored.facts("fc-1")) is not None
    await database.submit(queries.forget_ended(101.0))
    assert await database.submit(stored.facts("fc-1")) is None


# -- large functions ---------------------------------------------------------------------------------------------


async def test_a_large_serialized_function_comes_as_a_blob_and_goes_in_parts(world: World) -> None:
    app, code = next(iter(world.parts.apps.by_id)), bytes(PAYLOAD_BYTES_MAX) + b"rest"
    for offset in (0, PAYLOAD_BYTES_MAX):
        chunk = code[offset : offset + PAYLOAD_BYTES_MAX]
        await world.tell(world.user, {"t": "blob.put", "blob": BLOB, "offset": offset, "total": len(code)}, chunk)
    create = {**CREATE, "app": app, "name": "large", "code": BLOB}
    world.function = (await world.tell(world.user, create))["function"]
    assert world.parts.fleet.functions[world.function].serialized == code
    assert not world.parts.blobs.has(BLOB)
    await world.inputs("fc-9")
    container, _ = await world.container()
    agent = Wire("container", container)
    answer, first = await world.tell(agent, {"t": "agent.hello", "build": "x", "holding": []})
    assert (answer["code"], len(first)) == (len(code), PAYLOAD_BYTES_MAX)
    assert (await world.tell(agent, {"t": "agent.code", "offset": PAYLOAD_BYTES_MAX}))[1] == b"rest"
    with pytest.raises(RemoteFailure, match=f"the function's code, {BLOB}, is not here"):
        await world.tell(world.user, {**create, "name": "again"})


async def test_a_serialized_function_that_is_too_large(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    app = next(iter(world.parts.apps.by_id))
    monkeypatch.setattr(world.parts.blobs, "read", lambda blob, offset, count: (b"", SERIALIZED_BYTES_MAX + 1))
    with pytest.raises(RemoteFailure, match=f"has {SERIALIZED_BYTES_MAX} bytes at most"):
        await world.tell(world.user, {**CREATE, "app": app, "name": "large", "code": BLOB})


async def test_tags_must_be_text(world: World) -> None:
    with pytest.raises(RemoteFailure, match="are no tags"):
        await world.tell(world.user, {**DETACHED, "tags": {"a": 1}})
