"""How long apps live: while one of their clients is connected, and detached ones until their work has ended."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from typing import Any

from modicum.server.backlog import Backlog
from modicum.server.core import events as ev
from modicum.server.deliveries import Deliveries
from modicum.server.fleet import Fleet
from modicum.server.log_segments import Entry
from modicum.server.logs import Logs
from modicum.server.records import App, Function
from modicum.server.settings import Settings
from modicum.server.specs import spec_of
from modicum.stores import calls as stored_calls
from modicum.stores import queries
from modicum.stores.database import Database
from modicum.wire.channel import Channel, RemoteFailure

log = logging.getLogger("modicum.apps")

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
        self._by_key: dict[str, App] = {}
        self.variants: dict[str, list[str]] = {}  # of each function that has any, the newest last

    async def create(self, name: str, key: str, detached: bool, tags: dict[str, str]) -> App:
        """Return the app of a key, made now if there is none."""
        app = self._by_key.get(key)
        if app is None:
            app = App(f"ap-{os.urandom(11).hex()}", name, key, detached, tags)
            self._take_in(app)
            self._reap_later(app, self._settings.reattach_grace_s)
            isolated = self._settings.isolated
            await self._database.submit(queries.add_app(app.id, name, key, detached, tags, isolated, time.time()))
        return app

    def restore(self, app: App) -> None:
        """Take in an app that ran when the last server ended; its clients have a while to come back."""
        self._take_in(app)
        self._reap_later(app, self._settings.reattach_grace_s)

    def _take_in(self, app: App) -> None:
        self.by_id[app.id] = app
        self._by_key[app.key] = app
        self._logs.open(app.id, app.name)

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
                if not app.attached:
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

    async def create_function(self, app_id: str, name: str, definition: dict[str, Any], serialized: bytes) -> Function:
        """Make a function callable; making it again is harmless."""
        app = self.get(app_id)
        known = app.functions.get(name)
        if known is not None:
            return self._fleet.functions[known]
        function = Function(f"fu-{os.urandom(11).hex()}", app_id, name, definition, serialized)
        spec = spec_of(function)
        app.functions[name] = function.id
        self._fleet.functions[function.id] = function
        self._fleet.on_event(ev.FunctionAdded(spec))
        await self._database.submit(queries.add_function(function.id, app_id, name, definition, serialized))
        return function

    def restore_function(self, function: Function) -> None:
        """Take in a function of a restored app."""
        if function.parent is None:
            self.by_id[function.app].functions[function.name] = function.id
        self._fleet.functions[function.id] = function
        self._fleet.on_event(ev.FunctionAdded(spec_of(function)))

    def functions_of(self, app: App) -> list[str]:
        """Return the ids of an app's functions, each followed by its variants."""
        found = []
        for function in app.functions.values():
            found += [function, *self.variants.get(function, ())]
        return found

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
            app.stopping = asyncio.ensure_future(self._stop(app))  # its parent is the app's record
        return app.stopping

    async def _stop(self, app: App) -> None:
        functions = self.functions_of(app)
        for function in functions:
            self._fleet.on_event(ev.FunctionRemoved(function))
        while any(container.app == app.id for container in self._fleet.containers.values()):
            await self._fleet.wait_change()
        self._deliveries.settle()  # what its callers are told leaves before their calls are forgotten
        for function in functions:
            self._fleet.functions.pop(function, None)
            self.variants.pop(function, None)
        self._backlog.end(functions)
        self._logs.finish(app.id)
        del self.by_id[app.id], self._by_key[app.key]
        await self._database.submit(stored_calls.end_app(app.id, time.time()))

    def get(self, app_id: str) -> App:
        """Return an app that runs. Raises `RemoteFailure` if it does not."""
        app = self.by_id.get(app_id)
        if app is None or app.stopping is not None:
            raise RemoteFailure("not_found", f"the app {app_id} does not run any longer")
        return app
