"""Grouped commits, failures that are only one's own, and a schema that migrations and tables agree on."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, event, inspect
from sqlalchemy.exc import IntegrityError

from modicum.stores import database as database_
from modicum.stores import queries, variants
from modicum.stores.database import Database
from modicum.stores.queries import StoredApp, StoredFunction
from modicum.stores.schema import metadata


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(f"sqlite:///{tmp_path}/store.db")
    yield opened
    opened.close()


def schema_of(url: str) -> dict[str, Any]:
    """Return what can be told of the tables, whatever statements made them."""
    engine = create_engine(url)
    seen = inspect(engine)
    tables = {
        name: {
            "columns": [str({**column, "type": str(column["type"])}) for column in seen.get_columns(name)],
            "keys": [seen.get_pk_constraint(name), seen.get_foreign_keys(name), seen.get_unique_constraints(name)],
            "indexes": [
                {**index, "dialect_options": {k: str(v) for k, v in index["dialect_options"].items()}}
                for index in seen.get_indexes(name)
            ],
        }
        for name in seen.get_table_names()
        if "alembic" not in name
    }
    engine.dispose()
    return tables


def test_migrations_make_exactly_the_schema(tmp_path: Path) -> None:
    Database(f"sqlite:///{tmp_path}/migrated.db").close()
    engine = create_engine(f"sqlite:///{tmp_path}/created.db")
    metadata.create_all(engine)
    engine.dispose()
    assert schema_of(f"sqlite:///{tmp_path}/migrated.db") == schema_of(f"sqlite:///{tmp_path}/created.db")


def test_head_is_the_newest_migration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Database(f"sqlite:///{tmp_path}/store.db").close()
    monkeypatch.setitem(__import__("sys").modules, "alembic", None)  # a present one needs no Alembic
    Database(f"sqlite:///{tmp_path}/store.db").close()


def test_is_durable_and_concurrent(tmp_path: Path) -> None:
    opened = Database(f"sqlite:///{tmp_path}/store.db")
    with opened._engine.connect() as connection:
        pragma = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    opened.close()
    assert pragma == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


def counted_commits(database: Database) -> list[int]:
    commits: list[int] = []
    event.listen(database._engine, "commit", lambda connection: commits.append(1))
    return commits


async def held(database: Database) -> threading.Event:
    """Keep the writing thread busy until the event is set."""
    release, busy = threading.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def hold(connection: Connection) -> None:
        loop.call_soon_threadsafe(busy.set)
        release.wait(10)

    database.submit(hold).add_done_callback(asyncio.Future.exception)  # a failing commit is its failure, too
    await busy.wait()
    return release


def add(app: str) -> Any:
    return queries.add_app(app, "name", f"key of {app}", False, {}, True, 1.0)


async def test_waiting_changes_share_a_commit(database: Database) -> None:
    commits = counted_commits(database)
    release = await held(database)
    futures = [database.submit(add(f"ap-{n}")) for n in range(50)]
    release.set()
    await asyncio.gather(*futures)
    assert len(commits) == 2  # the one that was held, and all others


async def test_a_failing_change_is_its_own_alone(database: Database) -> None:
    release = await held(database)
    first, twin, other = database.submit(add("ap-1")), database.submit(add("ap-1")), database.submit(add("ap-2"))

    def half(connection: Connection) -> None:
        add("ap-3")(connection)
        raise LookupError("after its first half")

    broken = database.submit(half)
    release.set()
    results = await asyncio.gather(first, twin, other, broken, return_exceptions=True)
    assert [type(result) for result in results] == [type(None), IntegrityError, type(None), LookupError]
    everything = await database.submit(queries.everything)
    assert sorted(app.id for app in everything.apps) == ["ap-1", "ap-2"]


async def test_a_failing_commit_fails_all_of_its_group(database: Database) -> None:
    def refuse(connection: Connection) -> None:
        raise OSError("the disk is full")

    release = await held(database)
    event.listen(database._engine, "commit", refuse)
    futures = [database.submit(add(f"ap-{n}")) for n in range(3)]
    release.set()
    results = await asyncio.gather(*futures, return_exceptions=True)
    assert [str(result) for result in results] == ["the disk is full"] * 3
    event.remove(database._engine, "commit", refuse)
    await database.submit(add("ap-0"))
    assert len((await database.submit(queries.everything)).apps) == 1


async def test_who_gave_up_is_not_told(database: Database) -> None:
    release = await held(database)
    future = database.submit(add("ap-1"))
    future.cancel()
    release.set()
    assert len((await database.submit(queries.everything)).apps) == 1


async def test_close_finishes_what_is_queued(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/store.db")
    futures = [database.submit(add(f"ap-{n}")) for n in range(database_.GROUP_MAX + 5)]
    database.close()
    await asyncio.gather(*futures)
    again = Database(f"sqlite:///{tmp_path}/store.db")
    assert len((await again.submit(queries.everything)).apps) == database_.GROUP_MAX + 5
    again.close()


# -- queries ---------------------------------------------------------------------------------------------------


@pytest.fixture
async def filled(database: Database) -> Database:
    await database.submit(add("ap-1"))
    await database.submit(queries.add_function("fu-1", "ap-1", "f", {"options": {}}, b"code"))
    return database


async def test_images_are_recorded_anew(filled: Database) -> None:
    await filled.submit(queries.add_image("im-1", ["la-1"], {"env": {}}))
    await filled.submit(queries.add_image("im-1", ["la-1", "la-2"], {"env": {"A": "b"}}))
    assert (await filled.submit(queries.everything)).images == [("im-1", ["la-1", "la-2"], {"env": {"A": "b"}})]


async def test_functions_come_back_whole(filled: Database) -> None:
    everything = await filled.submit(queries.everything)
    assert everything.apps == [StoredApp("ap-1", "name", "key of ap-1", False, {}, True)]
    assert everything.functions == [StoredFunction("fu-1", "ap-1", "f", {"options": {}}, b"code")]


async def test_variants_and_what_the_autoscaler_was_told_come_back(filled: Database) -> None:
    await filled.submit(variants.add_variant("fu-2", "fu-1", "ap-1", "f", {"timeout": 5}, "QQ=="))
    await filled.submit(variants.set_overrides("fu-1", {"max_containers": None}))
    base, variant = sorted((await filled.submit(queries.everything)).functions, key=lambda each: each.id)
    assert (base.overrides, base.parent, base.settings) == ({"max_containers": None}, None, {})
    assert variant == StoredFunction(
        "fu-2", "ap-1", "f", {}, b"", parent="fu-1", settings={"timeout": 5}, parameters="QQ=="
    )


async def test_an_older_database_is_brought_up_to_date(tmp_path: Path) -> None:
    from alembic import command
    from alembic.config import Config

    path = f"sqlite:///{tmp_path}/store.db"
    config = Config()
    config.set_main_option("script_location", str(Path(database_.__file__).parent / "migrations"))
    engine = create_engine(path)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.exec_driver_sql("INSERT INTO apps (id, name, key, created_at) VALUES ('ap-1', 'old', 'k', 1.0)")
    engine.dispose()
    opened = Database(path)
    everything = await opened.submit(queries.everything)
    opened.close()
    assert everything.apps == [StoredApp("ap-1", "old", "k", False, {}, True)]
