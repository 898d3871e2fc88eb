"""Which call made which? The tree of calls that a call is part of, as far as it is known."""

from __future__ import annotations

from typing import Any

from modicum.server.api.calls import check_same_app
from modicum.server.parts import Parts
from modicum.server.records import Call, key_of, split_key
from modicum.stores import calls as stored
from modicum.wire.channel import Answer, Channel, RemoteFailure
from modicum.wire.frames import Header

CALLS_MAX = 500
INPUTS_MAX = 2000
"""A graph is cut there."""

DEPTH_MAX = 100


async def graph(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """Tell the inputs of a call and of those above and below it: spawned ones, and others while they run."""
    root = await _root(parts, channel, str(header["call"]))
    nodes: list[list[Any]] = []
    waiting, seen = [root], {root}
    while waiting and len(seen) <= CALLS_MAX and len(nodes) < INPUTS_MAX:
        call = waiting.pop(0)
        nodes += await _inputs(parts, call, INPUTS_MAX - len(nodes))
        below = await parts.database.submit(stored.children(call, CALLS_MAX))
        below += [each.id for each in parts.deliveries.calls.values() if _made_by(each, call)]
        for each in below:
            if each not in seen:
                seen.add(each)
                waiting.append(each)
    return {"inputs": nodes, "truncated": bool(waiting)}


def _made_by(call: Call, parent: str) -> bool:
    return call.parent is not None and split_key(call.parent)[0] == parent


async def _origin(parts: Parts, call: str) -> tuple[str, str, str | None, str | None] | None:
    """Return a call's function, app, method and parent."""
    known = parts.deliveries.calls.get(call)
    if known is not None:
        return known.function, known.app, known.method, known.parent
    facts = await parts.database.submit(stored.facts(call))
    return None if facts is None else (facts.function, facts.app, facts.method, facts.parent)


async def _root(parts: Parts, channel: Channel, call: str) -> str:
    """Return the uppermost call that is known above one. Raises `RemoteFailure` if this one is not known."""
    origin = await _origin(parts, call)
    if origin is None:
        raise RemoteFailure("not_found", f"there is no call {call}; only spawned calls are kept, and not for ever")
    check_same_app(parts, channel, origin[1])
    for _ in range(DEPTH_MAX):
        parent = origin[3]
        if parent is None:
            break
        above = split_key(parent)[0]
        origin = await _origin(parts, above)
        if origin is None:
            break
        call = above
    return call


async def _inputs(parts: Parts, call: str, count: int) -> list[list[Any]]:
    """Return a call's inputs: key, parent, status, container, function, module."""
    origin = await _origin(parts, call)
    if origin is None:
        return []
    function, _, method, parent = origin
    name, module = _names(parts, function, method)
    rows = await parts.database.submit(stored.statuses(call, count))
    known = parts.deliveries.calls.get(call)
    if known is not None and not known.durable:
        rows = [(index, None, None) for index in sorted(known.open)[:count]]
    found = []
    for index, status, container in rows:
        waiting = parts.deliveries.inputs.get(key_of(call, index))
        where = waiting.container if waiting is not None else container
        found.append([key_of(call, index), parent, status, where, name, module])
    return found


def _names(parts: Parts, function_id: str, method: str | None) -> tuple[str, str]:
    """Return a function's name, or its method's, and its module."""
    function = parts.fleet.functions.get(function_id)
    if function is None:
        return "", ""
    name = function.name
    if method is not None:
        name = f"{name.removesuffix('.*')}.{method}"
    return name, str(function.definition["spec"].get("module", ""))


HANDLERS = {"call.graph": graph}
