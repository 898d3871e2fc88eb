"""What is kept of secrets: what they hold, encrypted, and when somebody last wanted them kept."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import NamedTuple

from sqlalchemy import Connection, delete, insert, select, update

from modicum.stores.schema import app_definitions, secrets


class StoredSecret(NamedTuple):
    """A secret. One without a name is of the functions that name its id, and goes when there are none."""

    id: str
    name: str | None
    content: bytes
    asked_at: float


def everything(connection: Connection) -> list[StoredSecret]:
    """Return all secrets."""
    columns = (secrets.c.id, secrets.c.name, secrets.c.content, secrets.c.asked_at)
    return [StoredSecret._make(row) for row in connection.execute(select(*columns))]


def add(secret: StoredSecret) -> Callable[[Connection], None]:
    """Record a secret; of one that is there, only when it was asked for."""

    def change(connection: Connection) -> None:
        known = connection.execute(update(secrets).where(secrets.c.id == secret.id).values(asked_at=secret.asked_at))
        if known.rowcount == 0:
            connection.execute(insert(secrets).values(**secret._asdict()))

    return change


def of_versions(connection: Connection) -> list[str]:
    """Return the definitions of kept versions that may name secrets."""
    named = app_definitions.c.definition.like('%"st-%')
    return list(connection.execute(select(app_definitions.c.definition).where(named)).scalars())


def remove(ids: Collection[str]) -> Callable[[Connection], None]:
    """Forget secrets."""

    def change(connection: Connection) -> None:
        connection.execute(delete(secrets).where(secrets.c.id.in_(ids)))

    return change
