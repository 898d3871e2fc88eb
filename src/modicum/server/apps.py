"""How long apps live: with a client, or until their work has ended (detached), or until they are stopped (deployed)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from modicum.server.backlog import ENDED, Backlog
from modicum.server.core import events as ev
from modicum.server.deliveries import Deliveries
from modicum.server.fleet import Fleet
from modicum.server.log_segments import Entry
from modicum.server.logs import Logs
from modicum.server.records import App, Function
from modicum.server.settings import Settings
from modicum.server.specs import spec_of
from modicum.server.versions import Change
from modicum.stores import calls as stored_calls
from modicum.stores import queries
from modicum.stores import schedules as stored_schedules
from modicum.stores.database import Database
from modicum.stores.schedules import StoredSchedule
from modicum.wire.channel import Channel, RemoteFailure

log = logging.getLogger("modicum.apps")

DRAFT_LOG_KEPT_S = 60.0
"""What the building of a draft said can be read for so long after it."""

NO_NETWORK = "no network"
"""How a node's sentence begins whose containers reach nothing."""

LOOK_EVERY_S = 1.0
"""How often at least it is looked whether a detached app still works; what ends without a container is not told."""


class Apps:
    """All running apps."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        fleet: Fleet,
        deliveries: Deliveries,
        logs: Logs,
        backlog: Backlog,
    ) -> None:
        self._settings = settings
        self._database = database
        self._fleet = fleet
        self._deliveries = deliveries
        self._logs = logs
        self._backlog = backlog
        self.by_id: dict[str, App] = {}
        self.deployed: dict[str, App] = {}  # by name
        self._by_key: dict[str, App] = {}
        self.scheduled: Callable[[list[StoredSchedule]], None] = lambda schedules: None
        self.redefined: Callable[[Function, bool], None] = lambda function, recreate: None
        self.variants: dict[str, list[str]] = {}  # of each function that has any, the newest last

    async def create(self, name: str, key: str, detached: bool, tags: dict[str, str], draft: bool = False) -> App:
        """Return the app of a key, made now if there is none. A draft is of this server alone."""
        app = self._by_key.get(key)
        if app is None:
            app = App(new_app_id(), name, key, detached, tags, draft=draft)
            self.take_in(app)
            if not draft:
                await self._database.submit(self.adding(app))
        return app

    async def look_up(self, name: str) -> App:
        """Return the deployed app of a name, an empty one made now if there is none."""
        app = self.deployed.get(name)
        if app is None:
            app = deployed_app(name, {})
            self.take_in(app)
            await self._database.submit(self.adding(app))
        return app

    def adding(self, app: App) -> Callable[[Any], None]:
        """Return the change of the store that records an app."""
        isolated = self._settings.isolated
        return queries.add_app(app.id, app.name, app.key, app.detached, app.tags, isolated, time.time(), app.deployed)

    def take_in(self, app: App) -> None:
        """Let an app be found. The clients of one that is not deployed have a while to come (back)."""
        self.by_id[app.id] = app
        self._by_key[app.key] = app
        self._logs.open(app.id, "" if app.draft else app.name)
        if app.deployed:
            self.deployed[app.name] = app
        else:
            self._reap_later(app, self._settings.reattach_grace_s)

    async def warn(self, app_id: str, notice: str) -> None:
        """Tell an app's user, once, what the engine has to say, and whether containers have a network."""
        app = self.get(app_id)
        await self._fleet.any_node()
        networks = {str(facts.get("network", "")) for facts in self._fleet.node_facts.values()}
        said = [notice, *sorted(text for text in networks if text.startswith(NO_NETWORK))]
        lines = "".join(f"modicum: {text}\n" for text in said if text)
        if lines and not app.warned:
            self._logs.append(app_id, [Entry("stderr", "modicum", lines.encode())])
        app.warned = True

    def claim(self, app_id: str, layers: list[str]) -> None:
        """An app needs these layers, from now on to its end."""
        if app_id in self.by_id:
            self.by_id[app_id].layers.update(layers)

    def attach(self, app_id: str, channel: Channel) -> None:
        """Keep an app alive while a connection lasts."""
        app = self.get(app_id)
        app.attached.add(channel)
        for waiting in (app.reaper, app.watch):
            if waiting is not None:
                waiting.cancel()
        app.reaper = app.watch = None

    def detach(self, channel: Channel) -> None:
        """A connection has ended; an app without any gets a short grace, for a client that reconnects."""
        for app in self.by_id.values():
            if channel in app.attached:
                app.attached.discard(channel)
                if not app.attached and not app.deployed:
                    self._reap_later(app, self._settings.client_grace_s)

    def _reap_later(self, app: App, grace_s: float) -> None:
        app.reaper = asyncio.get_running_loop().call_later(grace_s, self._client_is_gone, app)

    def _client_is_gone(self, app: App) -> None:
        if not app.detached:
            _ = self._begin_stop(app, "its client is gone")
        elif app.watch is None and app.stopping is None:
            app.watch = asyncio.ensure_future(self._watch(app))  # its parent is the app's record

    def leave(self, app_id: str) -> None:
        """The client of a detached app wants no more of it; an app that has ended is no error."""
        app = self.by_id.get(app_id)
        if app is None:
            return
        if not app.detached:
            raise RemoteFailure("invalid", f"the app {app_id} is not detached: it ends with its client")
        app.attached.clear()
        self._client_is_gone(app)

    async def _watch(self, app: App) -> None:
        """End a detached app once nothing of it waits or runs, and its containers have idled out."""
        while self._works(app):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._fleet.wait_change()
        _ = self._begin_stop(app, "it is detached, and its work has ended")

    def _works(self, app: App) -> bool:
        functions = set(self.functions_of(app))
        if any(container.app == app.id for container in self._fleet.containers.values()):
            return True
        if any(self._backlog.pending(function) for function in functions):
            return True
        return any(call.open for call in self._deliveries.calls.values() if call.function in functions)

    # -- functions -----------------------------------------------------------------------------------------

    async def create_function(self, app_id: str, name: str, definition: dict[str, Any], serialized: bytes) -> Function:
        """Make a function callable; making it again is harmless. One of a draft only waits to be published."""
        app = self.get(app_id)
        function = Function(f"fu-{os.urandom(11).hex()}", app_id, name, definition, serialized)
        if app.draft:
            app.drafted[name] = function
            return function
        known = app.functions.get(name)
        if known is not None:
            return self._fleet.functions[known]
        self.take_in_function(function)
        row = queries.add_function(function.id, app_id, name, definition, serialized)
        schedule = definition["options"].get("schedule")
        if schedule is None:
            await self._database.submit(row)
        else:
            scheduled = StoredSchedule.begin(function.id, schedule, time.time())
            await self._database.submit(stored_schedules.add(scheduled, row))
            self.scheduled([scheduled])
        return function

    def take_in_function(self, function: Function, recreate: bool = False) -> None:
        """Let a function be called, or be called as it is now. One that stays at a version is found by that alone."""
        app = self.by_id[function.app]
        if function.parent is None:  # a variant is found by its id alone
            named = app.functions if function.pinned is None else app.pinned.setdefault(function.pinned, {})
            named[function.name] = function.id
        self._fleet.functions[function.id] = function
        self._fleet.on_event(ev.FunctionAdded(spec_of(function), recreate))

    def named_functions(self, app: App) -> dict[str, Function]:
        """Return what the functions of an app are now, by name."""
        return {name: self._fleet.functions[function] for name, function in app.functions.items()}

    def pinned_functions(self, app: App, version: int) -> dict[str, Function]:
        """Return the functions that stay at a version of an app, by name; none if nobody has asked for it."""
        return {name: self._fleet.functions[function] for name, function in app.pinned.get(version, {}).items()}

    def callable_from(self, function: Function) -> dict[str, Function]:
        """Return the functions of its own app as a container of a function sees them: those of the same version."""
        app = self.by_id[function.app]
        return self.named_functions(app) if function.pinned is None else self.pinned_functions(app, function.pinned)

    def functions_of(self, app: App) -> list[str]:
        """Return the ids of an app's functions, also of those that stay at a version, each followed by its variants."""
        functions = (app.functions, *app.pinned.values())
        return self.with_variants(function for each in functions for function in each.values())

    def with_variants(self, functions: Iterable[str]) -> list[str]:
        """Return the ids of functions, each followed by its variants."""
        found = []
        for function in functions:
            found += [function, *self.variants.get(function, ())]
        return found

    def put_in_place(self, app: App, change: Change, recreate: bool, why_removed: str) -> None:
        """Have an app's functions be what was published. Containers follow: at once, or as those of the new come."""
        for name in change.removed:
            self.take_out(self.with_variants([app.functions.pop(name)]), why_removed)
        for name in (*change.added, *change.replaced):
            self.take_in_function(change.functions[name], recreate)
        for name in change.replaced:
            self.redefined(change.functions[name], recreate)
        for each in self.functions_of(app):
            function = self._fleet.functions[each]
            if function.overrides:  # what its autoscaler was told is over, also if it did not change
                self.take_in_function(replace(function, overrides={}), recreate)

    def take_out(self, functions: list[str], why: str) -> None:
        """Nobody calls these any longer: who waits for them is told why, their containers end."""
        for function in functions:
            self._fleet.on_event(ev.FunctionRemoved(function, why))
        self._forget(functions, why)

    def _forget(self, functions: list[str], why: str) -> None:
        self._deliveries.settle()  # what their callers are told leaves before their calls are forgotten
        for function in functions:
            self._fleet.functions.pop(function, None)
            self.variants.pop(function, None)
        self._backlog.end(functions, why)

    # -- the end -------------------------------------------------------------------------------------------

    async def stop(self, app_id: str) -> None:
        """End an app; returns when its containers have gone. Harmless if it has ended."""
        app = self.by_id.get(app_id)
        if app is not None:
            await asyncio.shield(self._begin_stop(app, "it was stopped"))

    def _begin_stop(self, app: App, reason: str) -> asyncio.Task[None]:
        if app.stopping is None:
            log.info("app stops", extra={"app": app.id, "why": reason})
            if app.watch is not None and app.watch is not asyncio.current_task():
                app.watch.cancel()
            if self.deployed.get(app.name) is app:
                del self.deployed[app.name]  # its name is free from now on
            app.stopping = asyncio.ensure_future(self._stop(app))  # its parent is the app's record
        return app.stopping

    async def _stop(self, app: App) -> None:
        functions = self.functions_of(app)
        for function in functions:
            self._fleet.on_event(ev.FunctionRemoved(function))
        while any(container.app == app.id for container in self._fleet.containers.values()):
            await self._fleet.wait_change()
        self._forget(functions, ENDED)
        self._logs.finish(app.id)
        del self.by_id[app.id], self._by_key[app.key]
        if app.draft:
            asyncio.get_running_loop().call_later(DRAFT_LOG_KEPT_S, self._logs.remove, app.id)
        else:
            await self._database.submit(stored_calls.end_app(app.id, time.time()))

    def get(self, app_id: str) -> App:
        """Return a running app. Raises `RemoteFailure` if it has ended."""
        app = self.by_id.get(app_id)
        if app is None or app.stopping is not None:
            raise RemoteFailure("not_found", f"the app {app_id} does not run any longer")
        return app


def new_app_id() -> str:
    """Return an id that no app has."""
    return f"ap-{os.urandom(11).hex()}"


def deployed_app(name: str, tags: dict[str, str]) -> App:
    """Return a new app that lives until it is stopped."""
    app_id = new_app_id()
    return App(app_id, name, app_id, tags=tags, deployed=True)
