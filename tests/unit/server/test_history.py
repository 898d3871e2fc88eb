"""How functions did: counted by the minute, stored, summed over a range of time and over variants."""

from __future__ import annotations

import time
from typing import Any

import pytest

from modicum.server import history
from modicum.server.api.router import Router
from modicum.server.core.events import ExitReason
from modicum.server.main import Server
from modicum.server.parts import Parts
from modicum.wire.channel import RemoteFailure
from tests.unit.server.test_calls import World, outputs, run_of

EPOCH = 1_700_000_040.0
"""The first second of a minute."""


@pytest.fixture
async def world(assembled: tuple[Server, Parts, Router]) -> World:
    made = World(*assembled)
    await made.begin()
    return made


async def ask(world: World, function: str | None = None, **fields: Any) -> dict[str, Any]:
    now = time.time()
    header = {"t": "function.history", "function": function or world.function, "since": now - 3600, "until": now + 1}
    return await world.tell(world.user, {**header, **fields})  # type: ignore[no-any-return]


def test_percentiles_are_right_to_some_percent() -> None:
    buckets: dict[str, int] = {}
    for n in range(1, 1001):
        bucket = str(history.bucket_of(n / 100))
        buckets[bucket] = buckets.get(bucket, 0) + 1
    found = dict(history.percentiles(buckets, (50, 90, 99, 100)))
    assert found == pytest.approx({50: 5.0, 90: 9.0, 99: 9.9, 100: 10.0}, rel=0.04)
    assert history.percentiles({}, (50,)) == []


@pytest.mark.parametrize("seconds", [1e-6, 3e-5, 0.001, 0.5, 0.999, 1.0, 7.0, 86400.0, 1e7])
def test_a_bucket_is_around_its_durations(seconds: float) -> None:
    assert history.duration_of(history.bucket_of(seconds)) == pytest.approx(seconds, rel=0.04)


def test_what_took_no_time_took_the_shortest() -> None:
    assert history.bucket_of(0.0) == history.bucket_of(history.SHORTEST_S)


def test_counts_add_up() -> None:
    total = history.merge({"failed": 1, "run_s": {"3": 1}}, {"failed": 2, "succeeded": 4, "run_s": {"3": 1, "5": 6}})
    assert total == {"failed": 3, "succeeded": 4, "run_s": {"3": 2, "5": 6}}


async def test_every_end_counts_once_in_its_minute(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    now = EPOCH
    monkeypatch.setattr("modicum.server.history.time", lambda: now)
    kept = parts.history
    for status, run_s in (("ok", 1.0), ("done", 1.0), ("exception", 1.0), ("timeout", None), ("internal", None)):
        kept.input_ended("fu-1", status, run_s)
    await kept.write()
    kept.input_ended("fu-1", "ok", 2.0)
    now += 60
    kept.input_ended("fu-1", "ok", 3.0)
    kept.input_ended("fu-2", "ok", 4.0)
    first = await kept.read(["fu-1"], EPOCH, EPOCH + 59)
    assert {name: first[name] for name in ("succeeded", "failed", "timed_out")} == {
        "succeeded": 3, "failed": 2, "timed_out": 1,
    }  # fmt: skip
    assert sum(first["run_s"].values()) == 4
    assert (await kept.read(["fu-1", "fu-2"], EPOCH + 60, EPOCH + 61))["succeeded"] == 2
    assert await kept.read(["fu-3"], 0, EPOCH + 1e6) == {}
    now += history.KEPT_S
    await kept.forget()
    assert (await kept.read(["fu-1", "fu-2"], 0, EPOCH + 1e6))["succeeded"] == 2, "what is older than 7 days is gone"


async def test_what_a_function_did(world: World) -> None:
    await world.inputs(count=2)
    container, agent = await world.container()
    await world.tell(agent, {"t": "agent.loaded"})
    for seq, status in ((1, "ok"), (2, "exception")):
        (key, attempt, *_), *_ = run_of(agent) or [["fc-1:1", 1]]  # the second may have come with the first
        await world.tell(agent, outputs(seq, [key, attempt, status, 0.5, 1, None]), b"x")
        await world.settle()
    found = await ask(world)
    assert (found["succeeded"], found["failed"], found["timed_out"]) == (1, 1, 0)
    assert [percentage for percentage, _ in found["run_s"]] == [50, 90, 95, 99]
    assert found["run_s"][0][1] == pytest.approx(0.5, rel=0.04)
    assert (found["total"], found["started"], found["errors"], found["variants"]) == (1, 1, 0, 0)
    assert found["startup_s"][0][1] < 60
    world.parts.fleet.exited(container, ExitReason.CRASHED, "it fell")
    assert (await ask(world))["errors"] == 1
    assert (await ask(world, until=time.time() - 1800))["started"] == 0


async def test_variants_count_when_they_are_asked_for(world: World) -> None:
    bind = {"t": "function.bind", "function": world.function, "options": {"timeout": 5}}
    variant = (await world.tell(world.user, bind))["function"]
    world.parts.history.input_ended(variant, "ok", 1.0)
    world.parts.history.input_ended(world.function, "ok", 1.0)
    assert ((await ask(world))["succeeded"], (await ask(world))["variants"]) == (1, 1)
    assert (await ask(world, all_variants=True))["succeeded"] == 2
    assert (await ask(world, function=variant, all_variants=True))["succeeded"] == 1


@pytest.mark.parametrize("fields", [{"since": 5.0, "until": 5.0}, {"since": 0.0, "until": 1e9}, {"since": "1h"}])
async def test_ranges_that_make_no_sense(world: World, fields: dict[str, Any]) -> None:
    with pytest.raises(RemoteFailure) as caught:
        await ask(world, **fields)
    assert caught.value.code == "invalid"
