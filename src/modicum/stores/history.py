"""What is kept of how functions did, minute by minute."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import reduce
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from modicum.stores.schema import ended_containers
from modicum.stores.schema import function_minutes as table

Merge = Callable[[dict[str, Any], dict[str, Any]], dict[str, Any]]


def add(counted: list[tuple[str, int, dict[str, Any]]], merge: Merge) -> Callable[[Connection], None]:
    """Add counts of functions' minutes to those that are there."""

    def change(connection: Connection) -> None:
        for function, minute, counts in counted:
            where = (table.c.function == function, table.c.minute == minute)
            known = connection.execute(select(table.c.counts).where(*where)).scalar()
            if known is not None:
                connection.execute(delete(table).where(*where))
            row = {"function": function, "minute": minute}
            total = counts if known is None else merge(json.loads(known), counts)
            connection.execute(insert(table).values(**row, counts=json.dumps(total)))

    return change


def read(functions: list[str], first: int, last: int, merge: Merge) -> Callable[[Connection], dict[str, Any]]:
    """Return the sum of the minutes of some functions, from the first to the last."""
    query = select(table.c.counts).where(table.c.function.in_(functions), table.c.minute.between(first, last))
    return lambda connection: reduce(merge, (json.loads(row.counts) for row in connection.execute(query)), {})


def containers(functions: list[str], since: float) -> Callable[[Connection], list[tuple[float | None, float, str]]]:
    """Return when functions' containers began that ended after a time, when they ended, and why."""
    ended = ended_containers.c
    query = select(ended.started_at, ended.ended_at, ended.reason).where(
        ended.function.in_(functions), ended.ended_at >= since
    )
    return lambda connection: [(row[0], row[1], row[2]) for row in connection.execute(query)]


def forget(before: int) -> Callable[[Connection], None]:
    """Forget the minutes before one."""

    def change(connection: Connection) -> None:
        connection.execute(delete(table).where(table.c.minute < before))

    return change
