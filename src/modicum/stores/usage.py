"""What is kept of what containers used: by function and hour, and how far each container's meter is counted."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from modicum.stores.schema import usage_hours as hours
from modicum.stores.schema import usage_readings as readings

Key = tuple[str, str, int, str]


@dataclass(frozen=True, slots=True)
class HourRow:
    """What a function's containers used of one resource in an hour since the epoch. An app has no name once it went."""

    app: str
    function: str
    hour: int
    resource: str
    used: float
    billed: float
    app_name: str
    function_name: str
    tags: dict[str, str]

    @property
    def key(self) -> Key:
        """What there is one row of."""
        return self.app, self.function, self.hour, self.resource


def add(rows: Sequence[HourRow], read: dict[str, dict[str, Any]], now: float) -> Callable[[Connection], None]:
    """Add to hours, and note up to which readings that counts: both or neither."""

    def change(connection: Connection) -> None:
        for row in rows:
            _add_row(connection, row)
        if read:
            connection.execute(delete(readings).where(readings.c.container.in_(list(read))))
            values = [{"container": each, "reading": json.dumps(what), "read_at": now} for each, what in read.items()]
            connection.execute(insert(readings), values)

    return change


def _add_row(connection: Connection, row: HourRow) -> None:
    key = dict(zip(("app", "function", "hour", "resource"), row.key))
    facts = {"app_name": row.app_name, "function_name": row.function_name, "tags": json.dumps(row.tags)}
    where = [hours.c[name] == value for name, value in key.items()]
    more = {"used": hours.c.used + row.used, "billed": hours.c.billed + row.billed}
    told = facts if row.app_name else {}
    if not connection.execute(update(hours).where(*where).values(**more, **told)).rowcount:
        connection.execute(insert(hours).values(**key, used=row.used, billed=row.billed, **facts))


def last_readings(connection: Connection) -> dict[str, dict[str, Any]]:
    """Return up to where each container's meter is counted."""
    return {row.container: json.loads(row.reading) for row in connection.execute(select(readings))}


def between(first: int, last: int) -> Callable[[Connection], list[HourRow]]:
    """Return what was used in the hours from the first to before the last."""
    query = select(hours).where(hours.c.hour >= first, hours.c.hour < last).order_by(hours.c.hour, hours.c.app)
    return lambda connection: [
        HourRow(**{**row._mapping, "tags": json.loads(row.tags)}) for row in connection.execute(query)
    ]


def forget(before_hour: int, read_before: float) -> Callable[[Connection], None]:
    """Forget hours before one, and readings of containers that ended before a time."""

    def change(connection: Connection) -> None:
        connection.execute(delete(hours).where(hours.c.hour < before_hour))
        connection.execute(delete(readings).where(readings.c.read_at < read_before))

    return change
