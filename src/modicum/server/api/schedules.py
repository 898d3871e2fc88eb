"""What is asked of schedules: when functions are due next, what their last runs came to, and to run one now."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from modicum.server.api.names import app_of_the_past
from modicum.server.parts import Parts
from modicum.server.records import App, Function, key_of
from modicum.stores import schedules as stored
from modicum.stores.schedules import LastRun
from modicum.wire.channel import Answer, Channel, RemoteFailure
from modicum.wire.frames import Header


async def listed(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """Tell the schedules of apps, or of one function, with their last runs."""
    if header.get("function") is not None:
        return {"schedules": await told(parts, [str(header["function"])])}
    there = [parts.apps.by_id[each] for each in map(str, header["apps"]) if each in parts.apps.by_id]
    return {"schedules": await told(parts, [each for app in there for each in app.functions.values()])}


async def told(parts: Parts, functions: Iterable[str]) -> list[dict[str, Any]]:
    """Return what there is to say of the schedules of those functions that have one, by their names."""
    entries = parts.schedules.of(functions)
    called = [entry.function for entry in entries if entry.call is not None]
    found = await parts.database.submit(stored.last_runs(called)) if called else []
    runs = {each.function: each for each in found}
    facts = []
    for entry in entries:
        function = parts.fleet.functions.get(entry.function)
        if function is not None:  # else it has ended meanwhile
            last = runs.get(entry.function)
            facts.append(
                {
                    "id": function.id,
                    "function": function.name,
                    "app": function.app,
                    "schedule": function.options["schedule"],
                    "next_at": entry.due,
                    "skipped": entry.skipped,
                    "last": None if last is None else _run(parts, last),
                }
            )
    return sorted(facts, key=lambda each: str(each["function"]))


def _run(parts: Parts, run: LastRun) -> dict[str, Any]:
    state = run.status or ("pending" if run.is_kept else "forgotten")
    waiting = parts.deliveries.inputs.get(key_of(run.call, 0))
    if run.status is None and waiting is not None and waiting.container in parts.fleet.containers:
        state = "running"
    return {"call": run.call, "created_at": run.created_at, "finished_at": run.finished_at, "state": state}


async def run_now(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """Run a function of an app that has a schedule, now; without a name, the only one."""
    app = await app_of_the_past(parts, str(header["app"]))
    if not isinstance(app, App) or app.stopping is not None:
        raise RemoteFailure("not_found", f"the app {app.name!r} does not run any longer, so nothing of it can be run")
    function = _chosen(parts, app, header.get("function"))
    return {"app": app.id, "function": function.name, "call": await parts.schedules.run_now(function)}


def _chosen(parts: Parts, app: App, name: str | None) -> Function:
    there = {parts.fleet.functions[e.function].name: e.function for e in parts.schedules.of(app.functions.values())}
    known = ", ".join(sorted(there))
    if not there:
        raise RemoteFailure(
            "invalid", f"no function of the app {app.name!r} has a schedule: call one, or `modicum run`"
        )
    if name is None and len(there) > 1:
        raise RemoteFailure("invalid", f"{len(there)} functions of {app.name!r} have a schedule; say which: {known}")
    if name is not None and name not in there:
        has = "has no schedule" if name in app.functions else "is not there"
        raise RemoteFailure("not_found", f"the function {name!r} of {app.name!r} {has}; those with one: {known}")
    return parts.fleet.functions[there[next(iter(there)) if name is None else name]]


HANDLERS = {
    "schedule.list": listed,
    "schedule.run": run_now,
}
