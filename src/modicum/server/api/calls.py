"""How calls are taken in. The second of the five rooms of `f.remote(x)`.

Inputs come in frames; each frame becomes one event for the core (`core/state.py` routes it to `core/pool.py`), through
`controller.py`. Their outputs come back through `api/agents.py` and leave through `deliveries.py`.
"""

from __future__ import annotations

import asyncio

from modicum.server.api.fields import cut, patience, value_blob, whole
from modicum.server.core import events as ev
from modicum.server.parts import Parts
from modicum.server.records import Call, Output, key_of
from modicum.stores import queries
from modicum.wire.channel import Answer, Channel, RemoteFailure
from modicum.wire.frames import Header
from modicum.wire.messages import CONTAINER

KINDS = frozenset({"sync", "map", "spawn", "gen"})
WAIT_S_MAX = 60.0


def inputs(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer | asyncio.Future[None]:
    """Take in inputs, opening their call at the first of them."""
    deliveries = parts.deliveries
    arrived, pieces = _inputs(header, payload), whole(header.get("pieces", 0))
    call = deliveries.calls.get(header["call"])
    if call is None:
        call = _open(parts, channel, header)
        if call is None:
            return None
    elif call.owner != _owner(channel) and not call.durable:
        raise RemoteFailure("permission_denied", "this call is somebody else's")
    call.channel, call.pieces, call.begun = channel, pieces, call.begun or pieces > 0
    if call.durable:
        # Shielded, because the channel cancels what it awaits when it ends: what is stored must also run.
        return asyncio.shield(_spawn(parts, call, arrived))
    keys = []
    for index, data, blob in arrived:
        key = deliveries.add(call, index, data, blob)
        if key is not None:
            keys.append(key)
    if keys:
        parts.controller.handle(ev.InputsArrived(call.function, tuple(keys), once=call.kind == "gen"))
    if len(keys) < len(arrived):
        deliveries.settle()
        resume_pieces(parts, call)
    return None


_Arrived = list[tuple[int, bytes, str | None]]
"""Inputs as they came: index, payload, blob."""


def _inputs(header: Header, payload: bytes) -> _Arrived:
    blobs = header.get("blobs") or {}
    first = whole(header["first"])
    return [
        (first + place, data, value_blob(blobs.get(str(place))))
        for place, data in enumerate(cut(payload, header["sizes"]))
    ]


def _open(parts: Parts, channel: Channel, header: Header) -> Call | None:
    function = parts.fleet.functions.get(header["function"])
    if function is None:
        message = f"the function {header['function']} does not exist, or its app has ended"
        if "r" in header:
            raise RemoteFailure("not_found", message)
        channel.send({"t": "call.failed", "call": header["call"], "code": "not_found", "message": message})
        return None
    _check_same_app(parts, channel, function.id)
    if header["kind"] not in KINDS or not str(header["call"]).startswith("fc-"):
        raise ValueError(f"{header['call']!r} is no call of the kind {header['kind']!r}")
    call = Call(header["call"], function.id, header["kind"], _owner(channel), channel, function.app)
    parts.deliveries.open(call)
    return call


def _check_same_app(parts: Parts, channel: Channel, function_id: str) -> None:
    """A container calls, and asks for, what is of its own app or of a deployed one."""
    if channel.principal != CONTAINER:
        return
    container = parts.fleet.containers.get(channel.name)
    function = parts.fleet.functions.get(function_id)
    app = parts.apps.by_id.get(function.app) if function is not None else None
    if container is None or app is None or not (app.id == container.app or app.deployed):
        raise RemoteFailure("permission_denied", "a container may only call functions of its own and of deployed apps")


def _owner(channel: Channel) -> str:
    return channel.name if channel.principal == CONTAINER else channel.principal


def resume_pieces(parts: Parts, call: Call) -> None:
    """A generator's caller came back, or its agent did: have the agent send again what the caller does not have."""
    if call.kind != "gen":
        return
    key = key_of(call.id, 0)
    if call.container is None:  # another server gave it the input
        call.container = next((c.id for c in parts.fleet.containers.values() if key in c.held), None)
    if call.container is not None:
        parts.fleet.tell(call.container, {"t": "piece.resend", "key": key, "pieces": call.pieces})


async def _spawn(parts: Parts, call: Call, arrived: _Arrived) -> None:
    """Make inputs durable, then let them run."""
    rows = [queries.StoredInput(call.id, index, call.function, data, blob) for index, data, blob in arrived]
    new = await parts.database.submit(queries.add_inputs(rows))
    keys = [parts.deliveries.add(call, row.index, row.payload, row.blob) for row in rows if row.index in new]
    fresh = tuple(key for key in keys if key is not None)
    if fresh:
        parts.controller.handle(ev.InputsArrived(call.function, fresh))
    elif not call.open:
        parts.deliveries.calls.pop(call.id, None)


async def get(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """Give a spawned input's output, waiting for it."""
    call_id, index = header["call"], whole(header["index"])
    wait_s = patience(header["wait_s"], WAIT_S_MAX)
    output = await _wait(parts, channel, call_id, index, wait_s)
    if output is None:
        call = parts.deliveries.calls.get(call_id)
        return {"pending": True, "why": parts.controller.state.why_waiting(call.function) if call is not None else ""}
    fields = {"pending": False, "status": output.status, "size": len(output.payload), "blob": output.blob}
    return fields, output.payload


async def _wait(parts: Parts, channel: Channel, call_id: str, index: int, wait_s: float) -> Output | None:
    call = parts.deliveries.calls.get(call_id)
    if call is not None:
        _check_same_app(parts, channel, call.function)
    if call is not None and index in call.open and wait_s > 0:
        waiter: asyncio.Future[Output] = asyncio.get_running_loop().create_future()
        waiters = call.waiters.setdefault(index, [])
        waiters.append(waiter)
        try:
            async with asyncio.timeout(wait_s):
                return await waiter
        except TimeoutError:
            return None
        finally:
            if waiter in waiters:
                waiters.remove(waiter)
    stored = await parts.database.submit(queries.output(call_id, index))
    if stored is None:
        raise RemoteFailure(
            "not_found", f"there is no input {index} of the call {call_id}; only spawned calls are kept"
        )
    _check_same_app(parts, channel, stored.function)
    if stored.status is None:
        return None
    return Output(stored.status, stored.payload, stored.blob)


def forget(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """Nobody waits for a call any longer."""
    call = parts.deliveries.calls.get(header["call"])
    if call is not None and not call.durable and call.owner == _owner(channel):
        abandon(parts, call)
    return None


def abandon(parts: Parts, call: Call) -> None:
    """Drop a call; what of it still waits or runs is cancelled."""
    keys = parts.deliveries.forget(call)
    if keys:
        parts.controller.handle(ev.InputsCancelled(call.function, tuple(keys)))


def acknowledge(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """A generator's reader is further: that is credit for the generator."""
    call = parts.deliveries.calls.get(header["call"])
    if call is not None and call.container is not None and call.owner == _owner(channel):
        key = key_of(call.id, 0)
        parts.fleet.tell(call.container, {"t": "piece.ack", "key": key, "pieces": whole(header["pieces"])})
    return None


HANDLERS = {
    "call.inputs": inputs,
    "call.get": get,
    "call.forget": forget,
    "call.ack": acknowledge,
}
