"""What is asked of the store about spawned calls, their inputs and their outputs; the same for every database.

A spawned input is a row from before its caller is answered until its output has been kept for its time. All that is
done to rows is done so that doing it twice is harmless, and the first output stays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import (
    Connection,
    and_,
    bindparam,
    delete,
    exists,
    func,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from modicum.stores.schema import app_definitions, apps, calls, functions, inputs, schedules
from modicum.wire.messages import TERMINATED

EXPIRED_AT_ONCE = 10_000
"""So many outputs are forgotten in one transaction: others wait for the writing thread."""


class StoredCall(NamedTuple):
    """A spawned call. `inputs` says how many it has at least."""

    id: str
    function: str
    method: str | None
    parent: str | None
    created_at: float
    inputs: int


class StoredInput(NamedTuple):
    """A spawned input without an output. Its number orders it among all inputs."""

    number: int
    call: str
    position: int
    function: str
    payload: bytes
    blob: str | None


class LoadedInput(NamedTuple):
    """A spawned input as it comes back from the store."""

    number: int
    call: str
    position: int
    payload: bytes
    blob: str | None
    failures: int
    method: str | None
    parent: str | None


class NewOutput(NamedTuple):
    """How a spawned input ended."""

    call: str
    position: int
    status: str
    payload: bytes
    blob: str | None
    now: float
    container: str | None
    run_s: float | None
    plain: bool = False


class StoredOutput(NamedTuple):
    """What became of a spawned input; `status` is None while it has no output."""

    position: int
    status: str | None
    payload: bytes
    blob: str | None
    plain: bool = False


class Facts(NamedTuple):
    """What there is to say of a call."""

    function: str
    name: str
    app: str
    method: str | None
    parent: str | None
    created_at: float
    inputs: int


class Listed(NamedTuple):
    """An input in a list of calls."""

    function: str
    call: str
    position: int
    method: str | None
    created_at: float
    status: str | None
    finished_at: float | None
    container: str | None
    run_s: float | None


_NAMED = and_(inputs.c.call == bindparam("b_call"), inputs.c.position == bindparam("b_position"))
_OUTPUT = (
    update(inputs)
    .where(_NAMED, inputs.c.status.is_(None))
    .values(
        status=bindparam("b_status"),
        output=bindparam("b_payload"),
        output_blob=bindparam("b_blob"),
        finished_at=bindparam("b_now"),
        container=bindparam("b_container"),
        run_s=bindparam("b_run_s"),
        plain=bindparam("b_plain"),
        payload=b"",
        blob=None,
    )
)
_FAILURES = update(inputs).where(_NAMED).values(failures=bindparam("b_failures"))


class _Inserts:
    """Insertions that leave alone what is there; they are written alike for both databases, and made once."""

    def __init__(self, dialect: Any) -> None:
        call = dialect.insert(calls)
        self.call = call.on_conflict_do_update(
            index_elements=[calls.c.id],
            set_={"inputs": call.excluded.inputs},
            where=and_(calls.c.inputs < call.excluded.inputs, calls.c.function == call.excluded.function),
        )
        self.input = dialect.insert(inputs).on_conflict_do_nothing()


_INSERTS = {"sqlite": _Inserts(sqlite), "postgresql": _Inserts(postgresql)}


def add(new_calls: Sequence[StoredCall], rows: Sequence[StoredInput]) -> Callable[[Connection], set[tuple[str, int]]]:
    """Record spawned inputs, numbered without a gap, and their calls; return those that were known already.

    Raises `ValueError` if one of the calls is one of another function: its caller would be given what is added to it.
    """

    def change(connection: Connection) -> set[tuple[str, int]]:
        into = _INSERTS[connection.dialect.name]
        if connection.execute(into.call, [call._asdict() for call in new_calls]).rowcount < len(new_calls):
            _check_functions(connection, new_calls)
        if not rows:
            return set()
        if connection.execute(into.input, [row._asdict() for row in rows]).rowcount == len(rows):
            return set()
        ours = select(inputs.c.call, inputs.c.position).where(inputs.c.number.between(rows[0].number, rows[-1].number))
        return {(row.call, row.position) for row in rows} - {(call, index) for call, index in connection.execute(ours)}

    return change


def provided(
    condition: Callable[[Connection], bool],
    change: Callable[[Connection], set[tuple[str, int]]],
    rows: Sequence[StoredInput],
) -> Callable[[Connection], set[tuple[str, int]]]:
    """Have a change `add` rows only if another one says so, both or neither; else they count as known."""
    return lambda connection: change(connection) if condition(connection) else {(r.call, r.position) for r in rows}


def _check_functions(connection: Connection, named: Sequence[StoredCall]) -> None:
    query = select(calls.c.id, calls.c.function).where(calls.c.id.in_({call.id for call in named}))
    known = {row[0]: row[1] for row in connection.execute(query)}
    for call in named:
        if known[call.id] != call.function:
            raise ValueError(f"the call {call.id} is one of another function")


def last_number(connection: Connection) -> int:
    """Return the highest number that an input has."""
    return connection.execute(select(func.max(inputs.c.number))).scalar() or 0


def waiting(connection: Connection) -> dict[str, int]:
    """Return how many inputs of each function have no output."""
    counts = select(inputs.c.function, func.count()).where(inputs.c.status.is_(None)).group_by(inputs.c.function)
    return {row[0]: row[1] for row in connection.execute(counts)}


def load(function: str, after: int, count: int, bytes_max: int) -> Callable[[Connection], list[LoadedInput]]:
    """Return the oldest inputs of a function without an output that come after a number: one at least, if there is."""
    columns = (
        inputs.c.number,
        inputs.c.call,
        inputs.c.position,
        inputs.c.payload,
        inputs.c.blob,
        inputs.c.failures,
        calls.c.method,
        calls.c.parent,
    )
    statement = (
        select(*columns)
        .join(calls, calls.c.id == inputs.c.call)
        .where(inputs.c.function == function, inputs.c.status.is_(None), inputs.c.number > after)
        .order_by(inputs.c.number)
        .limit(count)
    )

    def query(connection: Connection) -> list[LoadedInput]:
        found: list[LoadedInput] = []
        size = 0
        with connection.execute(statement) as rows:
            for row in rows:
                found.append(LoadedInput._make(row))
                size += len(row.payload)
                if size >= bytes_max:
                    break
        return found

    return query


def finish(outputs: Sequence[NewOutput], function: str | None = None) -> Callable[[Connection], int]:
    """Record outputs and drop the inputs' payloads; the first output stays. Returns how many were the first.

    With a function, only outputs of its own inputs are recorded.
    """
    statement = _OUTPUT if function is None else _OUTPUT.where(inputs.c.function == function)
    values = [{f"b_{name}": value for name, value in each._asdict().items()} for each in outputs]
    return lambda connection: connection.execute(statement, values).rowcount


def count_failures(failed: Sequence[tuple[str, int, int]]) -> Callable[[Connection], None]:
    """Record of inputs (call, index) how often they have failed."""
    values = [{"b_call": call, "b_position": index, "b_failures": count} for call, index, count in failed]
    return lambda connection: _execute(connection, _FAILURES, values)


def terminate(condition: Any, text: str, now: float) -> Callable[[Connection], int]:
    """Let inputs end that have no output, `of_call` or `of_function`; return how many those were."""
    statement = (
        update(inputs)
        .where(condition, inputs.c.status.is_(None))
        .values(status=TERMINATED, output=text.encode(), finished_at=now, payload=b"", blob=None)
    )
    return lambda connection: connection.execute(statement).rowcount


def of_call(call: str) -> Any:
    """The inputs of a call."""
    return inputs.c.call == call


def of_functions(ids: Sequence[str]) -> Any:
    """The inputs of functions."""
    return inputs.c.function.in_(list(ids))


def outputs(call: str, first: int, count: int, bytes_max: int) -> Callable[[Connection], list[StoredOutput]]:
    """Return what became of inputs of a call, from the first on, up to the first one that has no output or no row.

    If that is the first of all, it is returned alone, with the status None, or nothing is.
    """
    statement = (
        select(inputs.c.position, inputs.c.status, inputs.c.output, inputs.c.output_blob, inputs.c.plain)
        .where(inputs.c.call == call, inputs.c.position >= first)
        .order_by(inputs.c.position)
        .limit(count)
    )

    def query(connection: Connection) -> list[StoredOutput]:
        found: list[StoredOutput] = []
        size = 0
        with connection.execute(statement) as rows:
            for index, status, payload, blob, plain in rows:
                size += len(payload or b"")
                ends = index != first + len(found) or status is None or size > bytes_max
                if ends and (found or index != first):
                    break
                found.append(StoredOutput(index, status, payload or b"", blob, plain))
                if ends:
                    break
        return found

    return query


def facts(call: str) -> Callable[[Connection], Facts | None]:
    """Return what there is to say of a call, None if there never was one, or long ago."""
    columns = (
        calls.c.function,
        functions.c.name,
        functions.c.app,
        calls.c.method,
        calls.c.parent,
        calls.c.created_at,
        calls.c.inputs,
    )
    statement = select(*columns).join(functions).where(calls.c.id == call)

    def query(connection: Connection) -> Facts | None:
        row = connection.execute(statement).first()
        return None if row is None else Facts._make(row)

    return query


def statuses(call: str, count: int) -> Callable[[Connection], list[tuple[int, str | None, str | None]]]:
    """Return the index, status and container of a call's first inputs."""
    columns = (inputs.c.position, inputs.c.status, inputs.c.container)
    statement = select(*columns).where(inputs.c.call == call).order_by(inputs.c.position).limit(count)
    return lambda connection: [(row[0], row[1], row[2]) for row in connection.execute(statement)]


def children(call: str, count: int) -> Callable[[Connection], list[str]]:
    """Return the calls that inputs of a call have made."""
    # A key is the call's id, a colon and a number; the semicolon is the character behind the colon.
    theirs = calls.c.parent.is_not(None), calls.c.parent >= f"{call}:", calls.c.parent < f"{call};"
    statement = select(calls.c.id).where(*theirs).order_by(calls.c.created_at).limit(count)
    return lambda connection: list(connection.execute(statement).scalars())


def ended_of(keys: Sequence[str]) -> Callable[[Connection], list[str]]:
    """Return which of these calls have an output of their first input, or no longer have that input."""
    open_ = select(inputs.c.call).where(inputs.c.call.in_(keys), inputs.c.position == 0, inputs.c.status.is_(None))

    def query(connection: Connection) -> list[str]:
        waits = set(connection.execute(open_).scalars())
        return [key for key in keys if key not in waits]

    return query


def recent(
    of: Sequence[str], count: int, since: float | None, until: float | None
) -> Callable[[Connection], list[Listed]]:
    """Return the inputs of functions' latest calls, the newest first, or those of a time, the oldest first."""
    columns = (
        calls.c.function,
        calls.c.id,
        inputs.c.position,
        calls.c.method,
        calls.c.created_at,
        inputs.c.status,
        inputs.c.finished_at,
        inputs.c.container,
        inputs.c.run_s,
    )
    statement = select(*columns).join(inputs).where(calls.c.function.in_(list(of))).limit(count)
    if since is None and until is None:
        statement = statement.order_by(calls.c.created_at.desc(), inputs.c.position.desc())
    else:
        statement = statement.order_by(calls.c.created_at, inputs.c.position)
    if since is not None:
        statement = statement.where(calls.c.created_at >= since)
    if until is not None:
        statement = statement.where(calls.c.created_at < until)
    return lambda connection: [Listed._make(row) for row in connection.execute(statement)]


def expire(before: float) -> Callable[[Connection], int]:
    """Forget outputs that came before a time, some at once; return how many that were."""
    old = select(inputs.c.number).where(inputs.c.finished_at.is_not(None), inputs.c.finished_at < before)
    statement = delete(inputs).where(inputs.c.number.in_(old.limit(EXPIRED_AT_ONCE)))
    return lambda connection: connection.execute(statement).rowcount


def forget_calls(before: float) -> Callable[[Connection], None]:
    """Forget calls that were made before a time and of which there is nothing left."""
    left = exists().where(inputs.c.call == calls.c.id)
    return lambda connection: _execute(connection, delete(calls).where(calls.c.created_at < before, ~left))


def blobs(connection: Connection) -> set[str]:
    """Return the blobs that spawned inputs and their outputs name."""
    with_blobs = inputs.c.blob.is_not(None) | inputs.c.output_blob.is_not(None)
    named = connection.execute(select(inputs.c.blob, inputs.c.output_blob).where(with_blobs)).all()
    return {blob for row in named for blob in row if blob}


def end_app(app: str, now: float) -> Callable[[Connection], None]:
    """Record that an app has ended; its functions' inputs have.

    What it spawned can be asked for until `queries.forget_ended`; the functions of one that has spawned nothing go now.
    """
    theirs = select(functions.c.id).where(functions.c.app == app)
    spawned = exists().where(calls.c.function.in_(theirs))

    def change(connection: Connection) -> None:
        if not connection.execute(select(spawned)).scalar():
            connection.execute(delete(functions).where(functions.c.app == app))
        connection.execute(delete(schedules).where(schedules.c.function.in_(theirs)))
        connection.execute(delete(app_definitions).where(app_definitions.c.app == app))
        connection.execute(update(apps).where(apps.c.id == app).values(ended_at=now, key=app))

    return change


def _execute(connection: Connection, statement: Any, values: Any = None) -> None:
    connection.execute(statement, values)
