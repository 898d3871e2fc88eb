"""Which containers have ended, and why: what the store keeps of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from modicum.stores.schema import ended_containers as table

KEPT_MAX = 200_000
"""So many ends are kept at most: containers that are used once, or end as soon as they begin, come in any number."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A container that has ended. Times are in seconds since the epoch; what is not known is None."""

    id: str
    app: str
    app_name: str
    function: str
    function_name: str
    node: str
    started_at: float | None
    ended_at: float
    reason: str
    detail: str
    exit_code: int | None = None
    signal: int | None = None


def add(ended: Ended) -> Callable[[Connection], None]:
    """Record a container's end; the first that was told stays."""

    def change(connection: Connection) -> None:
        if connection.execute(select(table.c.id).where(table.c.id == ended.id)).first() is None:
            connection.execute(insert(table).values(**asdict(ended)))

    return change


def newest(limit: int, app: str | None = None) -> Callable[[Connection], list[dict[str, Any]]]:
    """Return those that ended last, the newest first, of one app if it is named."""
    query = select(table).order_by(table.c.ended_at.desc()).limit(limit)
    if app is not None:
        query = query.where(table.c.app == app)
    return lambda connection: [dict(row._mapping) for row in connection.execute(query)]


def of(container: str) -> Callable[[Connection], dict[str, Any] | None]:
    """Return what is known of a container that has ended."""

    def query(connection: Connection) -> dict[str, Any] | None:
        row = connection.execute(select(table).where(table.c.id == container)).first()
        return dict(row._mapping) if row is not None else None

    return query


def forget(before: float, most: int = KEPT_MAX) -> Callable[[Connection], None]:
    """Forget those that ended before a time, and the oldest of those that are too many."""
    newest_of_surplus = select(table.c.ended_at).order_by(table.c.ended_at.desc()).offset(most).limit(1)

    def change(connection: Connection) -> None:
        connection.execute(delete(table).where(table.c.ended_at < before))
        surplus = connection.execute(newest_of_surplus).scalar()
        if surplus is not None:
            connection.execute(delete(table).where(table.c.ended_at <= surplus))

    return change
