"""What is asked of calls that live on without their caller: their outputs, their facts, and their end."""

from __future__ import annotations

import asyncio
from typing import Any

from modicum.server.api.calls import check_same_app
from modicum.server.api.fields import patience, whole
from modicum.server.api.functions import find
from modicum.server.core import events as ev
from modicum.server.deliveries import entry
from modicum.server.parts import Parts
from modicum.server.records import Output, Waiter, key_of
from modicum.stores import calls as stored
from modicum.stores.calls import Facts, StoredOutput
from modicum.wire.channel import Answer, Channel, RemoteFailure
from modicum.wire.frames import PAYLOAD_BYTES_MAX, Header
from modicum.wire.messages import TERMINATED

WAIT_S_MAX = 60.0
AT_ONCE_MAX = 1000
"""Outputs in one answer, and calls that are watched by one question."""

TIME_MAX = 1e11
"""The latest time since the epoch that may be named."""

CANCELLED = "the call was cancelled"


async def get(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """Give spawned inputs' outputs, neighbours from `index` on, waiting for the first of them."""
    call, index = str(header["call"]), whole(header["index"])
    count, wait_s = min(whole(header.get("count", 1)), AT_ONCE_MAX), patience(header["wait_s"], WAIT_S_MAX)
    waiter = parts.deliveries.wait(call, index)
    try:
        outputs = await _ended(parts, channel, waiter, call, count)
        if not outputs and wait_s > 0:
            outputs = await _first(waiter, wait_s)
    finally:
        parts.deliveries.stop_waiting(call, waiter)
    if not outputs:
        return {"outputs": [], "why": _why(parts, call, waiter)}
    entries = [entry(*each) for each in outputs]
    return {"outputs": entries}, b"".join(each.payload for each in outputs)


async def _ended(parts: Parts, channel: Channel, waiter: Waiter, call: str, count: int) -> list[StoredOutput]:
    """Return the outputs that are there. Raises `RemoteFailure` if there is no such input, or no longer."""
    known = parts.deliveries.calls.get(call)
    if known is not None and known.durable and waiter.index in known.open:  # it is not in the store yet
        check_same_app(parts, channel, known.app)
        waiter.function = known.function
        return []
    facts = await _facts(parts, channel, call)
    waiter.function = facts.function
    found = await parts.database.submit(stored.outputs(call, waiter.index, count, PAYLOAD_BYTES_MAX))
    if not found and waiter.index < facts.inputs:
        raise RemoteFailure("expired", f"the output of input {waiter.index} of the call {call} was kept for its time")
    if not found:
        raise RemoteFailure("not_found", f"the call {call} has {facts.inputs} inputs, none with index {waiter.index}")
    return [each for each in found if each.status is not None]


async def _facts(parts: Parts, channel: Channel, call: str) -> Facts:
    facts = await parts.database.submit(stored.facts(call))
    if facts is None:
        raise RemoteFailure("not_found", f"there is no call {call}; only spawned calls are kept, and not for ever")
    check_same_app(parts, channel, facts.app)
    return facts


async def _first(waiter: Waiter, wait_s: float) -> list[StoredOutput]:
    try:
        async with asyncio.timeout(wait_s):
            output = await waiter.output
    except TimeoutError:
        return []
    return [StoredOutput(waiter.index, output.status, output.payload, output.blob, output.plain)]


def _why(parts: Parts, call: str, waiter: Waiter) -> str:
    """Say why an input has no output yet."""
    waiting = parts.deliveries.inputs.get(key_of(call, waiter.index))
    if waiting is not None and waiting.container in parts.fleet.containers:
        return f"it was given to the container {waiting.container}"
    return parts.controller.state.why_waiting(waiter.function)


async def ready(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """Say which of some calls have an output of their first input, waiting for one; those that are unknown have."""
    calls = list(dict.fromkeys(map(str, header["calls"])))[:AT_ONCE_MAX]
    wait_s = patience(header["wait_s"], WAIT_S_MAX)
    waiters = [(call, parts.deliveries.wait(call, 0)) for call in calls]
    try:
        ended = await parts.database.submit(stored.ended_of(calls))
        if not ended and wait_s > 0:
            await asyncio.wait(
                [waiter.output for _, waiter in waiters], timeout=wait_s, return_when=asyncio.FIRST_COMPLETED
            )
            ended = [call for call, waiter in waiters if waiter.output.done()]
    finally:
        for call, waiter in waiters:
            parts.deliveries.stop_waiting(call, waiter)
    return {"ready": ended}


async def info(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """Tell what there is to say of a call."""
    call = str(header["call"])
    facts = await _facts(parts, channel, call)
    return {
        "function": facts.function,
        "name": facts.name,
        "app": facts.app,
        "method": facts.method,
        "inputs": facts.inputs,
        "created_at": facts.created_at,
    }


async def cancel(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """End a call: what waits of it never runs, what runs is cancelled, and nothing of it is run again."""
    call, terminate = str(header["call"]), bool(header.get("terminate_containers"))
    known = parts.deliveries.calls.get(call)
    if known is not None and not known.durable:
        check_same_app(parts, channel, known.app)
        function = known.function
    else:
        function = (await _facts(parts, channel, call)).function
        await parts.backlog.cancel(call, function, CANCELLED)
        known = parts.deliveries.calls.get(call)
    if known is not None:
        containers = {parts.deliveries.inputs[key].container for key in _open_keys(parts, call)}
        keys = parts.deliveries.cancel(known, Output(TERMINATED, CANCELLED.encode(), None))
        parts.controller.handle(ev.InputsCancelled(function, tuple(keys)))
        for container in containers & parts.fleet.containers.keys() if terminate else ():
            parts.fleet.kill(str(container), "a call that ran in it was cancelled")
    return None


def _open_keys(parts: Parts, call: str) -> list[str]:
    """Return the inputs of a call in memory that wait or run."""
    keys = (key_of(call, index) for index in parts.deliveries.calls[call].open)
    return [key for key in keys if key in parts.deliveries.inputs]


async def recent(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """List a function's inputs: the latest spawned ones, or those of a time; and those of other calls that run now."""
    functions = _listable(parts, channel, header)
    count = min(whole(header["count"]), AT_ONCE_MAX)
    since, until = (
        None if header.get(name) is None else patience(header[name], TIME_MAX) for name in ("since", "until")
    )
    rows = await parts.database.submit(stored.recent(functions, count, since, until))
    listed = [_listed(parts, each) for each in rows]
    if since is None and until is None:
        running = [c for c in parts.deliveries.calls.values() if c.function in functions and not c.durable]
        mine = [_running(parts, key) for call in running for key in _open_keys(parts, call.id)]
        listed = [*mine, *listed][:count]
    pending = sum(parts.backlog.pending(function) for function in functions)
    return {"calls": listed, "pending": pending, "why": parts.controller.state.why_waiting(functions[0])}


def _listable(parts: Parts, channel: Channel, header: Header) -> list[str]:
    """Return the functions whose inputs are wanted; one whose app has ended must be named by its id."""
    named = header["function"]
    if named.startswith("fu-") and named not in parts.fleet.functions:
        return [named]
    function = find(parts, channel, named)
    return [function.id, *(parts.variants.of(function) if header.get("variants") else ())]


def _listed(parts: Parts, each: stored.Listed) -> dict[str, Any]:
    container, state = each.container, each.status or "pending"
    waiting = parts.deliveries.inputs.get(key_of(each.call, each.position))
    if waiting is not None and waiting.container in parts.fleet.containers:
        container, state = waiting.container, "running"
    return {
        "call": each.call,
        "index": each.position,
        "method": each.method,
        "created_at": each.created_at,
        "finished_at": each.finished_at,
        "container": container,
        "run_s": each.run_s,
        "state": state,
        "why": parts.controller.state.why_waiting(each.function) if state == "pending" else "",
    }


def _running(parts: Parts, key: str) -> dict[str, Any]:
    """An input of a call whose caller waits; its times are not written down."""
    waiting = parts.deliveries.inputs[key]
    given = waiting.container in parts.fleet.containers
    return {
        "call": waiting.call.id,
        "index": waiting.index,
        "method": waiting.call.method,
        "created_at": None,
        "finished_at": None,
        "container": waiting.container if given else None,
        "run_s": None,
        "state": "running" if given else "pending",
        "why": "" if given else parts.controller.state.why_waiting(waiting.call.function),
    }


HANDLERS = {
    "call.get": get,
    "call.ready": ready,
    "call.info": info,
    "call.cancel": cancel,
    "call.list": recent,
}
