"""What is asked of the durable state but for calls, in the words of the server; the same for every database."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from modicum.stores.schema import apps, forced_layers, functions, images


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


@dataclass(frozen=True, slots=True)
class StoredFunction:
    """A function, or a variant of its `parent`, which has no definition of its own."""

    id: str
    app: str
    name: str
    definition: dict[str, Any]
    serialized: bytes
    generation: int = 0
    pinned: int | None = None
    parent: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    parameters: str | None = None
    overrides: dict[str, Any] = field(default_factory=dict)


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


def forget_ended(before: float) -> Callable[[Connection], None]:
    """Forget the apps that ended before a time, with their functions and the outputs of these."""
    return lambda c: _execute(c, delete(apps).where(apps.c.ended_at < before))


def add_function(
    function: str, app: str, name: str, definition: dict[str, Any], serialized: bytes
) -> Callable[[Connection], None]:
    """Record a function."""
    row = {"id": function, "app": app, "name": name, "definition": json.dumps(definition), "serialized": serialized}
    return lambda c: _execute(c, insert(functions).values(**row))


def stored_function(row: Any) -> StoredFunction:
    """Return a row of the functions' table."""
    return StoredFunction(
        id=row.id,
        app=row.app,
        name=row.name,
        definition=json.loads(row.definition),
        serialized=row.serialized,
        generation=row.generation,
        pinned=row.pinned,
        parent=row.parent,
        settings=json.loads(row.settings),
        parameters=row.parameters,
        overrides=json.loads(row.overrides),
    )


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


@dataclass(frozen=True, slots=True)
class Everything:
    """What a starting server reads."""

    apps: list[StoredApp]
    functions: list[StoredFunction]
    images: list[tuple[str, list[str], dict[str, Any]]]
    forced: dict[str, str]


def everything(connection: Connection) -> Everything:
    """Return all that a server needs to go on where the last one ended."""
    running = apps.c.ended_at.is_(None)
    theirs = select(functions).join(apps).where(running, functions.c.removed.is_(False))
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
        functions=[stored_function(row) for row in connection.execute(theirs)],
        images=[(row.id, json.loads(row.layers), json.loads(row.config)) for row in connection.execute(select(images))],
        forced={row.definition: row.nonce for row in connection.execute(select(forced_layers))},
    )


def _execute(connection: Connection, statement: Any) -> None:
    connection.execute(statement)
