"""What is kept of functions with settings of their own, and of what the autoscaler was told."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, insert, update

from modicum.stores.schema import functions


def add_variant(
    variant: str, parent: str, app: str, name: str, settings: dict[str, Any], parameters: str | None
) -> Callable[[Connection], None]:
    """Record a variant of a function. It may have gone with its function, and come back with it."""
    row = {"parent": parent, "settings": json.dumps(settings), "parameters": parameters, "removed": False}
    empty = {"app": app, "name": name, "definition": "{}", "serialized": b""}

    def change(connection: Connection) -> None:
        known = connection.execute(update(functions).where(functions.c.id == variant).values(**row))
        if known.rowcount == 0:
            connection.execute(insert(functions).values(id=variant, **row, **empty))

    return change


def set_overrides(function: str, overrides: dict[str, Any]) -> Callable[[Connection], None]:
    """Record what the autoscaler was told of a function."""
    statement = update(functions).where(functions.c.id == function).values(overrides=json.dumps(overrides))
    return lambda connection: _execute(connection, statement)


def _execute(connection: Connection, statement: Any) -> None:
    connection.execute(statement)
