"""Which call made which? The tree of calls that a call is part of, as far as it is known."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from modicum.server.api.calls import check_same_app
from modicum.server.parts import Parts
from modicum.server.records import Call, key_of, split_key
from modicum.stores import calls as stored
from modicum.stores.calls import Facts
from modicum.wire.channel import Answer, Channel, RemoteFailure
from modicum.wire.frames import Header

CALLS_MAX = 500
INPUTS_MAX = 2000
"""A graph is cut there."""

DEPTH_MAX = 100


async def graph(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """Tell the inputs of a call and of those above and below it: spawned ones, and others while they run.

    A container is told of those that it may ask for, and of none above or below one that it may not.
    """
    root = await _root(parts, channel, str(header["call"]))
    nodes: list[list[Any]] = []
    waiting, seen = [root], {root}
    in_memory = _by_parent(parts)
    while waiting and len(seen) <= CALLS_MAX and len(nodes) < INPUTS_MAX:
        call = waiting.pop(0)
        origin = await _origin(parts, channel, call)
        if origin is None:
            continue
        nodes += await _inputs(parts, call, origin, seen, INPUTS_MAX - len(nodes))
        below = await parts.database.submit(stored.children(call, CALLS_MAX))
        for each in [*below, *in_memory.get(call, ())]:
            if each not in seen:
                seen.add(each)
                waiting.append(each)
    return {"inputs": nodes, "truncated": bool(waiting)}


def _by_parent(parts: Parts) -> dict[str, list[str]]:
    """Return which calls in memory were made by which."""
    found = defaultdict(list)
    for call in parts.deliveries.calls.values():
        if call.parent is not None:
            found[split_key(call.parent)[0]].append(call.id)
    return found


async def _origin(parts: Parts, channel: Channel, call: str) -> Call | Facts | None:
    """Return where a call comes from; None if that is not known, or not this asker's concern."""
    found: Call | Facts | None = parts.deliveries.calls.get(call)
    if found is None:
        found = await parts.database.submit(stored.facts(call))
    if found is not None:
        try:
            check_same_app(parts, channel, found.app)
        except RemoteFailure:
            return None
    return found


async def _root(parts: Parts, channel: Channel, call: str) -> str:
    """Return the uppermost call that is known above one. Raises `RemoteFailure` if this one is not known."""
    origin = await _origin(parts, channel, call)
    if origin is None:
        raise RemoteFailure("not_found", f"there is no call {call}; only spawned calls are kept, and not for ever")
    for _ in range(DEPTH_MAX):
        if origin.parent is None:
            break
        above = split_key(origin.parent)[0]
        origin = await _origin(parts, channel, above)
        if origin is None:
            break
        call = above
    return call


async def _inputs(parts: Parts, call: str, origin: Call | Facts, told: set[str], count: int) -> list[list[Any]]:
    """Return a call's inputs: key, parent (of a call that is told of), status, container, function, module."""
    parent = origin.parent if origin.parent is not None and split_key(origin.parent)[0] in told else None
    name, module = _names(parts, origin.function, origin.method)
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
