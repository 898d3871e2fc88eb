"""Whoever asks is told why a container ended, its app's log has what nobody expected, and logs are found."""

from __future__ import annotations

from typing import Any

import pytest

from modicum.server.api.router import Router
from modicum.server.main import Server
from modicum.server.parts import Parts
from modicum.wire.channel import RemoteFailure
from modicum.wire.frames import Header
from tests.unit.server.parts import Wire
from tests.unit.server.test_calls import World, outputs, run_of

EXITED = {"t": "node.exited", "code": 0, "signal": None, "oom": False, "detail": ""}


@pytest.fixture
async def world(assembled: tuple[Server, Parts, Router]) -> World:
    made = World(*assembled)
    await made.begin()
    return made


async def print_(world: World, container: str, *entries: tuple[str, str | None, bytes]) -> None:
    rows = [[stream, key, len(text)] for stream, key, text in entries]
    text = b"".join(text for _, _, text in entries)
    await world.tell(world.node, {"t": "node.output", "container": container, "entries": rows}, text)


async def ended(world: World, **fields: Any) -> list[dict[str, Any]]:
    answer = await world.tell(world.user, {"t": "container.ended", "limit": 10, **fields})
    return answer["containers"]  # type: ignore[no-any-return]


async def log(
    world: World, kind: str = "logs.read", **fields: Any
) -> tuple[Header, list[tuple[str, ...]], list[bytes]]:
    """Return the answer, what it says of each entry, and their texts."""
    (app,) = world.parts.apps.by_id
    header, payload = await world.tell(
        world.user, {"t": kind, "log": app, "cursor": 0, "wait_s": 0, "lines": 9, **fields}
    )
    texts, start = [], 0
    for row in header["entries"]:
        texts.append(payload[start : start + row[2]])
        start += row[2]
    return header, [(row[0], row[1], row[4], row[5]) for row in header["entries"]], texts


@pytest.mark.parametrize(
    ("exit_", "reason", "detail", "line"),
    [
        ({"code": -9, "signal": 9}, "crashed", "it was killed by signal 9", b"crashed: it was killed by signal 9"),
        ({"code": 3}, "crashed", "its process ended with exit code 3", b"crashed: its process ended with exit code 3"),
        (
            {"code": -9, "signal": 9, "oom": True},
            "oom",
            "it ran out of memory",
            b"was killed by the kernel: it ran out of memory",
        ),
    ],
)
async def test_an_end_that_nobody_expected(world: World, exit_: Header, reason: str, detail: str, line: bytes) -> None:
    await world.inputs()
    container, _ = await world.container()
    await world.tell(world.node, {**EXITED, "container": container, **exit_})
    (found,) = await ended(world)
    assert (found["id"], found["app_name"], found["function_name"], found["node"]) == (container, "a", "f", "n")
    assert (found["reason"], found["detail"], found["signal"]) == (reason, detail, exit_.get("signal"))
    assert found["exit_code"] == (3 if "signal" not in exit_ else None)
    assert found["started_at"] <= found["ended_at"]
    _, ((stream, source, function, key),), (text,) = await log(world)
    assert (stream, source, function, key) == ("system", container, world.function, "")
    assert text == b"container %s of f %s\n" % (container.encode(), line)


async def test_an_end_that_was_asked_for_is_kept_and_not_told(world: World) -> None:
    await world.inputs()
    container, _ = await world.container()
    world.parts.fleet.drain(container, "idle for 60 s")
    await world.tell(world.node, {**EXITED, "container": container})
    ((reason, detail, code),) = [(each["reason"], each["detail"], each["exit_code"]) for each in await ended(world)]
    assert (reason, detail, code) == ("finished", "idle for 60 s", 0)
    assert (await log(world))[2] == []
    assert await ended(world, app="ap-other") == []


async def test_a_lost_node(world: World) -> None:
    await world.inputs()
    container, _ = await world.container()
    world.parts.fleet.node_leaves(world.node)
    assert [(each["id"], each["reason"]) for each in await ended(world)] == [(container, "node lost")]
    assert (await log(world))[2] == [b"container %s of f was lost: its node was lost\n" % container.encode()]


async def test_a_loop_of_crashes_says_how_long_it_pauses(world: World) -> None:
    await world.inputs()
    container, _ = await world.container()
    world.parts.fleet.on_end.__self__.pauses_s = lambda function: 3.2  # type: ignore[attr-defined]
    await world.tell(world.node, {**EXITED, "container": container, "code": 1})
    assert (await log(world))[2][0].endswith(b"exit code 1; the next start waits for 3 s\n")


async def test_an_adopted_container_began_when_its_node_says(world: World) -> None:
    row = {"id": "ta-9", "function": world.function, "started_at": 5.0}
    node = Wire("node")
    await world.tell(
        node, {"t": "node.hello", "node": "m", "cpus": 1.0, "memory_bytes": 1, "layers": [], "containers": [row]}
    )
    assert world.parts.fleet.containers["ta-9"].started_at == 5.0


async def test_output_is_chosen_by_what_it_is_of(world: World) -> None:
    await world.inputs("fc-1", "map", 2)
    container, agent = await world.container()
    assert len(run_of(agent)) == 1  # a new function shows itself first
    await print_(
        world, container, ("stdout", "fc-1:0", b"zero\n"), ("stderr", "fc-1:1", b"one\n"), ("stdout", "\x00", b"x\n")
    )
    _, rows, texts = await log(world)
    assert rows[:2] == [
        ("stdout", container, world.function, "fc-1:0"),
        ("stderr", container, world.function, "fc-1:1"),
    ]
    assert rows[2][3] == ""  # no name of an input
    assert texts == [b"zero\n", b"one\n", b"x\n"]
    for where, expected in (
        ({"streams": ["stderr"]}, [b"one\n"]),
        ({"call": "fc-1:0"}, [b"zero\n"]),
        ({"functions": ["fu-other"]}, []),
        ({"container": container, "search": "e"}, [b"zero\n", b"one\n"]),
        ({"until": 5.0}, []),
    ):
        assert (await log(world, where=where))[2] == expected
        assert (await log(world, "logs.tail", cursor=None, where=where))[2] == expected
    assert (await log(world, "logs.tail", cursor=None, lines=1))[2] == [b"x\n"]


@pytest.mark.parametrize(
    "fields",
    [
        {"cursor": -1},
        {"where": {"streams": ["stdin"]}},
        {"where": {"since": "now"}},
        {"where": {"until": -1}},
        {"where": 5},
    ],
    ids=repr,
)
async def test_questions_that_make_no_sense(world: World, fields: Header) -> None:
    with pytest.raises(RemoteFailure, match="malformed"):
        await log(world, **fields)


async def test_a_follower_of_one_container_is_told_of_its_end(world: World) -> None:
    await world.inputs()
    container, agent = await world.container()
    ((key, attempt, *_),) = run_of(agent)
    await print_(world, container, ("stdout", key, b"words\n"))
    where = {"container": container}
    header, _, _ = await log(world, where=where)
    assert not header["ended"]
    await world.tell(agent, outputs(1, [key, attempt, "ok", 0.0, 0, None]))
    await world.tell(world.node, {**EXITED, "container": container})
    while not header["ended"]:
        header, _, _ = await log(world, where=where, cursor=header["cursor"])
    assert not (await log(world))[0]["ended"]  # the app goes on


async def test_a_log_is_found_by_every_name_that_it_has(world: World) -> None:
    await world.inputs()
    container, _ = await world.container()
    (app,) = world.parts.apps.by_id
    await print_(world, container, ("stdout", None, b"x"))
    expected = {"log": app, "app": "a", "functions": {world.function: "f"}, "running": True}
    for of in ("a", app, world.function, container):
        assert await world.tell(world.user, {"t": "logs.find", "of": of}) == expected
    await world.tell(world.node, {**EXITED, "container": container})
    world.node.knows = False  # of the next one, which was not really started
    await world.tell(world.user, {"t": "app.stop", "app": app})
    for of in ("a", app, world.function, container):
        assert await world.tell(world.user, {"t": "logs.find", "of": of}) == {**expected, "running": False}
    for of in ("b", "ap-0", "fu-0", "ta-0", "..", ""):
        with pytest.raises(RemoteFailure, match="there is no output of"):
            await world.tell(world.user, {"t": "logs.find", "of": of})


async def test_an_app_that_runs_comes_before_a_newer_one_that_has_ended(world: World) -> None:
    (app,) = world.parts.apps.by_id
    other = (await world.tell(world.user, {"t": "app.create", "name": "a", "key": "other"}))["app"]
    assert (await world.tell(world.user, {"t": "logs.find", "of": "a"}))["log"] == other
    await world.tell(world.user, {"t": "app.stop", "app": other})
    assert (await world.tell(world.user, {"t": "logs.find", "of": "a"}))["log"] == app


async def test_a_deployed_app_comes_before_one_that_is_run_under_its_name(world: World) -> None:
    deployed = (await world.tell(world.user, {"t": "app.lookup", "app": "a", "create": True}))["app"]
    assert (await world.tell(world.user, {"t": "logs.find", "of": "a"}))["log"] == deployed
    await world.tell(world.user, {"t": "app.create", "name": "a", "key": "newer"})
    assert (await world.tell(world.user, {"t": "logs.find", "of": "a"}))["log"] == deployed


async def test_a_container_is_stopped_by_its_id(world: World) -> None:
    await world.inputs()
    container, agent = await world.container()
    agent.take()
    await world.tell(world.user, {"t": "container.stop", "container": container, "graceful": False})
    assert [header for header, _ in agent.take()] == [{"t": "exit", "now": True}]
    await world.tell(world.node, {**EXITED, "container": container})
    (found,) = await ended(world)
    assert found["reason"] == "finished"
    others = [(each, f"the container {each} is not known here") for each in ("ta-0", "frontend")]
    for of, why in [(container, f"has ended: finished: {found['detail']}"), *others]:
        with pytest.raises(RemoteFailure, match=why):
            await world.tell(world.user, {"t": "container.stop", "container": of, "graceful": True})
