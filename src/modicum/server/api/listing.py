"""What runs, and what waits for what: questions that change nothing."""

from __future__ import annotations

import time
from typing import Any

from modicum.server.api.fields import whole
from modicum.server.parts import Parts
from modicum.server.records import App
from modicum.stores import ends, queries
from modicum.wire.channel import Answer, Channel
from modicum.wire.frames import Header

ENDED_MAX = 1000
"""So many containers that have ended are told at once."""


async def apps(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """Tell which apps there are, the newest first."""
    created = await parts.database.submit(queries.apps_created)
    found = [_app(parts, app, created.get(app.id, 0.0)) for app in parts.apps.by_id.values()]
    return {"apps": sorted(found, key=lambda each: -each["created_at"])}


def _app(parts: Parts, app: App, created: float) -> dict[str, Any]:
    return {
        "id": app.id,
        "name": app.name,
        "state": "stopping" if app.stopping is not None else "running",
        "created_at": created,
        "functions": len(app.functions),
        "containers": sum(container.app == app.id for container in parts.fleet.containers.values()),
    }


def waiting(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """Tell which functions of some apps have inputs and no container that could take them, and why."""
    state = parts.controller.state
    found = []
    for app in (parts.apps.by_id[each] for each in header["apps"] if each in parts.apps.by_id):
        for function in parts.apps.functions_of(app):
            inputs, name = state.waits_for_container(function), parts.fleet.functions[function].name
            if inputs:
                found.append({"app": app.id, "function": name, "inputs": inputs, "why": state.why_waiting(function)})
    return {"waiting": found}


def containers(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """Tell which containers there are, the oldest first."""
    epoch = time.time() - time.monotonic()
    found = []
    for each in parts.controller.state.containers():
        function = parts.fleet.functions.get(each.function)
        app = parts.apps.by_id.get(function.app) if function is not None else None
        found.append(
            {
                "id": each.id,
                "app": app.id if app is not None else None,
                "app_name": app.name if app is not None else None,
                "function": function.name if function is not None else None,
                "state": each.state,
                "running": each.running,
                "since": epoch + each.since,
                "started_at": _started(parts, each.id),
            }
        )
    return {"containers": found}


def _started(parts: Parts, container: str) -> float | None:
    known = parts.fleet.containers.get(container)
    return known.started_at if known is not None else None


async def ended(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """Tell which containers have ended, and why, the newest first."""
    limit = min(whole(header["limit"]), ENDED_MAX)
    return {"containers": await parts.database.submit(ends.newest(limit, header.get("app")))}


HANDLERS = {
    "app.list": apps,
    "app.waiting": waiting,
    "container.list": containers,
    "container.ended": ended,
}
