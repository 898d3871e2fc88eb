"""Spawned inputs are taken once, end once, come back in their order, and are forgotten after their time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from modicum.stores import calls, queries, versions
from modicum.stores import database as database_
from modicum.stores.calls import Facts, LoadedInput, NewOutput, StoredCall, StoredInput, StoredOutput
from modicum.stores.database import Database
from modicum.stores.schema import functions

MANY = 1 << 20


@pytest.fixture
async def database(tmp_path: Path) -> Any:
    opened = Database(f"sqlite:///{tmp_path}/store.db")
    await opened.submit(queries.add_app("ap-1", "app", "key", False, {}, True, 1.0))
    for name in ("f", "g"):
        await opened.submit(queries.add_function(f"fu-{name}", "ap-1", name, {"options": {}}, b"code"))
    yield opened
    opened.close()


@pytest.fixture
def numbers() -> Iterator[int]:
    return iter(range(1, MANY))


def call(name: str = "fc-1", inputs: int = 1, function: str = "fu-f", at: float = 1.0, **more: Any) -> StoredCall:
    return StoredCall(name, function, more.get("method"), more.get("parent"), at, inputs)


def rows(numbers: Iterator[int], *positions: int, of: str = "fc-1", function: str = "fu-f") -> list[StoredInput]:
    return [StoredInput(next(numbers), of, each, function, b"payload %d" % each, None) for each in positions]


def output(position: int, status: str = "ok", value: bytes = b"v", of: str = "fc-1", at: float = 5.0) -> NewOutput:
    return NewOutput(of, position, status, value, None, at, "ta-1", 0.5)


async def load(database: Database, after: int = 0, count: int = MANY, bytes_max: int = MANY) -> list[LoadedInput]:
    return await database.submit(calls.load("fu-f", after, count, bytes_max))


async def test_inputs_are_taken_once(database: Database, numbers: Iterator[int]) -> None:
    assert await database.submit(calls.add([call()], rows(numbers, 0, 1))) == set()
    assert await database.submit(calls.add([call()], rows(numbers, 1, 2))) == {("fc-1", 1)}
    assert [(each.number, each.position) for each in await load(database)] == [(1, 0), (2, 1), (4, 2)]
    assert await database.submit(calls.last_number) == 4


async def test_a_call_has_as_many_inputs_as_were_ever_named(database: Database, numbers: Iterator[int]) -> None:
    for inputs in (2, 5, 3):
        await database.submit(calls.add([call(inputs=inputs, at=float(inputs), method="m")], []))
    assert await database.submit(calls.facts("fc-1")) == Facts("fu-f", "f", "ap-1", "m", None, 2.0, 5)
    assert await database.submit(calls.facts("fc-2")) is None


async def test_several_calls_are_stored_together(database: Database, numbers: Iterator[int]) -> None:
    both = rows(numbers, 0) + rows(numbers, 0, of="fc-2", function="fu-g")
    await database.submit(calls.add([call(), call("fc-2", function="fu-g")], both))
    assert await database.submit(calls.waiting) == {"fu-f": 1, "fu-g": 1}


async def test_they_come_back_oldest_first_and_in_parts(database: Database, numbers: Iterator[int]) -> None:
    await database.submit(calls.add([call(method="m", parent="fc-0:3")], rows(numbers, *range(5))))
    await database.submit(calls.finish([output(1)]))
    await database.submit(calls.count_failures([("fc-1", 2, 3)]))
    assert await load(database, count=2) == [
        LoadedInput(1, "fc-1", 0, b"payload 0", None, 0, "m", "fc-0:3"),
        LoadedInput(3, "fc-1", 2, b"payload 2", None, 3, "m", "fc-0:3"),
    ]
    assert [each.position for each in await load(database, after=3)] == [3, 4]
    assert [each.position for each in await load(database, bytes_max=10)] == [0, 2]  # 9 + 9 bytes
    assert [each.position for each in await load(database, bytes_max=1)] == [0], "one at least"


async def test_first_output_stays(database: Database, numbers: Iterator[int]) -> None:
    (row,) = rows(numbers, 0)
    await database.submit(calls.add([call()], [row._replace(blob="bl-in")]))
    assert await database.submit(calls.outputs("fc-1", 0, 1, MANY)) == [StoredOutput(0, None, b"", None)]
    assert await database.submit(calls.blobs) == {"bl-in"}
    first = output(0)._replace(payload=b"first", blob="bl-1")
    assert await database.submit(calls.finish([first])) == 1
    assert await database.submit(calls.finish([first._replace(payload=b"second", blob="bl-2")])) == 0
    assert await database.submit(calls.outputs("fc-1", 0, 1, MANY)) == [StoredOutput(0, "ok", b"first", "bl-1")]
    assert await load(database) == []
    assert await database.submit(calls.blobs) == {"bl-1"}  # its argument's may go


async def test_neighbouring_outputs_come_together(database: Database, numbers: Iterator[int]) -> None:
    await database.submit(calls.add([call(inputs=6)], rows(numbers, *range(6))))
    await database.submit(calls.finish([output(n) for n in (0, 1, 2, 4)]))

    async def positions(first: int, count: int = 10, bytes_max: int = MANY) -> list[tuple[int, bool]]:
        found = await database.submit(calls.outputs("fc-1", first, count, bytes_max))
        return [(each.position, each.status is not None) for each in found]

    assert await positions(0) == [(0, True), (1, True), (2, True)]
    assert await positions(0, count=2) == [(0, True), (1, True)]
    assert await positions(0, bytes_max=2) == [(0, True), (1, True)]
    assert await positions(0, bytes_max=0) == [(0, True)], "one at least"
    assert await positions(3) == [(3, False)]
    assert await positions(4) == [(4, True)]
    assert await positions(6) == []


async def test_what_never_was_has_no_output(database: Database) -> None:
    assert await database.submit(calls.outputs("fc-1", 0, 1, MANY)) == []
    assert await database.submit(calls.finish([output(0)])) == 0


async def test_inputs_of_no_function_are_refused(database: Database, numbers: Iterator[int]) -> None:
    with pytest.raises(IntegrityError):
        await database.submit(calls.add([call(function="fu-none")], rows(numbers, 0, function="fu-none")))


async def test_nothing_is_added_to_another_functions_call(database: Database, numbers: Iterator[int]) -> None:
    await database.submit(calls.add([call()], rows(numbers, 0)))
    with pytest.raises(ValueError, match="the call fc-1 is one of another function"):
        await database.submit(calls.add([call(function="fu-g", inputs=9)], rows(numbers, 1, function="fu-g")))
    assert await database.submit(calls.outputs("fc-1", 1, 1, MANY)) == []


async def test_no_function_ends_another_ones_inputs(database: Database, numbers: Iterator[int]) -> None:
    await database.submit(calls.add([call()], rows(numbers, 0)))
    assert await database.submit(calls.finish([output(0)], "fu-g")) == 0
    assert await database.submit(calls.finish([output(0)], "fu-f")) == 1


async def test_a_cancelled_call_ends_where_it_has_not(database: Database, numbers: Iterator[int]) -> None:
    await database.submit(calls.add([call(inputs=3)], rows(numbers, 0, 1, 2)))
    await database.submit(calls.add([call("fc-2")], rows(numbers, 0, of="fc-2")))
    await database.submit(calls.finish([output(1)]))
    assert await database.submit(calls.terminate(calls.of_call("fc-1"), "why", 7.0)) == 2
    found = await database.submit(calls.outputs("fc-1", 0, 3, MANY))
    assert [(each.status, each.payload) for each in found] == [
        ("terminated", b"why"), ("ok", b"v"), ("terminated", b"why"),
    ]  # fmt: skip
    assert await database.submit(calls.finish([output(0)])) == 0, "a late output changes nothing"
    assert [each.call for each in await load(database)] == ["fc-2"]


async def test_an_app_that_has_spawned_ends_with_its_outputs_kept(database: Database, numbers: Iterator[int]) -> None:
    await database.submit(calls.add([call(inputs=2)], rows(numbers, 0, 1)))
    await database.submit(calls.finish([output(0)]))
    await database.submit(calls.terminate(calls.of_functions(["fu-f"]), "it ended", 9.0))
    await database.submit(calls.end_app("ap-1", 9.0))
    assert (await database.submit(queries.everything)).apps == []
    assert await database.submit(calls.waiting) == {}
    found = await database.submit(calls.outputs("fc-1", 0, 2, MANY))
    assert [(each.status, each.payload) for each in found] == [("ok", b"v"), ("terminated", b"it ended")]
    await database.submit(queries.forget_ended(10.0))
    assert await database.submit(calls.facts("fc-1")) is None
    assert await database.submit(calls.last_number) == 0


async def test_of_an_app_that_has_spawned_nothing_only_the_name_is_kept(database: Database) -> None:
    await database.submit(calls.end_app("ap-1", 9.0))
    assert [each.id for each in await database.submit(versions.apps_ended(0.0, 10))] == ["ap-1"]
    assert await database.submit(lambda c: c.execute(select(functions.c.id)).all()) == []


async def test_outputs_expire_and_their_calls_are_known_for_longer(database: Database, numbers: Iterator[int]) -> None:
    await database.submit(calls.add([call(inputs=3)], rows(numbers, 0, 1, 2)))
    await database.submit(calls.finish([output(0, at=5.0), output(1, at=8.0)]))
    assert await database.submit(calls.expire(8.0)) == 1
    assert await database.submit(calls.expire(8.0)) == 0
    await database.submit(calls.forget_calls(100.0))
    assert await database.submit(calls.outputs("fc-1", 0, 1, MANY)) == []
    assert (await database.submit(calls.facts("fc-1"))) is not None
    await database.submit(calls.finish([output(2, at=8.0)]))
    assert await database.submit(calls.expire(9.0)) == 2
    await database.submit(calls.forget_calls(1.0))
    assert (await database.submit(calls.facts("fc-1"))) is not None
    await database.submit(calls.forget_calls(1.5))
    assert (await database.submit(calls.facts("fc-1"))) is None


async def test_who_made_which_call(database: Database, numbers: Iterator[int]) -> None:
    made = [call("fc-2", parent="fc-1:0"), call("fc-3", parent="fc-1:10"), call("fc-4", parent="fc-11:0")]
    await database.submit(calls.add([call(), *made], rows(numbers, 0, 1)))
    assert await database.submit(calls.children("fc-1", 10)) == ["fc-2", "fc-3"]
    assert await database.submit(calls.children("fc-1", 1)) == ["fc-2"]
    await database.submit(calls.finish([output(1)]))
    assert await database.submit(calls.statuses("fc-1", 10)) == [(0, None, None), (1, "ok", "ta-1")]


async def test_which_of_some_calls_have_ended(database: Database, numbers: Iterator[int]) -> None:
    for name in ("fc-1", "fc-2"):
        await database.submit(calls.add([call(name)], rows(numbers, 0, of=name)))
    await database.submit(calls.finish([output(0)]))
    assert await database.submit(calls.ended_of(["fc-2", "fc-1", "fc-none"])) == ["fc-1", "fc-none"]


async def test_recent_calls(database: Database, numbers: Iterator[int]) -> None:
    for at in (1.0, 2.0, 3.0):
        await database.submit(calls.add([call(f"fc-{at:.0f}", at=at)], rows(numbers, 0, 1, of=f"fc-{at:.0f}")))

    async def listed(count: int = 10, since: float | None = None, until: float | None = None) -> list[str]:
        found = await database.submit(calls.recent(["fu-f"], count, since, until))
        return [f"{each.call}:{each.position}" for each in found]

    assert await listed(3) == ["fc-3:1", "fc-3:0", "fc-2:1"]
    assert await listed(since=2.0) == ["fc-2:0", "fc-2:1", "fc-3:0", "fc-3:1"]
    assert await listed(until=2.0) == ["fc-1:0", "fc-1:1"]
    assert await listed(since=2.0, until=3.0) == ["fc-2:0", "fc-2:1"]


@pytest.mark.parametrize(
    "query",
    [
        calls.load("fu-f", 5, 10, MANY),
        calls.waiting,
        calls.blobs,
        calls.expire(9.0),
        calls.finish([output(0)]),
        calls.children("fc-1", 5),
        calls.terminate(calls.of_call("fc-1"), "", 1.0),
        calls.terminate(calls.of_functions(["fu-f"]), "", 1.0),
        calls.last_number,
    ],
)
async def test_nothing_that_is_asked_often_looks_at_every_row(database: Database, query: Any) -> None:
    """With a million rows that would take a second, for which nobody else could write. Partial indexes may be read."""
    plans: list[str] = []

    def explained(connection: Any) -> None:
        from sqlalchemy import event

        def explain(conn: Any, cursor: Any, statement: str, parameters: Any, context: Any, executemany: bool) -> None:
            if not statement.startswith("EXPLAIN"):
                values = parameters[0] if executemany else parameters
                plans.extend(row[3] for row in cursor.connection.execute(f"EXPLAIN QUERY PLAN {statement}", values))

        event.listen(connection, "before_cursor_execute", explain)
        query(connection)

    await database.submit(explained)
    assert plans
    scans = [plan for plan in plans if plan.startswith("SCAN") and "INDEX inputs_w" not in plan]
    assert not scans, plans


async def test_a_database_from_before_there_were_calls(tmp_path: Path) -> None:
    from alembic import command
    from alembic.config import Config
    from sqlalchemy import create_engine

    path = f"sqlite:///{tmp_path}/old.db"
    config = Config()
    config.set_main_option("script_location", str(Path(database_.__file__).parent / "migrations"))
    engine = create_engine(path)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0004")
        run = connection.exec_driver_sql
        run("INSERT INTO apps (id, name, key, created_at) VALUES ('ap-1', 'old', 'k', 1.0)")
        run("INSERT INTO functions VALUES ('fu-f', 'ap-1', 'f', '{}', x'')")
        run("INSERT INTO inputs (call, position, function, payload) VALUES ('fc-1', 0, 'fu-f', x'61')")
        run(
            "INSERT INTO inputs (call, position, function, payload, status, output) "
            "VALUES ('fc-1', 1, 'fu-f', x'', 'ok', x'62')"
        )
    engine.dispose()
    opened = Database(path)
    facts = await opened.submit(calls.facts("fc-1"))
    assert facts == Facts("fu-f", "f", "ap-1", None, None, 0.0, 2)
    assert await load(opened) == [LoadedInput(1, "fc-1", 0, b"a", None, 0, None, None)]
    assert await opened.submit(calls.outputs("fc-1", 1, 1, MANY)) == [StoredOutput(1, "ok", b"b", None)]
    opened.close()
