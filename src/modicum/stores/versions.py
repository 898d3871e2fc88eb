"""What is kept of an app's versions: what each was made of, and who made it when."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from modicum.stores import calls
from modicum.stores.schema import app_definitions, app_versions, apps, functions


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """A version of a deployed app; `functions` maps their names to the digests of their definitions."""

    number: int
    key: str
    created_at: float
    created_by: str
    client: str
    strategy: str
    origin: str
    tag: str
    tags: dict[str, str]
    functions: dict[str, str]


@dataclass(frozen=True, slots=True)
class FunctionRow:
    """A function as it is from a version on."""

    id: str
    name: str
    digest: str
    definition: dict[str, Any]
    serialized: bytes
    generation: int
    pinned: int | None = None


@dataclass(frozen=True, slots=True)
class Replacement:
    """What a publication makes of an app: all its functions, and the ids of those that come, change, or go.

    `version` is None for apps that are not deployed: they have no history.
    """

    app: str
    number: int
    tags: dict[str, str]
    functions: list[FunctionRow]
    changed: frozenset[str]
    removed: list[str]
    why_removed: str
    version: StoredVersion | None
    kept: int


@dataclass(frozen=True, slots=True)
class AppFacts:
    """An app, running or ended."""

    id: str
    name: str
    created_at: float
    ended_at: float | None
    deployed: bool
    detached: bool
    version: int
    tags: dict[str, str]


def replace_functions(change: Replacement, now: float) -> Callable[[Connection], set[str]]:
    """Put functions in the place of an app's present ones; return the images that its kept versions are made of."""

    def apply(connection: Connection) -> set[str]:
        row = {"version": change.number, "tags": json.dumps(change.tags)}
        connection.execute(update(apps).where(apps.c.id == change.app).values(**row))
        put_functions(change.app, [each for each in change.functions if each.id in change.changed])(connection)
        # What autoscalers were told is forgotten.
        connection.execute(update(functions).where(functions.c.app == change.app).values(overrides="{}"))
        connection.execute(update(functions).where(functions.c.id.in_(change.removed)).values(removed=True))
        calls.terminate(calls.of_functions(change.removed), change.why_removed, now)(connection)
        if change.version is not None:
            _add_version(connection, change.app, change.version, change.functions)
            _forget_definitions(connection, change.app, change.kept)
        return _images(connection, change.app)

    return apply


def put_functions(app: str, rows: Iterable[FunctionRow]) -> Callable[[Connection], None]:
    """Record functions; those that are known become what these say."""

    def change(connection: Connection) -> None:
        for row in rows:
            values = {
                "app": app,
                "name": row.name,
                "definition": json.dumps(row.definition),
                "serialized": row.serialized,
                "generation": row.generation,
                "pinned": row.pinned,
                "removed": False,
            }
            changed = connection.execute(update(functions).where(functions.c.id == row.id).values(**values))
            if changed.rowcount == 0:
                connection.execute(insert(functions).values(id=row.id, **values))

    return change


def _add_version(connection: Connection, app: str, version: StoredVersion, rows: list[FunctionRow]) -> None:
    known = set(connection.scalars(select(app_definitions.c.digest).where(app_definitions.c.app == app)))
    for row in {row.digest: row for row in rows}.values():
        if row.digest not in known:
            definition = json.dumps(row.definition)
            values = {"app": app, "digest": row.digest, "definition": definition, "serialized": row.serialized}
            connection.execute(insert(app_definitions).values(**values))
    connection.execute(
        insert(app_versions).values(
            app=app,
            version=version.number,
            key=version.key,
            created_at=version.created_at,
            created_by=version.created_by,
            client=version.client,
            strategy=version.strategy,
            origin=version.origin,
            tag=version.tag,
            tags=json.dumps(version.tags),
            functions=json.dumps(version.functions),
        )
    )


def _forget_definitions(connection: Connection, app: str, kept: int) -> None:
    """Forget the definitions that none of the newest versions has."""
    newest = history(app, kept)(connection)
    named = {digest for version in newest for digest in version.functions.values()}
    mine = app_definitions.c.app == app
    connection.execute(delete(app_definitions).where(mine, app_definitions.c.digest.not_in(named)))


def _images(connection: Connection, app: str) -> set[str]:
    rows = connection.scalars(select(app_definitions.c.definition).where(app_definitions.c.app == app))
    return {json.loads(row)["image"] for row in rows}


def images_kept(connection: Connection) -> dict[str, set[str]]:
    """Return the images of the kept versions of each app."""
    found: dict[str, set[str]] = {}
    for row in connection.execute(select(app_definitions.c.app, app_definitions.c.definition)):
        found.setdefault(row.app, set()).add(json.loads(row.definition)["image"])
    return found


def history(app: str, limit: int | None = None) -> Callable[[Connection], list[StoredVersion]]:
    """Return the versions of an app, the newest first."""
    statement = select(app_versions).where(app_versions.c.app == app).order_by(app_versions.c.version.desc())

    def query(connection: Connection) -> list[StoredVersion]:
        return [_version(row) for row in connection.execute(statement.limit(limit))]

    return query


def _version(row: Any) -> StoredVersion:
    return StoredVersion(
        row.version,
        row.key,
        row.created_at,
        row.created_by,
        row.client,
        row.strategy,
        row.origin,
        row.tag,
        json.loads(row.tags),
        json.loads(row.functions),
    )


def definitions(app: str, digests: Iterable[str]) -> Callable[[Connection], dict[str, tuple[dict[str, Any], bytes]]]:
    """Return the definitions of an app that have these digests, as far as they are kept."""
    mine = app_definitions.c.app == app, app_definitions.c.digest.in_(list(digests))

    def query(connection: Connection) -> dict[str, tuple[dict[str, Any], bytes]]:
        rows = connection.execute(select(app_definitions).where(*mine))
        return {row.digest: (json.loads(row.definition), row.serialized) for row in rows}

    return query


def set_tags(app: str, tags: dict[str, str]) -> Callable[[Connection], None]:
    """Record an app's tags in the place of those that it had."""

    def change(connection: Connection) -> None:
        connection.execute(update(apps).where(apps.c.id == app).values(tags=json.dumps(tags)))

    return change


def app_facts(where: Any, limit: int | None = None) -> Callable[[Connection], list[AppFacts]]:
    """Return what is known of some apps, the newest first."""
    statement = select(apps).where(where).order_by(apps.c.created_at.desc()).limit(limit)

    def query(connection: Connection) -> list[AppFacts]:
        return [
            AppFacts(
                row.id,
                row.name,
                row.created_at,
                row.ended_at,
                row.deployed,
                row.detached,
                row.version,
                json.loads(row.tags),
            )
            for row in connection.execute(statement)
        ]

    return query


def app_by_id(app: str) -> Callable[[Connection], list[AppFacts]]:
    """Return the app with this id, if there is or was one."""
    return app_facts(apps.c.id == app)


def apps_by_name(name: str) -> Callable[[Connection], list[AppFacts]]:
    """Return the apps that have or had this name, the newest first."""
    return app_facts(apps.c.name == name)


def apps_ended(since: float, limit: int) -> Callable[[Connection], list[AppFacts]]:
    """Return apps that ended after a time, those that began last first."""
    return app_facts(apps.c.ended_at >= since, limit)


def apps_running(connection: Connection) -> list[AppFacts]:
    """Return the apps that have not ended."""
    return app_facts(apps.c.ended_at.is_(None))(connection)
