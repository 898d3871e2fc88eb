"""What containers used is counted once, by function and hour, whatever is killed meanwhile; and it has a price."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from modicum.server import rates
from modicum.server.api.router import Router
from modicum.server.main import Server
from modicum.server.parts import Parts
from modicum.server.settings import Settings, read
from modicum.server.usage import READINGS_KEPT_S, Amount, Reading, Request, Usage, charge, reading_of, request_of
from modicum.stores import usage as stored
from modicum.wire.channel import RemoteFailure
from tests.unit.server.test_calls import World
from tests.unit.server.test_ends import EXITED, log

HOUR = 500_000
GIB = 1 << 30
REQUEST = {"cpus": 0.5, "memory_bytes": GIB, "disk_bytes": 0}


@pytest.fixture
async def world(assembled: tuple[Server, Parts, Router]) -> World:
    made = World(*assembled)
    await made.begin()
    made.parts.usage.clock = lambda: HOUR * 3600.0
    return made


def meter(seconds: float, cpu_s: float | None, mib_s: float, **request: Any) -> dict[str, Any]:
    read = {"seconds": seconds, "cpu_s": cpu_s, "memory_mib_s": mib_s, "memory_peak_bytes": None}
    return {**read, "request": {**REQUEST, **request}}


async def report(world: World, **fields: Any) -> list[dict[str, Any]]:
    header = {"t": "billing.report", "since": HOUR * 3600, "until": HOUR * 3600 + 3600, "resolution": "h", "tags": []}
    return (await world.tell(world.user, {**header, **fields}))["rows"]  # type: ignore[no-any-return]


async def amounts(world: World) -> dict[str, tuple[float, float]]:
    ((row),) = await report(world)
    return {name: (each["used"], each["seconds"]) for name, each in row["resources"].items()}


# -- what is charged ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("after", "cpu", "memory"),
    [
        (Reading(10, 1.0, 100.0), (1.0, 5.0), (100.0, 10240.0)),  # idle: 10 s × 0.5 cores, 10 s × 1024 MiB
        (Reading(10, 15.0, 20000.0), (15.0, 15.0), (20000.0, 20000.0)),  # more than was kept for it
    ],
)
def test_the_larger_of_use_and_request_is_charged(
    after: Reading, cpu: tuple[float, float], memory: tuple[float, float]
) -> None:
    request = request_of(REQUEST)
    assert charge(request, Reading(), after) == {"cpu": Amount(*cpu), "memory": Amount(*memory)}
    assert charge(request, after, after) == {}


def test_gpus_are_charged_for_as_long_as_they_are_held() -> None:
    request = request_of({**REQUEST, "gpus": {"H100": 2}})
    assert charge(request, Reading(1, 0, 0), Reading(4, 0, 0))["gpu:H100"] == Amount(6, 6)


def test_disk_counts_as_memory_where_it_is_more() -> None:
    assert request_of({**REQUEST, "disk_bytes": 10 * GIB}) == Request(0.5, 1024, {})
    assert request_of({**REQUEST, "disk_bytes": 40 * GIB}) == Request(0.5, 2048, {})  # 40 GiB / 20


@pytest.mark.parametrize("bad", [-1, float("nan"), float("inf"), "1", True, [1], 10**400], ids=repr)
def test_a_meter_that_makes_no_sense(bad: Any) -> None:
    for understand in (reading_of, request_of):
        with pytest.raises((ValueError, OverflowError)):
            understand({**meter(1, 1, 1), "seconds": bad, "cpus": bad})


# -- what is kept ------------------------------------------------------------------------------------------


async def test_a_meter_is_counted_as_it_grows(world: World) -> None:
    await world.inputs()
    container, _ = await world.container()
    for used in (meter(5, 1.0, 100.0), meter(10, 9.0, 200.0)):
        await world.tell(world.node, {"t": "node.usage", "containers": {container: used}})
    await world.tell(world.node, {**EXITED, "container": container, "usage": meter(12, 9.0, 300.0)})
    # cpu: max(1, 2.5) + max(8, 2.5) + max(0, 1) = 11.5
    assert await amounts(world) == {"cpu": (9.0, 11.5), "memory": (300.0, 12 * 1024)}


async def test_a_restarted_server_counts_on_from_where_the_last_one_was(world: World) -> None:
    await world.inputs()
    container, _ = await world.container()
    record, usage = world.parts.fleet.containers[container], world.parts.usage
    usage.told(record, meter(10, 10.0, 20480.0))
    await usage.write()
    usage.told(record, meter(15, 15.0, 30000.0))  # lost with the server
    after = Usage(world.parts.database, world.parts.apps.by_id, world.parts.fleet.functions)
    after.clock = usage.clock
    await after.restore()
    after.told(record, meter(20, 20.0, 40960.0))
    after.told(record, meter(20, 20.0, 40960.0), ended=True)
    await after.write()
    last = Usage(world.parts.database, world.parts.apps.by_id, world.parts.fleet.functions)
    await last.restore()
    last.told(record, meter(20, 20.0, 40960.0), ended=True)  # its node did not hear that it was heard
    await last.write()
    usage._rows.clear()
    usage._readings.clear()
    assert await amounts(world) == {"cpu": (20.0, 20.0), "memory": (40960.0, 40960.0)}


async def test_a_full_disk_loses_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.inputs()
    container, _ = await world.container()
    record, usage = world.parts.fleet.containers[container], world.parts.usage
    usage.told(record, meter(10, 10.0, 20480.0))
    with monkeypatch.context() as patch:
        patch.setattr(stored, "_add_row", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            await usage.write()
    usage.told(record, meter(20, 20.0, 40960.0))
    assert await amounts(world) == {"cpu": (20.0, 20.0), "memory": (40960.0, 40960.0)}


async def test_an_app_keeps_its_name_when_it_has_gone(world: World) -> None:
    await world.inputs()
    container, _ = await world.container()
    record, usage = world.parts.fleet.containers[container], world.parts.usage
    usage.told(record, meter(1, 1.0, 1.0))
    await usage.write()
    monkey = Usage(world.parts.database, {}, {})
    monkey.clock = usage.clock
    monkey.told(record, meter(1, 1.0, 1.0))
    await monkey.write()
    (row,) = await report(world)
    assert row["app_name"] == "a"


async def test_a_process_killed_for_memory_is_told_once(world: World) -> None:
    await world.inputs()
    container, _ = await world.container()
    usage = {container: {**meter(1, 1, 1), "oom": "it ran out of memory: limit 64 MiB"}}
    for _ in range(2):
        await world.tell(world.node, {"t": "node.usage", "containers": usage})
    (text,) = (await log(world))[2]
    said = f"the kernel killed a process of container {container} of 'f': it ran out of memory: limit 64 MiB\n"
    assert text.decode() == said


async def test_a_node_speaks_of_its_own_containers_only(world: World) -> None:
    await world.inputs()
    container, _ = await world.container()
    world.node.name = "other"
    await world.tell(world.node, {"t": "node.usage", "containers": {container: meter(9, 9, 9), "ta-0": {}}})
    assert await report(world) == []
    world.node.name = "n"


async def test_what_is_old_is_forgotten(world: World) -> None:
    await world.inputs()
    container, _ = await world.container()
    usage = world.parts.usage
    usage.told(world.parts.fleet.containers[container], meter(1, 1.0, 1.0))
    await usage.write()
    usage.clock = lambda: HOUR * 3600 + READINGS_KEPT_S + 1
    await usage.forget(7200)
    assert await report(world) != []
    assert await world.parts.database.submit(stored.last_readings) == {}
    usage.clock = lambda: HOUR * 3600 + 10800.0
    await usage.forget(7200)
    assert await report(world) == []


# -- what is told ------------------------------------------------------------------------------------------


async def test_a_report_has_whole_intervals_and_the_tags_that_are_asked_for(world: World) -> None:
    await world.inputs()
    container, _ = await world.container()
    record, usage = world.parts.fleet.containers[container], world.parts.usage
    world.parts.apps.by_id[record.app].tags = {"team": "blue", "tier": "1"}
    usage.told(record, meter(3600, 3600, 3600 * 1024))
    usage.clock = lambda: HOUR * 3600 + 3600.0
    usage.told(record, meter(7200, 7200, 7200 * 1024))
    rows = await report(world, until=HOUR * 3600 + 7199, tags=["team", "none"])
    assert [(row["start"], row["app"], row["app_name"], row["tags"]) for row in rows] == [
        (HOUR * 3600, record.app, "a", {"team": "blue"})
    ]
    costs = {name: Decimal(each["cost"]) for name, each in rows[0]["resources"].items()}
    assert costs == {"cpu": Decimal("0.192"), "memory": Decimal("0.024")}
    day = HOUR // 24 * 86400
    (row,) = await report(world, since=day, until=day + 86400, resolution="d", tags=["*"])
    assert (row["start"], row["tags"], row["resources"]["cpu"]["seconds"]) == (day, {"team": "blue", "tier": "1"}, 7200)


@pytest.mark.parametrize(
    "fields", [{"resolution": "m"}, {"since": -1}, {"since": 9, "until": 9}, {"tags": 5}, {"until": "x"}], ids=repr
)
async def test_questions_that_make_no_sense(world: World, fields: dict[str, Any]) -> None:
    with pytest.raises(RemoteFailure) as caught:
        await report(world, **fields)
    assert caught.value.code == "invalid"


def test_prices_are_a_setting() -> None:
    assert rates.read("")["cpu"] == Decimal("0.192")
    mine = rates.read(" CPU=0.05, h100 = 2.5,RTX9999=1")
    assert (mine["cpu"], mine["memory"], mine["H100"]) == (Decimal("0.05"), Decimal("0.024"), Decimal("2.5"))
    assert rates.cost(mine, "gpu:H100", 7200.0) == 5
    assert rates.cost(mine, "gpu:RTX9999", 3600.0) == 1
    assert rates.cost(mine, "gpu:A10G", 3600.0) == rates.DEFAULTS["A10"]
    assert rates.cost(rates.read("a100=1"), "gpu:A100-40GB", 3600.0) == 1, "by the name that machines have"
    assert rates.cost(mine, "gpu:MI300", 3600.0) == 0, "nobody has said what it costs"
    assert rates.cost(mine, "memory", 3600.0 * 2048) == Decimal("0.048")


@pytest.mark.parametrize("text", ["cpu", "cpu=", "cpu=-1", "cpu=nan", "=1", "cpu=1e99", "cpu=a"])
def test_prices_that_make_no_sense_stop_the_server_at_once(text: str) -> None:
    with pytest.raises(ValueError, match=r"MODICUM_RATES: .* is no price: say cpu="):
        read({"MODICUM_RATES": text}, "/tmp")
    assert read({"MODICUM_RATES": "cpu=0"}, "/tmp").rates == "cpu=0"
    assert Settings().rates == ""


async def test_the_prices_are_told(world: World) -> None:
    told = (await world.tell(world.user, {"t": "billing.rates"}))["rates"]
    assert told["cpu"] == "0.192"
