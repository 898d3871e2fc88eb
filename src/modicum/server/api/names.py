"""What does a name or an id stand for? Apps that there are and were, and their functions."""

from __future__ import annotations

import os
import pwd
from typing import Any

from modicum.server import lookups
from modicum.server.api.calls import may_reach
from modicum.server.api.fields import whole
from modicum.server.api.functions import shown
from modicum.server.parts import Parts
from modicum.server.records import App, Function
from modicum.stores import versions
from modicum.stores.versions import AppFacts
from modicum.wire.channel import Answer, Channel, RemoteFailure
from modicum.wire.frames import Header
from modicum.wire.messages import CONTAINER


async def look_up(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """Find an app: a deployed one by its name, any that there is or was by its id; for a container, its own alone."""
    wanted, create = str(header["app"]), bool(header.get("create", False))
    if create and channel.principal == CONTAINER:
        raise RemoteFailure("permission_denied", "a container makes no apps")
    if channel.principal == CONTAINER:
        return _facts(_app_to_call(parts, channel, wanted))
    if not create:
        return _facts(await _any_app(parts, wanted, of_name=parts.apps.deployed.get(wanted)))
    app = await parts.apps.look_up(wanted)
    return _facts(app)


async def _any_app(parts: Parts, wanted: str, of_name: App | None) -> App | AppFacts:
    app = of_name or parts.apps.by_id.get(wanted)
    if app is not None and not app.draft:
        return app
    if wanted.startswith("ap-"):
        stored = await parts.database.submit(versions.app_by_id(wanted))
        if stored:
            return stored[0]
        raise RemoteFailure("not_found", f"there is no app with the id {wanted}")
    raise lookups.no_app(wanted, parts.apps.deployed)


async def info(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """Tell of an app, by its name or id, what there is to tell. One that was stopped is found by its name, too."""
    app = await app_of_the_past(parts, str(header["app"]))
    found = await parts.publishing.history(app.id)
    stored = await parts.database.submit(versions.app_by_id(app.id))
    facts = _facts(app)
    facts["created_at"] = stored[0].created_at
    facts["ended_at"] = stored[0].ended_at
    facts["created_by"] = found[-1].created_by if found else _owner()
    facts["deployed_at"] = found[0].created_at if found else None
    facts["deployed_by"] = found[0].created_by if found else ""
    facts["tag"] = found[0].tag if found else ""
    return facts


def _owner() -> str:
    """Return whose server this is: nobody else reaches it."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


async def app_of_the_past(parts: Parts, wanted: str) -> App | AppFacts:
    """Return the deployed app of a name, else the one that runs or ran last under it; or the one with this id."""
    running = [app for app in parts.apps.by_id.values() if app.name == wanted and not app.draft]
    app = parts.apps.deployed.get(wanted) or (running[-1] if running else None)
    if app is None and not wanted.startswith("ap-"):
        ended = await parts.database.submit(versions.apps_by_name(wanted))
        if ended:
            return ended[0]
    return await _any_app(parts, wanted, app)


def _facts(app: App | AppFacts) -> dict[str, Any]:
    functions = app.functions if isinstance(app, App) else {}
    return {
        "app": app.id,
        "name": app.name,
        "state": state_of(app),
        "version": app.version,
        "tags": app.tags,
        "functions": functions,
    }


def state_of(app: App | AppFacts) -> str:
    """Return in one word how an app is."""
    if isinstance(app, AppFacts) and app.ended_at is not None:
        return "stopped"
    if isinstance(app, App) and app.stopping is not None:
        return "stopping"
    if app.deployed:
        return "deployed"
    return "detached" if app.detached else "ephemeral"


async def look_up_function(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """Find a function: of a deployed app by its name, of one's own app, or any by its id."""
    if header.get("function") is not None:
        function = parts.fleet.functions.get(header["function"])
        if function is None or not _may_see(parts, channel, function.app):
            raise RemoteFailure("not_found", f"there is no function with the id {header['function']}")
        return _described(channel, function)
    app, name = _app_to_call(parts, channel, str(header["app"])), str(header["name"])
    version = header.get("version")
    if version is None:
        version = _own_version(parts, channel, app)
    if version is None:
        functions = parts.apps.named_functions(app)
    else:
        functions = await parts.publishing.pin(app, whole(version))
    if name in functions:
        return _described(channel, functions[name])
    model, _, method = name.rpartition(".")
    owner = functions.get(f"{model}.*")
    if owner is None or method not in owner.definition["spec"].get("methods", ()):
        raise lookups.no_function(app, name, functions, version)
    return {**_described(channel, owner), "method": method}


def _app_to_call(parts: Parts, channel: Channel, wanted: str) -> App:
    app = parts.apps.deployed.get(wanted) or parts.apps.by_id.get(wanted)
    if app is None or app.draft or not _may_see(parts, channel, app.id):
        raise lookups.no_app(wanted, parts.apps.deployed)
    return app


def _may_see(parts: Parts, channel: Channel, app_id: str) -> bool:
    """Of the apps that there are, everybody finds those that he may reach."""
    return app_id in parts.apps.by_id and may_reach(parts, channel, app_id)


def _own_version(parts: Parts, channel: Channel, app: App) -> int | None:
    """A container that stays at a version of its app finds the others as they were in that version."""
    container = parts.fleet.containers.get(channel.name) if channel.principal == CONTAINER else None
    function = parts.fleet.functions.get(container.function) if container is not None else None
    return function.pinned if function is not None and function.app == app.id else None


def _described(channel: Channel, function: Function) -> dict[str, Any]:
    return {
        "function": function.id,
        "app": function.app,
        "name": function.name,
        "spec": function.definition["spec"],
        "options": shown(channel, function.definition["options"]),
    }


HANDLERS = {
    "app.lookup": look_up,
    "app.info": info,
    "function.lookup": look_up_function,
}
