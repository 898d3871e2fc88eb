"""How a version of an app takes the place of the one before: durably and all at once, or not at all."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection

from modicum.server.apps import Apps, deployed_app
from modicum.server.records import App, Function
from modicum.server.versions import RECREATE, Change, compare, digest, function_id, pinned, schedules_of
from modicum.stores import schedules as stored_schedules
from modicum.stores import versions
from modicum.stores.database import Database
from modicum.stores.schedules import StoredSchedule
from modicum.stores.versions import FunctionRow, Replacement, StoredVersion
from modicum.wire.channel import RemoteFailure

log = logging.getLogger("modicum.publishing")


@dataclass(frozen=True, slots=True)
class Author:
    """Who publishes, with what, how. A request that is repeated has the same key."""

    key: str
    by: str
    client: str
    strategy: str
    tag: str = ""
    origin: str = "deploy"


@dataclass(frozen=True, slots=True)
class Published:
    """What an app is now, and whether that is something new."""

    app: App
    changed: bool


class Publishing:
    """Versions of apps, made one after the other."""

    def __init__(self, apps: Apps, database: Database, versions_kept: int) -> None:
        self._apps = apps
        self._database = database
        self._kept = versions_kept
        self._turn = asyncio.Lock()
        self.check: Callable[[dict[str, Any]], None] = lambda definition: None
        self.scheduled: Callable[[App, list[StoredSchedule]], None] = lambda app, schedules: None

    async def publish(self, draft_id: str, name: str | None, app_id: str | None, author: Author) -> Published:
        """Put a draft's functions in the place of those of the deployed app `name`, or of a running app."""
        async with self._turn:
            draft = self._apps.get(draft_id)
            if not draft.draft:
                raise RemoteFailure("invalid", f"the app {draft_id} runs; only what was built for is published")
            if name is None:
                return await self._replace(self._apps.get(str(app_id)), draft.drafted, draft.tags, author)
            app = self._apps.deployed.get(name)
            if app is None:
                app = deployed_app(name, draft.tags)
            elif author.key and (await self._newest(app)).key == author.key:
                return Published(app, True)  # its answer was lost
            return await self._replace(app, draft.drafted, draft.tags, author)

    async def roll_back(self, app: App, number: int | None, author: Author) -> Published:
        """Publish an earlier version again, by default the one before the present one."""
        async with self._turn:
            wanted = app.version - 1 if number is None else number
            if wanted == app.version:
                raise RemoteFailure(
                    "invalid", f"version {wanted} is the present one of {app.name!r}; a rollover renews its containers"
                )
            version = await self._version(app, wanted)
            functions = await self._functions(app, version)
            for name, each in functions.items():
                self._check_kept(app, wanted, name, each)
            origin = f"rollback to v{wanted}"
            author = replace(author, tag=version.tag, origin=origin)
            return await self._replace(app, functions, version.tags, author, always=True)

    async def roll_over(self, app: App, author: Author) -> Published:
        """Publish the present version again, so that all its containers are replaced."""
        async with self._turn:
            present = self._apps.named_functions(app)
            author = replace(author, tag=(await self._newest(app)).tag, origin="rollover")
            return await self._replace(app, present, app.tags, author, always=True, renew=True)

    async def pin(self, app: App, number: int) -> dict[str, Function]:
        """Return the functions of a version, each with containers of its own; made now if there are none."""
        async with self._turn:
            known = self._apps.pinned_functions(app, number)
            if known:
                return known
            version = await self._version(app, number)
            found = await self._functions(app, version)
            made = {
                name: pinned(function_id(app.id, name), app.id, name, number, (each.definition, each.serialized))
                for name, each in found.items()
            }
            rows = [_row(name, each) for name, each in made.items()]
            await self._database.submit(versions.put_functions(app.id, rows))
            for each in made.values():
                self._apps.take_in_function(each)
            return made

    async def history(self, app_id: str) -> list[StoredVersion]:
        """Return the versions of an app, the newest first."""
        return await self._database.submit(versions.history(app_id))

    # -- one turn ------------------------------------------------------------------------------------------

    async def _replace(
        self,
        app: App,
        wanted: Mapping[str, Function],
        tags: dict[str, str],
        author: Author,
        *,
        always: bool = False,
        renew: bool = False,
    ) -> Published:
        number = app.version + 1
        change = compare(app.id, self._apps.named_functions(app), wanted, number, renew)
        if not always and change.is_empty and app.version > 0 and not await self._is_retagged(app, tags, author.tag):
            return Published(app, False)
        why = f"version {number} of the app {app.name!r} was published without this function"
        schedules = await self._store(app, number, tags, change, author, why)
        if app.stopping is not None:
            raise RemoteFailure("conflict", f"the app {app.name!r} was stopped meanwhile")
        if app.id not in self._apps.by_id:
            self._apps.take_in(app)
        app.version, app.tags = number, tags
        self._apps.put_in_place(app, change, author.strategy == RECREATE, why)
        self.scheduled(app, schedules)
        log.info("published", extra={"app": app.id, "version": number, "why": author.origin})
        return Published(app, True)

    async def _is_retagged(self, app: App, tags: dict[str, str], tag: str) -> bool:
        """Whether the same functions come under other tags. No tag of the version itself asks for nothing."""
        return tags != app.tags or (bool(tag) and (await self._newest(app)).tag != tag)

    async def _store(
        self, app: App, number: int, tags: dict[str, str], change: Change, author: Author, why: str
    ) -> list[StoredSchedule]:
        rows = [_row(name, each) for name, each in change.functions.items()]
        now = time.time()
        version = StoredVersion(
            number=number,
            key=author.key,
            created_at=now,
            created_by=author.by,
            client=author.client,
            strategy=author.strategy,
            origin=author.origin,
            tag=author.tag,
            tags=tags,
            functions={row.name: row.digest for row in rows},
        )
        replacement = Replacement(
            app=app.id,
            number=number,
            tags=tags,
            functions=rows,
            changed=frozenset(change.functions[name].id for name in (*change.added, *change.replaced)),
            removed=self._apps.with_variants(app.functions[name] for name in change.removed),
            why_removed=why,
            version=version if app.deployed else None,
            kept=self._kept,
        )
        replace = versions.replace_functions(replacement, now)
        begin = None if app.id in self._apps.by_id else self._apps.adding(app)
        schedule = stored_schedules.replace(app.id, schedules_of(change.functions.values()), now)

        def change_all(connection: Connection) -> tuple[set[str], list[StoredSchedule]]:
            if begin is not None:
                begin(connection)
            return replace(connection), schedule(connection)

        app.images, schedules = await self._database.submit(change_all)
        return schedules

    async def _newest(self, app: App) -> StoredVersion:
        found = await self._database.submit(versions.history(app.id, 1))
        return found[0] if found else StoredVersion(0, "", 0.0, "", "", "", "", "", {}, {})

    async def _version(self, app: App, number: int) -> StoredVersion:
        found = await self.history(app.id)
        for version in found:
            if version.number == number:
                return version
        has = f"its versions are {found[-1].number} to {found[0].number}" if found else "it has none"
        raise RemoteFailure("not_found", f"the app {app.name!r} has no version {number}; {has}")

    async def _functions(self, app: App, version: StoredVersion) -> dict[str, Function]:
        """Return what the functions of a version were."""
        stored = await self._database.submit(versions.definitions(app.id, version.functions.values()))
        if any(each not in stored for each in version.functions.values()):
            raise RemoteFailure(
                "not_found",
                f"version {version.number} of the app {app.name!r} is not kept any longer: the newest {self._kept} are",
            )
        return {name: Function("", app.id, name, *stored[each]) for name, each in version.functions.items()}

    def _check_kept(self, app: App, number: int, name: str, function: Function) -> None:
        try:
            self.check(function.definition)
        except (KeyError, ValueError, RemoteFailure) as error:
            message = f"{name!r} of version {number} of the app {app.name!r} cannot run any longer: {error}"
            raise RemoteFailure("not_found", f"{message}; deploy that version's source anew") from None


def _row(name: str, function: Function) -> FunctionRow:
    return FunctionRow(
        function.id,
        name,
        digest(function),
        function.definition,
        function.serialized,
        function.generation,
        function.pinned,
    )
