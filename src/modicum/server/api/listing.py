"""What runs, and what waits for what: questions that change nothing."""

from __future__ import annotations

import time
from typing import Any

from modicum.server.api.fields import whole
from modicum.server.api.names import state_of
from modicum.server.api.schedules import told
from modicum.server.core import events as ev
from modicum.server.parts import Parts
from modicum.server.records import App
from modicum.stores import ends, versions
from modicum.stores.versions import AppFacts
from modicum.wire.channel import Answer, Channel, RemoteFailure
from modicum.wire.frames import Header

ENDED_MAX = 1000
"""So many containers that have ended are told at once."""

RECENT_S = 24 * 3600.0
RECENT_MAX = 20
"""So many apps that have ended so long ago are listed still."""


async def apps(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """Tell which apps there are and, behind them, which were not long ago; the newest first."""
    running = await parts.database.submit(versions.apps_running)
    there = [_app(parts, facts, parts.apps.by_id[facts.id]) for facts in running if facts.id in parts.apps.by_id]
    scheduled = await told(parts, [each for app in parts.apps.by_id.values() for each in app.functions.values()])
    for facts in there:
        facts["schedules"] = [each for each in scheduled if each["app"] == facts["id"]]
    ended = await parts.database.submit(versions.apps_ended(time.time() - RECENT_S, RECENT_MAX))
    return {"apps": there + [_app(parts, facts, None) for facts in ended]}


def _app(parts: Parts, facts: AppFacts, app: App | None) -> dict[str, Any]:
    return {
        "id": facts.id,
        "name": facts.name,
        "state": state_of(facts if app is None else app),
        "version": facts.version,
        "created_at": facts.created_at,
        "ended_at": facts.ended_at,
        "functions": 0 if app is None else len(app.functions),
        "containers": sum(container.app == facts.id for container in parts.fleet.containers.values()),
        "schedules": [],
    }


def waiting(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """Tell which functions of some apps have inputs and no container that could take them, and why."""
    state = parts.controller.state
    found = []
    for app in (parts.apps.by_id[each] for each in header["apps"] if each in parts.apps.by_id):
        for function in parts.apps.functions_of(app):
            inputs, why = state.waits_for_container(function), state.why_waiting(function)
            if inputs:
                name = parts.fleet.functions[function].name
                found.append({"app": app.id, "function": name, "inputs": inputs, "why": why})
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


async def stop(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """End a container: after what it runs now if `graceful`, else at once; what it runs then runs elsewhere."""
    container = str(header["container"])  # one that is none is not known either
    if container not in parts.fleet.containers:
        ended = await parts.database.submit(ends.of(container))
        why = f"has ended: {ended['reason']}: {ended['detail']}" if ended is not None else "is not known here"
        raise RemoteFailure("not_found", f"the container {container} {why}; `container list` shows those that run")
    parts.controller.handle(ev.StopRequested(container, header["graceful"] is True))
    return None


HANDLERS = {
    "app.list": apps,
    "app.waiting": waiting,
    "container.list": containers,
    "container.ended": ended,
    "container.stop": stop,
}
