"""Functions run when they are due: through a whole server, whose clock is this test's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from modicum.server import apps, due_times, publishing, schedules
from modicum.server.api.router import Router
from modicum.server.core.schedule import Policy
from modicum.server.main import Server
from modicum.server.parts import Parts
from modicum.server.schedules import Schedules
from modicum.stores import schedules as stored
from modicum.wire.channel import RemoteFailure
from modicum.wire.messages import NO_ARGUMENTS
from tests.unit.server.parts import Wire, ask
from tests.unit.server.test_calls import CREATE, OPTIONS, outputs, run_of
from tests.unit.server.test_publishing import Shop

NINE = 1_767_258_000.0
"""9:00 UTC on 1 January 2026."""

HOURLY = {"period": {"hours": 1}}
DAILY = {"cron": "0 9 * * *", "timezone": "UTC"}


class Clocked(Shop):
    """A server with a clock that is set by hand; its schedules are looked at when it is."""

    def __init__(self, server: Server, parts: Parts, router: Router, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(server, parts, router)
        self.now = NINE - 600
        clock = SimpleNamespace(time=lambda: self.now)
        for module in (apps, publishing, schedules):
            monkeypatch.setattr(module, "time", clock)
        self.schedules = parts.schedules
        self.loop: asyncio.Task[None] | None = None

    async def serve(self) -> None:
        self.loop = asyncio.create_task(self.schedules.run())
        await self.looked()

    async def looked(self) -> None:
        """Let the schedules be looked at, and what comes of it be stored."""
        for _ in range(3):
            self.schedules._changed.set()
            await self.settle()
            self.parts.deliveries.store()
            await self.parts.database.submit(lambda connection: None)
            await self.settle()

    async def at(self, moment: float) -> list[dict[str, Any]]:
        """Set the clock; return the schedules by then."""
        self.now = moment
        await self.looked()
        return await self.told()

    async def told(self) -> list[dict[str, Any]]:
        listed = (await self.tell(self.user, {"t": "app.list"}))["apps"]
        there = [each["id"] for each in listed if each["ended_at"] is None]
        answer = await self.tell(self.user, {"t": "schedule.list", "apps": there})
        return answer["schedules"]  # type: ignore[no-any-return]

    async def calls(self, function: str) -> list[str]:
        header = {"t": "call.list", "function": function, "count": 100}
        return [each["call"] for each in (await self.tell(self.user, header))["calls"]][::-1]

    async def log(self) -> str:
        """Return what the deployed app's log has."""
        header = {"t": "logs.read", "log": self.parts.apps.deployed["shop"].id, "cursor": 0, "wait_s": 0}
        _, text = await ask(self.router, self.user, header)
        return str(text.decode())


@pytest.fixture
async def clocked(assembled: tuple[Server, Parts, Router], monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Clocked]:
    made = Clocked(*assembled, monkeypatch)
    await made.begin()
    await made.serve()
    yield made
    assert made.loop is not None and not made.loop.done()
    made.loop.cancel()


def scheduled(schedule: Any, **more: Any) -> Any:
    return {"options": {**OPTIONS, "schedule": schedule, **more}}


async def test_a_run_is_a_spawned_input_without_arguments(clocked: Clocked) -> None:
    answer = await clocked.deploy({"f": scheduled(HOURLY)})
    (told,) = answer["schedules"]
    assert (told["function"], told["next_at"], told["last"]) == ("f", NINE + 3000, None)
    (told,) = await clocked.at(NINE + 2999)
    assert told["last"] is None
    (told,) = await clocked.at(NINE + 3000)
    assert (told["next_at"], told["last"]["state"]) == (NINE + 6600, "pending")
    _, agent = await clocked.container()
    (told,) = await clocked.told()
    assert told["last"]["state"] == "running"
    ((header, payload),) = [each for each in agent.take() if each[0]["t"] == "run"]
    ((key, attempt, *_),) = header["inputs"]
    assert payload == NO_ARGUMENTS
    await clocked.tell(agent, outputs(1, [key, attempt, "ok", 0.1, 1, None]), b"v")
    (told,) = await clocked.at(NINE + 3001)
    assert (told["last"]["call"], told["last"]["state"], told["skipped"]) == (key[:-2], "ok", 0)
    got, _ = await clocked.tell(clocked.user, {"t": "call.get", "call": key[:-2], "index": 0, "wait_s": 0})
    assert got["outputs"][0][1] == "ok", "its output is kept as any other's"


async def test_ephemeral_apps_have_schedules_while_they_run(clocked: Clocked) -> None:
    app = (await clocked.tell(clocked.user, {"t": "app.create", "name": "b", "key": "b"}))["app"]
    made = await clocked.tell(clocked.user, {**CREATE, "app": app, **scheduled(HOURLY)}, b"code")
    (told,) = await clocked.told()
    assert (told["id"], told["next_at"]) == (made["function"], NINE + 3000)
    await clocked.tell(clocked.user, {"t": "app.stop", "app": app})
    assert await clocked.at(NINE + 10_000) == []
    assert await clocked.parts.database.submit(stored.everything) == []


async def test_what_is_due_while_the_last_run_goes_on_is_passed_over_and_said_once(clocked: Clocked) -> None:
    await clocked.deploy({"f": scheduled({"period": {"seconds": 10}})})
    start = clocked.now
    for number in range(1, 5):
        await clocked.at(start + 10 * number)
    (told,) = await clocked.told()
    assert told["skipped"] == 3
    assert len(await clocked.calls("shop/f")) == 1
    assert (await clocked.log()).count("f was due at") == 1
    assert f"was not run: its last run, {told['last']['call']}, has not ended" in await clocked.log()
    _, agent = await clocked.container()
    ((key, attempt, *_),) = run_of(agent)
    await clocked.tell(agent, outputs(1, [key, attempt, "ok", 0.1, 1, None]), b"v")
    (told,) = await clocked.at(start + 50)
    assert (told["skipped"], len(await clocked.calls("shop/f"))) == (0, 2)


async def test_runs_may_overlap(clocked: Clocked) -> None:
    clocked.schedules._policy = Policy(overlap=True)
    await clocked.deploy({"f": scheduled({"period": {"seconds": 10}})})
    start = clocked.now
    for number in range(1, 5):
        await clocked.at(start + 10 * number)
    assert len(await clocked.calls("shop/f")) == 4


async def test_a_new_version_begins_periods_anew_and_leaves_crons_alone(clocked: Clocked) -> None:
    functions = {"p": scheduled(HOURLY), "c": scheduled(DAILY), "other": {}}
    await clocked.deploy(functions)
    begun = clocked.now
    assert [each["next_at"] for each in await clocked.at(begun + 60)] == [NINE, begun + 3600]
    await clocked.deploy(functions)  # nothing is different
    assert [each["next_at"] for each in await clocked.told()] == [NINE, begun + 3600]
    await clocked.deploy({**functions, "other": {"code": b"x"}})
    assert [each["next_at"] for each in await clocked.told()] == [NINE, begun + 3660]
    await clocked.deploy({"c": scheduled({**DAILY, "cron": "30 9 * * *"}), "other": {}})
    assert [each["next_at"] for each in await clocked.told()] == [NINE + 1800]
    await clocked.at(NINE + 1790)
    await clocked.tell(clocked.user, {"t": "app.rollback", "app": "shop", "by": "ann", "client": "1"})
    told = await clocked.told()
    assert [each["next_at"] for each in told] == [NINE + 86_400, NINE + 1790 + 3600], (
        "what was not its own is not made up"
    )
    assert all(each["last"] is None for each in told)


async def test_a_cron_that_is_due_while_it_is_published_runs_once(clocked: Clocked) -> None:
    await clocked.deploy({"c": scheduled(DAILY)})
    clocked.now = NINE + 0.1  # nobody has looked yet
    await clocked.deploy({"c": {**scheduled(DAILY), "code": b"x"}})
    (told,) = await clocked.at(NINE + 1)
    assert (told["next_at"], told["last"]["state"]) == (NINE + 86_400, "pending")
    assert len(await clocked.calls("shop/c")) == 1


async def test_neither_variants_nor_what_stays_at_a_version_run_by_themselves(clocked: Clocked) -> None:
    answer = await clocked.deploy({"f": scheduled(DAILY)})
    function = answer["functions"]["f"]
    bound = await clocked.tell(clocked.user, {"t": "function.bind", "function": function, "options": {"timeout": 9}})
    pinned = await clocked.look_up(version=1)
    assert "schedule" not in {**bound["options"], **pinned["options"]}
    (told,) = await clocked.at(NINE)
    assert told["id"] == function
    for other in (bound["function"], pinned["function"]):
        assert await clocked.calls(other) == []


async def test_the_next_server_makes_up_for_all_that_was_missed_by_one_run(clocked: Clocked) -> None:
    await clocked.deploy({"f": scheduled(DAILY)})
    await clocked.at(NINE)
    _, agent = await clocked.container()
    ((key, attempt, *_),) = run_of(agent)
    await another_server(clocked, NINE + 3 * 86_400 + 60)
    await clocked.looked()
    assert len(await clocked.calls("shop/f")) == 1, "it waits for the end of the last run"
    await clocked.tell(agent, outputs(1, [key, attempt, "ok", 0.1, 1, None]), b"v")
    await clocked.at(clocked.now + 6)
    assert len(await clocked.calls("shop/f")) == 2
    text = await clocked.log()
    assert "f was due at 2026-01-02" in text and "while no server ran; it runs now" in text
    await another_server(clocked, clocked.now + 1)
    await clocked.looked()
    assert len(await clocked.calls("shop/f")) == 2, "what is dealt with stays so"
    (told,) = await clocked.told()
    assert told["next_at"] == NINE + 4 * 86_400


async def test_or_for_none_of_it(clocked: Clocked) -> None:
    await clocked.deploy({"f": scheduled(DAILY)})
    await another_server(clocked, NINE + 3600, Policy(catch_up=False))
    await clocked.looked()
    (told,) = await clocked.told()
    assert (told["last"], told["skipped"], told["next_at"]) == (None, 1, NINE + 86_400)
    assert "was not run: no server ran" in await clocked.log()


@pytest.mark.parametrize("schedule", [DAILY, HOURLY], ids=["cron", "period"])
@pytest.mark.parametrize("with_another", [False, True])
async def test_a_clock_that_was_a_year_ahead(clocked: Clocked, schedule: Any, with_another: bool) -> None:
    clocked.now += 365 * 86_400
    await clocked.deploy({"f": scheduled(schedule)})
    (told,) = await clocked.at(clocked.now + 3600)
    assert len(await clocked.calls("shop/f")) == 1
    _, agent = await clocked.container()
    ((key, attempt, *_),) = run_of(agent)
    await clocked.tell(agent, outputs(1, [key, attempt, "ok", 0.1, 1, None]), b"v")
    if with_another:
        await another_server(clocked, NINE - 600)
    (told,) = await clocked.at(NINE - 600)
    assert told["next_at"] == (NINE if schedule is DAILY else NINE + 3000)
    await clocked.at(told["next_at"])
    assert len(await clocked.calls("shop/f")) == 2


async def test_one_bad_schedule_in_the_store_keeps_no_other_from_running(clocked: Clocked) -> None:
    answer = await clocked.deploy({"f": scheduled(DAILY), "g": scheduled(HOURLY)})
    lost = {**DAILY, "timezone": "Europe/Atlantis"}
    functions = answer["functions"]
    await clocked.parts.database.submit(
        stored.replace(answer["app"], {functions["f"]: lost, functions["g"]: HOURLY}, clocked.now)
    )
    await another_server(clocked, clocked.now + 1)
    assert [each["function"] for each in await clocked.told()] == ["g"]


async def another_server(clocked: Clocked, now: float, policy: Policy | None = None) -> None:
    """Have another server's schedules in the place of those that there are, made of what is in the store."""
    parts = clocked.parts
    assert clocked.loop is not None
    clocked.loop.cancel()
    await asyncio.gather(clocked.loop, return_exceptions=True)
    clocked.now = now
    facts = (parts.database, parts.deliveries, parts.backlog, parts.fleet, parts.apps, parts.logs)
    clocked.schedules = parts.schedules = Schedules(parts.settings, *facts)
    clocked.schedules._policy = policy or clocked.schedules._policy
    clocked.schedules.restore(await parts.database.submit(stored.everything))
    clocked.loop = asyncio.create_task(clocked.schedules.run())


async def test_a_run_and_its_mark_are_stored_together_or_not_at_all(
    clocked: Clocked, monkeypatch: pytest.MonkeyPatch
) -> None:
    await clocked.deploy({"f": scheduled(DAILY)})
    provided = stored.mark

    def broken(*facts: Any) -> Any:
        change = provided(*facts)

        def fail(connection: Any) -> bool:
            assert change(connection)
            raise OSError("the disk is full")

        return fail

    monkeypatch.setattr(stored, "mark", broken)
    await clocked.at(NINE)
    (row,) = await clocked.parts.database.submit(stored.everything)
    assert (row.marked, row.call, await clocked.calls("shop/f")) == (NINE - 600, None, [])
    monkeypatch.setattr(stored, "mark", provided)
    await clocked.at(NINE + 2)
    (row,) = await clocked.parts.database.submit(stored.everything)
    assert (row.marked, [row.call]) == (NINE + 2, await clocked.calls("shop/f"))


async def test_what_is_dealt_with_in_the_store_is_not_run(clocked: Clocked) -> None:
    answer = await clocked.deploy({"f": scheduled(DAILY)})
    (row,) = await clocked.parts.database.submit(stored.everything)
    other = stored.mark(answer["functions"]["f"], row.since, NINE, NINE, None)
    assert await clocked.parts.database.submit(other)
    assert not await clocked.parts.database.submit(other)
    await clocked.at(NINE)
    assert await clocked.calls("shop/f") == []


async def test_a_function_runs_now(clocked: Clocked) -> None:
    await clocked.deploy({"f": scheduled(DAILY), "g": scheduled(HOURLY), "plain": {}})
    ran = await clocked.tell(clocked.user, {"t": "schedule.run", "app": "shop", "function": "f"})
    assert await clocked.calls("shop/f") == [ran["call"]]
    (told, _) = await clocked.told()
    assert (told["next_at"], told["last"]["call"]) == (NINE, ran["call"])
    await clocked.at(NINE)
    assert await clocked.calls("shop/f") == [ran["call"]], "it counts as the last run, which has not ended"
    for function, why in (
        (None, "2 functions of 'shop' have a schedule; say which: f, g"),
        ("plain", "the function 'plain' of 'shop' has no schedule"),
        ("nothing", "the function 'nothing' of 'shop' is not there"),
    ):
        with pytest.raises(RemoteFailure, match=why):
            await clocked.tell(clocked.user, {"t": "schedule.run", "app": "shop", "function": function})
    with pytest.raises(RemoteFailure, match="no function of the app 'a' has a schedule"):
        await clocked.tell(clocked.user, {"t": "schedule.run", "app": "a"})


async def test_an_app_that_was_stopped_runs_nothing(clocked: Clocked) -> None:
    answer = await clocked.deploy({"f": scheduled(DAILY)})
    await clocked.tell(clocked.user, {"t": "app.stop", "app": answer["app"]})
    assert await clocked.at(NINE) == []
    with pytest.raises(RemoteFailure, match="the app 'shop' does not run any longer"):
        await clocked.tell(clocked.user, {"t": "schedule.run", "app": "shop", "function": "f"})


async def test_a_schedule_that_is_never_due_is_refused_with_its_function(clocked: Clocked) -> None:
    never = {**DAILY, "cron": "0 0 30 2 *"}
    with pytest.raises(RemoteFailure, match=r"the function 'f': the Cron '0 0 30 2 .' names a day .* never due"):
        await clocked.deploy({"f": scheduled(never)})
    assert Wire("user").faults == clocked.user.faults, "it is the user's, not a fault of the connection"


async def test_a_schedule_is_no_setting_of_a_variant(clocked: Clocked) -> None:
    header = {"t": "function.bind", "function": clocked.function, "options": {"schedule": DAILY}}
    with pytest.raises(RemoteFailure, match="no settings of a variant"):
        await clocked.tell(clocked.user, header)


def test_the_calendar_of_periods_has_a_setting() -> None:
    begun = 1_774_738_800.0 - 3600 * 12  # clocks change in the night that follows
    berlin = due_times.read({"period": {"days": 1}}, "Europe/Berlin")
    assert berlin.after(begun, begun + 1) == begun + 82_800
