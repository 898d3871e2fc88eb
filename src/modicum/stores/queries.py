"""What is asked of the durable state, in the words of the server; the same for every database."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, delete, insert, select, update

from modicum.stores.schema import app_definitions, apps, forced_layers, functions, images, inputs


@dataclass(frozen=True, slots=True)
class StoredInput:
    """A spawned input that has no output yet."""

    call: str
    index: int
    function: str
    payload: bytes
    blob: str | None


@dataclass(frozen=True, slots=True)
class StoredOutput:
    """What became of a spawned input; `status` is None while it has no output."""

    status: str | None
    payload: bytes
    blob: str | None
    function: str = ""


@dataclass(frozen=True, slots=True)
class StoredApp:
    """An app that runs."""

    id: str
    name: str
    key: str
    detached: bool
    tags: dict[str, str]
    isolated: bool
    deployed: bool = False
    version: int = 0


def add_app(
    app: str,
    name: str,
    key: str,
    detached: bool,
    tags: dict[str, str],
    isolated: bool,
    now: float,
    deployed: bool = False,
) -> Callable[[Connection], None]:
    """Record a running app."""
    row = {"id": app, "name": name, "key": key, "created_at": now, "detached": detached, "tags": json.dumps(tags)}
    return lambda c: _execute(c, insert(apps).values(**row, isolated=isolated, deployed=deployed))


def end_app(app: str, now: float, *, keep_outputs: bool) -> Callable[[Connection], None]:
    """Record that an app has ended; what is kept of it can be asked for until `forget_ended`, but not run again."""

    def change(connection: Connection) -> None:
        # Whoever made it may make another under the same key.
        connection.execute(update(apps).where(apps.c.id == app).values(ended_at=now, key=app))
        connection.execute(delete(app_definitions).where(app_definitions.c.app == app))
        if not keep_outputs:
            connection.execute(delete(functions).where(functions.c.app == app))

    return change


def forget_ended(before: float) -> Callable[[Connection], None]:
    """Forget the apps that ended before a time, with their functions and the outputs of these."""
    return lambda c: _execute(c, delete(apps).where(apps.c.ended_at < before))


def add_function(
    function: str, app: str, name: str, definition: dict[str, Any], serialized: bytes
) -> Callable[[Connection], None]:
    """Record a function."""
    row = {"id": function, "app": app, "name": name, "definition": json.dumps(definition), "serialized": serialized}
    return lambda c: _execute(c, insert(functions).values(**row))


def add_image(image: str, layers: list[str], config: dict[str, Any]) -> Callable[[Connection], None]:
    """Record a built image, again if need be."""

    def change(connection: Connection) -> None:
        connection.execute(delete(images).where(images.c.id == image))
        connection.execute(insert(images).values(id=image, layers=json.dumps(layers), config=json.dumps(config)))

    return change


def add_forced(nonces: dict[str, str]) -> Callable[[Connection], None]:
    """Record that the layers of these definitions, which map to nonces, were built anew."""

    def change(connection: Connection) -> None:
        connection.execute(delete(forced_layers).where(forced_layers.c.definition.in_(nonces)))
        connection.execute(insert(forced_layers), [{"definition": d, "nonce": n} for d, n in nonces.items()])

    return change


def remove_images(gone: list[str]) -> Callable[[Connection], None]:
    """Forget images whose layers are there no longer."""
    return lambda c: _execute(c, delete(images).where(images.c.id.in_(gone)))


def add_inputs(rows: list[StoredInput]) -> Callable[[Connection], set[int]]:
    """Record spawned inputs of one call; return the indices of those that were not known already."""

    def change(connection: Connection) -> set[int]:
        new: set[int] = set()
        for row in rows:
            where = and_(inputs.c.call == row.call, inputs.c.position == row.index)
            if connection.execute(select(inputs.c.number).where(where)).first() is None:
                values = {
                    "call": row.call,
                    "position": row.index,
                    "function": row.function,
                    "payload": row.payload,
                    "blob": row.blob,
                }
                connection.execute(insert(inputs).values(**values))
                new.add(row.index)
        return new

    return change


def add_output(
    call: str, index: int, status: str, payload: bytes, blob: str | None, now: float
) -> Callable[[Connection], None]:
    """Record a spawned input's output and drop its payload; the first output stays."""
    statement = (
        update(inputs)
        .where(inputs.c.call == call, inputs.c.position == index, inputs.c.status.is_(None))
        .values(status=status, output=payload, output_blob=blob, finished_at=now, payload=b"", blob=None)
    )
    return lambda c: _execute(c, statement)


def output(call: str, index: int) -> Callable[[Connection], StoredOutput | None]:
    """Return what became of an input, None if there never was such a one."""
    statement = select(inputs.c.status, inputs.c.output, inputs.c.output_blob, inputs.c.function).where(
        inputs.c.call == call, inputs.c.position == index
    )

    def query(connection: Connection) -> StoredOutput | None:
        row = connection.execute(statement).first()
        return None if row is None else StoredOutput(row[0], row[1] or b"", row[2], row[3])

    return query


@dataclass(frozen=True, slots=True)
class Everything:
    """What a starting server reads."""

    apps: list[StoredApp]
    functions: list[tuple[str, str, str, dict[str, Any], bytes, int, int | None]]
    images: list[tuple[str, list[str], dict[str, Any]]]
    forced: dict[str, str]
    inputs: list[StoredInput]


def everything(connection: Connection) -> Everything:
    """Return all that a server needs to go on where the last one ended."""
    running = apps.c.ended_at.is_(None)
    theirs = select(functions).join(apps).where(running, functions.c.removed.is_(False))
    ids = select(functions.c.id).join(apps).where(running)
    waiting = select(inputs).where(inputs.c.status.is_(None), inputs.c.function.in_(ids)).order_by(inputs.c.number)
    return Everything(
        apps=[
            StoredApp(
                row.id,
                row.name,
                row.key,
                row.detached,
                json.loads(row.tags),
                row.isolated,
                row.deployed,
                row.version,
            )
            for row in connection.execute(select(apps).where(running))
        ],
        functions=[
            (row.id, row.app, row.name, json.loads(row.definition), row.serialized, row.generation, row.pinned)
            for row in connection.execute(theirs)
        ],
        images=[(row.id, json.loads(row.layers), json.loads(row.config)) for row in connection.execute(select(images))],
        forced={row.definition: row.nonce for row in connection.execute(select(forced_layers))},
        inputs=[
            StoredInput(row.call, row.position, row.function, row.payload, row.blob)
            for row in connection.execute(waiting)
        ],
    )


def blobs(connection: Connection) -> set[str]:
    """Return the blobs that spawned inputs and their outputs name."""
    named = connection.execute(select(inputs.c.blob, inputs.c.output_blob)).all()
    return {blob for row in named for blob in row if blob}


def _execute(connection: Connection, statement: Any) -> None:
    connection.execute(statement)
