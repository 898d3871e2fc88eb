"""What is kept of schedules: up to when each was dealt with, and its last run."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, and_, bindparam, delete, insert, select, update

from modicum.stores.schema import apps, calls, functions, inputs, schedules


class StoredSchedule(NamedTuple):
    """A function's schedule. All that was due up to `marked` is dealt with; `skipped` counts what did not run since the
    last run, which is `call`.
    """

    function: str
    schedule: dict[str, Any]
    since: float
    marked: float
    call: str | None = None
    skipped: int = 0

    @classmethod
    def begin(cls, function: str, schedule: dict[str, Any], now: float) -> StoredSchedule:
        """Return a schedule that begins now."""
        return cls(function, schedule, now, now)


class LastRun(NamedTuple):
    """What became of a function's last run; the times and the status are None if that is not known yet, or no more."""

    function: str
    call: str
    created_at: float | None
    finished_at: float | None
    status: str | None
    is_kept: bool


_MARK = (
    update(schedules)
    .where(
        schedules.c.function == bindparam("b_function"),
        schedules.c.since == bindparam("b_since"),
        schedules.c.marked < bindparam("b_due"),
    )
    .values(marked=bindparam("b_now"))
)
_RUN = _MARK.values(call=bindparam("b_call"), skipped=0)
_SKIPPED = _MARK.values(skipped=schedules.c.skipped + 1)
"""Made once: many schedules are due at the same moment."""


def add(new: StoredSchedule, function: Callable[[Connection], None]) -> Callable[[Connection], None]:
    """Record the schedule of a new function, together with the function."""

    def change(connection: Connection) -> None:
        function(connection)
        _insert(connection, new)

    return change


def _insert(connection: Connection, new: StoredSchedule) -> None:
    connection.execute(insert(schedules).values(**{**new._asdict(), "schedule": _text(new.schedule)}))


def replace(app: str, wanted: Mapping[str, dict[str, Any]], now: float) -> Callable[[Connection], list[StoredSchedule]]:
    """Have the functions of an app have these schedules; return them. A Period begins anew, a Cron goes on."""
    theirs = select(schedules).join(functions).where(functions.c.app == app)

    def change(connection: Connection) -> list[StoredSchedule]:
        known = {row.function: row.schedule for row in connection.execute(theirs)}
        gone = known.keys() - wanted.keys()
        connection.execute(delete(schedules).where(schedules.c.function.in_(gone)))
        for function, schedule in wanted.items():
            text = _text(schedule)
            if function not in known:
                _insert(connection, StoredSchedule.begin(function, schedule, now))
            elif known[function] != text or "period" in schedule:
                anew = {"schedule": text, "since": now, "marked": now, "skipped": 0}
                connection.execute(update(schedules).where(schedules.c.function == function).values(**anew))
        return [_stored(row) for row in connection.execute(theirs)]

    return change


def everything(connection: Connection) -> list[StoredSchedule]:
    """Return all schedules of apps that run."""
    statement = select(schedules).join_from(schedules, functions).join_from(functions, apps)
    return [_stored(row) for row in connection.execute(statement.where(apps.c.ended_at.is_(None)))]


def mark(function: str, since: float, due: float, now: float, call: str | None) -> Callable[[Connection], bool]:
    """Record that what was due up to now is dealt with, by a run or by none. False, and nothing is recorded, if it was
    already, or the schedule is another one now.
    """
    statement = _SKIPPED if call is None else _RUN
    values = {"b_function": function, "b_since": since, "b_due": due, "b_now": now}
    if call is not None:
        values["b_call"] = call
    return lambda connection: connection.execute(statement, values).rowcount == 1


def begin_anew(function: str, since: float) -> Callable[[Connection], None]:
    """Record that a schedule begins at another time than it did: its mark was made by a wrong clock."""
    statement = update(schedules).where(schedules.c.function == function).values(since=since, marked=since)

    def change(connection: Connection) -> None:
        connection.execute(statement)

    return change


def note_run(function: str, call: str) -> Callable[[Connection], bool]:
    """Record a run that nothing was due for; False if the function has no schedule any longer."""
    statement = update(schedules).where(schedules.c.function == function).values(call=call, skipped=0)
    return lambda connection: connection.execute(statement).rowcount == 1


def last_runs(of: Sequence[str]) -> Callable[[Connection], list[LastRun]]:
    """Return the last runs of functions, of those that had one."""
    columns = (
        schedules.c.function,
        schedules.c.call,
        calls.c.created_at,
        inputs.c.finished_at,
        inputs.c.status,
        inputs.c.call.is_not(None),
    )
    statement = (
        select(*columns)
        .outerjoin(calls, calls.c.id == schedules.c.call)
        .outerjoin(inputs, and_(inputs.c.call == schedules.c.call, inputs.c.position == 0))
        .where(schedules.c.function.in_(list(of)), schedules.c.call.is_not(None))
    )
    return lambda connection: [LastRun._make(row) for row in connection.execute(statement)]


def _stored(row: Any) -> StoredSchedule:
    return StoredSchedule(row.function, json.loads(row.schedule), row.since, row.marked, row.call, row.skipped)


def _text(schedule: dict[str, Any]) -> str:
    return json.dumps(schedule, sort_keys=True)
