"""Spawned inputs wait in the store; the head of their queue, and what runs, is in memory. None is lost or doubled."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest

from modicum.server import backlog as backlog_
from modicum.server.api.router import Router
from modicum.server.core import invariants, pool
from modicum.server.main import Server
from modicum.server.parts import Parts
from modicum.stores import calls as stored
from modicum.wire.channel import RemoteFailure
from tests.unit.server.parts import Wire, assemble
from tests.unit.server.test_calls import World, of, outputs, run_of

MANY = 1 << 20


@pytest.fixture
async def world(assembled: tuple[Server, Parts, Router], monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(backlog_, "DIRECT_MAX", 4)
    monkeypatch.setattr(pool, "LOAD_BELOW", 2)
    monkeypatch.setattr(pool, "LOAD_COUNT", 3)
    made = World(*assembled)
    await made.begin()
    return made


async def told(world: World) -> None:
    """Let what the store was given so far be done, and told."""
    for _ in range(3):
        world.parts.deliveries.store()
        await world.parts.database.submit(lambda connection: None)
        await world.settle()


async def spawn(world: World, call: str, count: int = 1, **fields: Any) -> None:
    await world.inputs(call, "spawn", count, **fields)


async def get(world: World, call: str, index: int = 0, **fields: Any) -> Any:
    return await world.tell(world.user, {"t": "call.get", "call": call, "index": index, "wait_s": 0, **fields})


async def answered(world: World, agent: Wire, seq: int = 1) -> int:
    """Let the agent answer, one after the other, whatever it is given; return how many that were."""
    count = 0
    while runs := run_of(agent):
        for key, attempt, *_ in runs:
            await world.tell(agent, outputs(seq + count, [key, attempt, "ok", 0.0, 1, None]), b"v")
            count += 1
        await told(world)
    return count


async def test_memory_holds_the_head_alone(world: World) -> None:
    for number in range(20):
        await spawn(world, f"fc-{number}")
    await told(world)
    assert len(world.parts.deliveries.inputs) < 8
    assert len(world.parts.deliveries.calls) < 8
    waiting = world.parts.backlog.waiting(world.function)
    assert waiting == 20 - len(world.parts.deliveries.inputs)
    assert world.parts.backlog.pending(world.function) == 20


async def test_all_of_them_run_in_the_order_in_which_they_came(world: World) -> None:
    for number in range(30):
        await spawn(world, f"fc-{number}", 3)
    _, agent = await world.container()
    ran: list[str] = []
    seq = 0
    while runs := run_of(agent):
        for key, attempt, *_ in runs:
            seq += 1
            ran.append(key)
            await world.tell(agent, outputs(seq, [key, attempt, "ok", 0.0, 1, None]), b"v")
        await told(world)
    assert ran == [f"fc-{number}:{index}" for number in range(30) for index in range(3)]
    assert world.parts.backlog.pending(world.function) == 0
    assert (world.parts.deliveries.calls, world.parts.deliveries.inputs) == ({}, {})
    assert not any(world.parts.deliveries.durable_bytes.values())


async def test_new_inputs_queue_behind_those_in_the_store(world: World) -> None:
    for call, count in (("fc-1", 10), ("fc-2", 5)):
        await spawn(world, call, count)
    _, agent = await world.container()
    await told(world)
    for seq in range(1, 7):
        ((key, attempt, *_),) = run_of(agent)
        await world.tell(agent, outputs(seq, [key, attempt, "ok", 0.0, 1, None]), b"v")
    assert pool.LOAD_BELOW <= world.parts.controller.state.queued(world.function) < backlog_.DIRECT_MAX
    assert world.parts.backlog.waiting(world.function) == 5
    await spawn(world, "fc-3")
    assert world.parts.backlog.waiting(world.function) == 6
    assert await answered(world, agent, seq=7) == 10


async def test_what_is_spawned_twice_runs_once(world: World) -> None:
    for _ in range(2):
        for number in range(10):
            await spawn(world, f"fc-{number}", 2)
    assert world.parts.backlog.pending(world.function) == 20
    _, agent = await world.container()
    assert await answered(world, agent) == 20


async def test_an_input_that_failed_is_counted_over_a_restart(world: World) -> None:
    from modicum.server.core.actions import Retry

    await spawn(world, "fc-1", 2)
    world.parts.deliveries.retry([Retry("fc-1:1", 2, 0.0)])
    await told(world)
    loaded = await world.parts.database.submit(stored.load(world.function, 0, 10, MANY))
    assert [each.failures for each in loaded] == [0, 2]


async def answer_one(world: World) -> None:
    await spawn(world, "fc-1")
    _, agent = await world.container()
    await told(world)
    ((key, attempt, *_),) = run_of(agent)
    await world.tell(agent, outputs(1, [key, attempt, "ok", 0.0, 1, None]), b"v")


async def is_stored(world: World) -> bool:
    found = await world.parts.database.submit(stored.outputs("fc-1", 0, 1, MANY))
    return found[0].status == "ok"


async def test_an_output_that_nobody_waits_for_is_stored_with_the_next_input(world: World) -> None:
    await answer_one(world)
    assert not await is_stored(world)
    await spawn(world, "fc-2")
    assert await is_stored(world)


async def test_an_output_that_is_asked_for_is_stored_at_once(world: World) -> None:
    await answer_one(world)
    answer, payload = await get(world, "fc-1", wait_s=60)
    assert (answer["outputs"][0][1], payload) == ("ok", b"v")
    assert await is_stored(world)


async def test_an_output_that_has_come_outlives_a_cancel_and_its_app(world: World) -> None:
    await answer_one(world)
    await world.tell(world.user, {"t": "call.cancel", "call": "fc-1", "terminate_containers": False})
    assert await is_stored(world)
    world.parts.backlog.end([world.function], "its app has ended")
    assert await is_stored(world)


async def test_what_comes_at_once_is_stored_at_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    adds: list[int] = []
    add = stored.add
    monkeypatch.setattr(stored, "add", lambda calls, rows: adds.append(len(rows)) or add(calls, rows))  # type: ignore[func-returns-value]
    await asyncio.gather(*(spawn(world, f"fc-{number}") for number in range(10)))
    assert adds == [10]


async def test_one_that_cannot_be_stored_is_refused_alone(world: World) -> None:
    results = await asyncio.gather(
        spawn(world, "fc-1"), spawn(world, "fc-2", method="\ud800"), spawn(world, "fc-3"), return_exceptions=True
    )
    assert [type(result) for result in results] == [type(None), RemoteFailure, type(None)]
    _, agent = await world.container()
    assert await answered(world, agent) == 2


async def test_a_function_with_too_many_takes_no_more(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog_, "PENDING_MAX", 5)
    await spawn(world, "fc-1", 4)
    with pytest.raises(RemoteFailure, match="the function 'f' has 4 spawned inputs that wait or run, and 5") as caught:
        await spawn(world, "fc-2", 2)
    assert caught.value.code == "resource_exhausted"
    await spawn(world, "fc-2", 1)
    _, agent = await world.container()
    assert await answered(world, agent) == 5
    await spawn(world, "fc-3", 5)


async def test_a_map_without_inputs(world: World) -> None:
    await spawn(world, "fc-1", 0)
    info = await world.tell(world.user, {"t": "call.info", "call": "fc-1"})
    assert (info["inputs"], info["name"], info["function"]) == (0, "f", world.function)


# -- another server ----------------------------------------------------------------------------------------------


async def successor(world: World, tmp_path: Path) -> World:
    """The world after its server was killed: the store is what it was."""
    world.parts.database.close()
    next_ = World(*assemble(tmp_path))
    next_.function, next_.node, next_.user = world.function, Wire("node"), Wire("user")
    await next_.server._restore(next_.parts)
    next_.parts.builds.restore("im-1", ["la-1"], {"env": {"A": "b"}})
    return next_


def close(world: World) -> None:
    for container in list(world.parts.fleet.containers.values()):
        world.parts.fleet._remove(container)
    world.parts.database.close()
    for app in world.parts.apps.by_id.values():
        if app.reaper is not None:
            app.reaper.cancel()
    world.parts.logs.close()


async def test_a_restarted_server_reads_counts_and_heads(world: World, tmp_path: Path) -> None:
    from modicum.server.core import events as ev
    from tests.unit.server.test_calls import NODE

    for number in range(10):
        await spawn(world, f"fc-{number}", 10)
    _, agent = await world.container()
    done = run_of(agent)
    for seq, (key, attempt, *_) in enumerate(done, 1):
        await world.tell(agent, outputs(seq, [key, attempt, "ok", 0.0, 1, None]), b"v")
    await told(world)
    running = run_of(agent)
    assert running
    after = await successor(world, tmp_path)
    assert after.parts.deliveries.inputs == {}
    assert after.parts.backlog.pending(world.function) == 100 - len(done)
    (container,) = world.parts.fleet.containers
    await after.tell(after.node, {**NODE, "containers": [{"id": container, "function": world.function}]})
    holding = [[key, attempt] for key, attempt, *_ in running]
    adopted = await after.agent(container, holding)
    # What the agent did meanwhile arrives before the new server has read of it.
    first = running[0]
    await after.tell(adopted, outputs(1, [first[0], first[1], "ok", 0.0, 6, None]), b"adopt!")
    after.parts.controller.handle(ev.Recovered())
    await told(after)
    call, _, index = first[0].rpartition(":")
    assert (await get(after, call, int(index)))[1] == b"adopt!"
    for seq, (key, attempt, *_) in enumerate(running[1:], 2):
        await after.tell(adopted, outputs(seq, [key, attempt, "ok", 0.0, 1, None]), b"v")
    await told(after)
    await answered(after, adopted, seq=len(running) + 1)
    assert after.parts.backlog.pending(world.function) == 0
    rows = [await after.parts.database.submit(stored.outputs(f"fc-{n}", 0, 10, MANY)) for n in range(10)]
    assert [len(row) for row in rows] == [10] * 10, "each has exactly one output"
    close(after)


# -- questions ---------------------------------------------------------------------------------------------------


async def test_neighbours_are_given_together(world: World) -> None:
    await spawn(world, "fc-1", 4)
    _, agent = await world.container()
    await answered(world, agent)
    answer, payload = await get(world, "fc-1", 1, count=10)
    assert (answer["outputs"], payload) == ([[index, "ok", 1, None] for index in (1, 2, 3)], b"vvv")


async def test_expired_is_not_unknown(world: World) -> None:
    await spawn(world, "fc-1", 2)
    _, agent = await world.container()
    await answered(world, agent)
    await world.parts.database.submit(stored.expire(1e12))
    for call, index, code in (("fc-1", 0, "expired"), ("fc-1", 1, "expired"), ("fc-1", 2, "not_found")):
        with pytest.raises(RemoteFailure) as caught:
            await get(world, call, index)
        assert caught.value.code == code
    with pytest.raises(RemoteFailure, match="there is no call fc-2") as caught:
        await get(world, "fc-2")
    assert caught.value.code == "not_found"


async def test_who_waits_for_an_input_in_the_store_is_told(world: World) -> None:
    for number in range(10):
        await spawn(world, f"fc-{number}")
    assert "fc-9" not in world.parts.deliveries.calls
    waiting = asyncio.ensure_future(get(world, "fc-9", wait_s=60))
    watching = asyncio.ensure_future(
        world.tell(world.user, {"t": "call.ready", "calls": ["fc-9", "fc-8"], "wait_s": 60})
    )
    _, agent = await world.container()
    await answered(world, agent)
    assert (await waiting)[1] == b"v"
    assert "fc-8" in (await watching)["ready"]
    assert not world.parts.deliveries._waiters
    everything = ["fc-1", "fc-none", "fc-2"]
    ready = await world.tell(world.user, {"t": "call.ready", "calls": everything, "wait_s": 60})
    assert ready["ready"] == everything


async def test_who_waits_when_the_app_ends_is_told(world: World) -> None:
    for number in range(10):
        await spawn(world, f"fc-{number}")
    waiting = asyncio.ensure_future(get(world, "fc-9", wait_s=60))
    await told(world)
    world.node.close()
    world.server._closed(world.node)
    (app,) = world.parts.apps.by_id
    await world.tell(world.user, {"t": "app.stop", "app": app})
    assert (await waiting)[0]["outputs"][0][1] == "terminated"
    for number in range(10):
        answer, payload = await get(world, f"fc-{number}")
        assert answer["outputs"][0][1] == "terminated" and payload


async def test_inputs_that_are_stored_after_their_function_went_end_too(world: World) -> None:
    spawning = asyncio.ensure_future(spawn(world, "fc-1", 3))
    for _ in range(3):  # until it is on its way into the store
        await asyncio.sleep(0)
    assert world.parts.backlog.pending(world.function) == 3
    function = world.parts.fleet.functions.pop(world.function)
    world.parts.backlog.end([function.id], "its app has ended")
    await spawning
    await told(world)
    answer, payload = await get(world, "fc-1", count=3)
    assert [entry[1] for entry in answer["outputs"]] == ["terminated"] * 3
    assert b"its app has ended" in payload
    assert world.parts.backlog.pending(function.id) == 0


# -- cancelling --------------------------------------------------------------------------------------------------


async def test_a_cancelled_call_neither_runs_nor_counts(world: World) -> None:
    for number in range(3):
        await spawn(world, f"fc-{number}", 10)
    _, agent = await world.container()
    waiting = asyncio.ensure_future(get(world, "fc-0", 9, wait_s=60))
    await told(world)
    running = run_of(agent)
    await world.tell(world.user, {"t": "call.cancel", "call": "fc-0"})
    assert of(agent.take(), "cancel")[0][0]["keys"] == [entry[0] for entry in running]
    assert (await waiting)[0]["outputs"] == [[9, "terminated", len(waiting.result()[1]), None]]
    answer, _ = await get(world, "fc-0", count=10)
    assert [entry[1] for entry in answer["outputs"]] == ["terminated"] * 10
    assert world.parts.backlog.pending(world.function) == 20
    assert "fc-2" not in world.parts.deliveries.calls
    await world.tell(world.user, {"t": "call.cancel", "call": "fc-2"})
    assert world.parts.backlog.pending(world.function) == 10
    await world.tell(agent, outputs(1, *[[key, attempt, "ok", 0.0, 1, None] for key, attempt, *_ in running]), b"v")
    assert (await get(world, "fc-0"))[0]["outputs"][0][1] == "terminated"
    await told(world)
    assert await answered(world, agent, seq=2) == 10
    assert not of(world.node.take(), "container.kill")
    await world.tell(world.user, {"t": "call.cancel", "call": "fc-0"})
    await world.tell(world.user, {"t": "call.cancel", "call": "fc-1"})
    assert (await get(world, "fc-1"))[1] == b"v"


async def test_its_containers_are_killed_if_that_is_asked_for(world: World) -> None:
    await spawn(world, "fc-1")
    container, _ = await world.container()
    await spawn(world, "fc-2")
    for call, killed in (("fc-2", []), ("fc-1", [container])):
        await world.tell(world.user, {"t": "call.cancel", "call": call, "terminate_containers": True})
        await world.settle()
        assert [header["container"] for header, _ in of(world.node.take(), "container.kill")] == killed


async def test_a_call_whose_caller_waits_can_be_cancelled(world: World) -> None:
    await world.inputs("fc-1", "map", 2)
    _, agent = await world.container()
    await world.tell(world.user, {"t": "call.cancel", "call": "fc-1"})
    await world.settle()
    sent = of(world.user.take(), "call.outputs")
    assert [entry[1] for header, _ in sent for entry in header["outputs"]] == ["terminated"] * 2
    assert of(agent.take(), "cancel")


async def test_what_is_no_call_cannot_be_cancelled(world: World) -> None:
    with pytest.raises(RemoteFailure, match="there is no call fc-1"):
        await world.tell(world.user, {"t": "call.cancel", "call": "fc-1"})


# -- lists -------------------------------------------------------------------------------------------------------


async def test_which_call_made_which(world: World) -> None:
    await spawn(world, "fc-a")
    await spawn(world, "fc-b", 2, parent="fc-a:0", method="m")
    await world.inputs("fc-c", "map", 1, parent="fc-b:1")
    await world.inputs("fc-d", "map", 1, parent="nonsense")
    _, agent = await world.container()
    ((key, attempt, *_),) = run_of(agent)
    await world.tell(agent, outputs(1, [key, attempt, "ok", 0.0, 1, None]), b"v")
    await told(world)
    container = next(iter(world.parts.fleet.containers))
    for call in ("fc-a", "fc-b", "fc-c"):
        graph = await world.tell(world.user, {"t": "call.graph", "call": call})
        assert not graph["truncated"]
        assert [entry[:3] for entry in graph["inputs"]] == [
            ["fc-a:0", None, "ok"],
            ["fc-b:0", "fc-a:0", None],
            ["fc-b:1", "fc-a:0", None],
            ["fc-c:0", "fc-b:1", None],
        ]
        assert graph["inputs"][0][3:] == [container, "f", "m"]
        assert graph["inputs"][1][3:] == [container, "f.m", "m"], "it runs"
    graph = await world.tell(world.user, {"t": "call.graph", "call": "fc-d"})
    assert [entry[:2] for entry in graph["inputs"]] == [["fc-d:0", None]]
    with pytest.raises(RemoteFailure, match="there is no call fc-none"):
        await world.tell(world.user, {"t": "call.graph", "call": "fc-none"})


async def test_recent_calls_and_why_they_wait(world: World) -> None:
    for number in range(4):
        await spawn(world, f"fc-{number}")
    await world.inputs("fc-map", "map", 1)
    _, agent = await world.container()
    ((key, attempt, *_),) = run_of(agent)
    await world.tell(agent, outputs(1, [key, attempt, "exception", 0.25, 1, None]), b"v")
    await told(world)
    listing = {"t": "call.list", "function": world.function, "count": 10}
    answer = await world.tell(world.user, listing)
    states = [(each["call"], each["state"], each["run_s"]) for each in answer["calls"]]
    assert states == [
        ("fc-map", "pending", None),
        ("fc-3", "pending", None),
        ("fc-2", "pending", None),
        ("fc-1", "running", None),
        ("fc-0", "exception", 0.25),
    ]
    assert (answer["pending"], answer["why"]) == (3, "its 1 container is busy")
    since = answer["calls"][2]["created_at"]
    answer = await world.tell(world.user, {**listing, "since": since})
    assert [each["call"] for each in answer["calls"]] == ["fc-2", "fc-3"]
    with pytest.raises(RemoteFailure, match="malformed"):
        await world.tell(world.user, {**listing, "since": "yesterday"})
    assert (await world.tell(world.user, {**listing, "function": "a/f"}))["calls"][0][
        "why"
    ] == "its 1 container is busy"
    assert (await world.tell(world.user, {**listing, "function": "fu-ended"}))["calls"] == []
    with pytest.raises(RemoteFailure, match="has no function 'g'"):
        await world.tell(world.user, {**listing, "function": "a/g"})


# -- whatever happens --------------------------------------------------------------------------------------------


class Worker:
    """An agent that answers what it has been given when it is told to, cancelled or not."""

    def __init__(self, world: World, agent: Wire) -> None:
        self._world, self._agent = world, agent
        self._held: dict[str, int] = {}
        self._seq = 0

    async def answer(self, share: float, chance: random.Random) -> int:
        """Answer some of what is there; return how much there was."""
        self._held |= {key: attempt for key, attempt, *_ in run_of(self._agent)}
        held = list(self._held.items())
        for key, attempt in held:
            if chance.random() < share:
                self._seq += 1
                del self._held[key]
                await self._world.tell(self._agent, outputs(self._seq, [key, attempt, "ok", 0.0, 1, None]), b"v")
        return len(held)


@pytest.mark.parametrize("seed", range(8))
async def test_whatever_happens_each_input_ends_once(world: World, seed: int) -> None:
    """Calls come, are cancelled and answered in any order, while the store works at its own pace."""
    chance = random.Random(seed)
    await spawn(world, "fc-0")
    _, agent = await world.container()
    worker = Worker(world, agent)
    calls = {"fc-0": 1}
    asking: list[asyncio.Future[Any]] = []
    for number in range(1, 50):
        what = chance.choice(["spawn", "spawn", "answer", "answer", "cancel", "wait"])
        if what == "spawn":
            calls[f"fc-{number}"] = chance.choice([1, 1, 5, 12])
            asking.append(asyncio.ensure_future(spawn(world, f"fc-{number}", calls[f"fc-{number}"])))
        elif what == "cancel":
            cancel = {"t": "call.cancel", "call": chance.choice(list(calls))}
            asking.append(asyncio.ensure_future(world.tell(world.user, cancel)))
        elif what == "answer":
            for _ in range(chance.randrange(15)):  # one after the other: its container takes one at a time
                await worker.answer(0.9, chance)
        else:
            await world.settle()
        invariants.check(world.parts.controller.state)
    await asyncio.gather(*asking, return_exceptions=True)  # a call may be cancelled before it is there
    await told(world)
    while await worker.answer(1.0, chance):
        await told(world)
    function, parts = world.function, world.parts
    assert (parts.backlog.waiting(function), parts.backlog.pending(function)) == (0, 0)
    assert (parts.deliveries.calls, parts.deliveries.inputs) == ({}, {})
    for call, count in calls.items():
        found = await parts.database.submit(stored.outputs(call, 0, count, MANY))
        assert [each.status in ("ok", "terminated") for each in found] == [True] * count
