"""How state becomes durable: one thread that writes, many changes in one transaction."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text

T = TypeVar("T")
Change = Callable[[Connection], Any]

_HEAD = "0012"
"""The newest migration; Alembic, which is slow to import, is only needed when the database is older."""

GROUP_MAX = 1000
"""Changes in one transaction at most, so that the first of a long queue does not wait for the last."""


class Database:
    """SQLite or PostgreSQL by URL, through a thread of its own."""

    def __init__(self, url: str) -> None:
        self._engine = _engine(url)
        migrate(self._engine, url)
        self._jobs: queue.SimpleQueue[tuple[Change, asyncio.Future[Any], asyncio.AbstractEventLoop] | None]
        self._jobs = queue.SimpleQueue()
        self._writer: Connection | None = None
        self._thread = threading.Thread(target=self._work, name="modicum-store", daemon=True)
        self._thread.start()

    def submit(self, change: Callable[[Connection], T]) -> asyncio.Future[T]:
        """Queue a change (or a query); the future has its result once the transaction is committed.

        It may be run twice, when another one of its transaction fails.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._jobs.put((change, future, loop))
        return future

    def close(self) -> None:
        """Finish what is queued and end."""
        self._jobs.put(None)
        self._thread.join()
        if self._writer is not None:
            self._writer.close()
        self._engine.dispose()

    def _work(self) -> None:
        closing = False
        while not closing:
            group = [self._jobs.get()]
            while len(group) < GROUP_MAX and not self._jobs.empty():
                group.append(self._jobs.get())
            closing = None in group
            self._commit([job for job in group if job is not None])

    def _commit(self, group: list[tuple[Change, asyncio.Future[Any], asyncio.AbstractEventLoop]]) -> None:
        if not group:
            return
        changes = [change for change, _, _ in group]
        results: list[tuple[Any, Exception | None]]
        try:
            results = [(result, None) for result in self._together(changes)]
        except Exception:  # noqa: BLE001 - one of them, or the commit: which one is seen by trying each
            results = self._apart(changes)
        ends: dict[asyncio.AbstractEventLoop, list[_End]] = {}
        for (_, future, loop), (result, failure) in zip(group, results):
            ends.setdefault(loop, []).append((future, result, failure))
        for loop, theirs in ends.items():
            loop.call_soon_threadsafe(_resolve, theirs)  # waking it once is enough

    def _together(self, changes: Sequence[Change]) -> list[Any]:
        """Run changes as if none could fail: a savepoint for each would cost as much as many of the changes."""
        with self._transaction() as connection:
            return [change(connection) for change in changes]

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        """Keep the connection for the next one: a pool's takes longer than a commit. After a failure, take another."""
        if self._writer is None:
            self._writer = self._engine.connect()
        try:
            with self._writer.begin():
                yield self._writer
        except BaseException:
            self._writer.close()
            self._writer = None
            raise

    def _apart(self, changes: Sequence[Change]) -> list[tuple[Any, Exception | None]]:
        """Run changes again, after one has failed, so that its failure is its own."""
        try:
            with self._transaction() as connection:
                return [_attempt(connection, change) for change in changes]
        except Exception as error:  # noqa: BLE001 - the commit itself: none of the group is durable
            return [(None, error)] * len(changes)


def _attempt(connection: Connection, change: Change) -> tuple[Any, Exception | None]:
    """Run one change in a savepoint, so that its failure is its own."""
    try:
        with connection.begin_nested():
            return change(connection), None
    except Exception as error:  # noqa: BLE001
        return None, error


_End = tuple["asyncio.Future[Any]", Any, "Exception | None"]


def _resolve(ends: Sequence[_End]) -> None:
    for future, result, error in ends:
        if future.cancelled():
            continue
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)


def _engine(url: str) -> Engine:
    engine = create_engine(url)
    if engine.dialect.name == "sqlite":

        @event.listens_for(engine, "connect")
        def prepare(connection: Any, record: Any) -> None:
            connection.isolation_level = None  # SQLAlchemy says BEGIN itself, which savepoints need
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
                connection.execute(f"PRAGMA {pragma}")

        @event.listens_for(engine, "begin")
        def begin(connection: Connection) -> None:
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def migrate(engine: Engine, url: str) -> None:
    """Bring the database to the present schema."""
    with engine.connect() as connection:
        known = inspect(connection).has_table("alembic_version")
        if known and connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == _HEAD:
            return
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
