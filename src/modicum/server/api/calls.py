"""How calls are taken in. The second of the five rooms of `f.remote(x)`.

Inputs come in frames; each frame becomes one event for the core (`core/state.py` routes it to `core/pool.py`), through
`controller.py`. Their outputs come back through `api/agents.py` and leave through `deliveries.py`. Spawned inputs go
into the store first, through `backlog.py`; `api/results.py` answers what is asked of them.
"""

from __future__ import annotations

import asyncio
import re
import time

from modicum.server.api.fields import cut, input_key, value_blob, whole
from modicum.server.core import events as ev
from modicum.server.parts import Parts
from modicum.server.records import Call, Function, key_of
from modicum.stores.calls import StoredCall
from modicum.wire.channel import Answer, Channel, RemoteFailure
from modicum.wire.frames import Header
from modicum.wire.messages import CONTAINER

KINDS = frozenset({"sync", "map", "spawn", "gen"})

_CALL = re.compile(r"fc-[0-9A-Za-z]{1,64}")


def inputs(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer | asyncio.Future[None]:
    """Take in inputs, opening their call at the first of them."""
    deliveries = parts.deliveries
    arrived, pieces = _inputs(header, payload), whole(header.get("pieces", 0))
    if header["kind"] == "spawn":
        # Shielded, because the channel cancels what it awaits when it ends: what is stored must also run.
        return asyncio.shield(_spawn(parts, channel, header, arrived))
    call = deliveries.calls.get(header["call"])
    if call is None:
        call = _open(parts, channel, header)
        if call is None:
            return None
    elif call.owner != _owner(channel) or call.durable:
        raise RemoteFailure("permission_denied", "this call is somebody else's")
    call.channel, call.pieces, call.begun = channel, pieces, call.begun or pieces > 0
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
    try:
        function = _called(parts, channel, header)
    except RemoteFailure as error:
        if "r" in header or error.code != "not_found":
            raise
        channel.send({"t": "call.failed", "call": header["call"], "code": error.code, "message": error.message})
        return None
    method, parent = _origin(header)
    owner = _owner(channel)
    call = Call(header["call"], function.id, header["kind"], owner, channel, function.app, method=method, parent=parent)
    parts.deliveries.open(call)
    return call


def _called(parts: Parts, channel: Channel, header: Header) -> Function:
    """Return the function that is called. Raises `RemoteFailure` or `ValueError`."""
    function = parts.fleet.functions.get(header["function"])
    if function is None:
        message = f"the function {header['function']} does not exist, or its app has ended"
        raise RemoteFailure("not_found", message)
    check_same_app(parts, channel, function.app)
    if header["kind"] not in KINDS or not _CALL.fullmatch(header["call"]):
        raise ValueError(f"{header['call']!r} is no call of the kind {header['kind']!r}")
    return function


def _origin(header: Header) -> tuple[str | None, str | None]:
    """Return which method of a class is called, and which input calls it."""
    method, parent = header.get("method"), header.get("parent")
    if not (method is None or isinstance(method, str)):
        raise ValueError(f"{method!r} is no method")
    return method, input_key(parent) or None


def check_same_app(parts: Parts, channel: Channel, app: str) -> None:
    """Raise `RemoteFailure` for what is of an app that whoever asks may not reach."""
    if not may_reach(parts, channel, app):
        raise RemoteFailure("permission_denied", "a container may only call functions of its own and of deployed apps")


def may_reach(parts: Parts, channel: Channel, app: str) -> bool:
    """A container calls, and asks for, what is of its own app or of a deployed one."""
    if channel.principal != CONTAINER:
        return True
    container, theirs = parts.fleet.containers.get(channel.name), parts.apps.by_id.get(app)
    return container is not None and (app == container.app or (theirs is not None and theirs.deployed))


def _owner(channel: Channel) -> str:
    return channel.name if channel.principal == CONTAINER else channel.principal


def resume_pieces(parts: Parts, call: Call) -> None:
    """A generator's caller came back, or its agent did: have the agent send again what the caller does not have."""
    if call.kind != "gen":
        return
    key, call.ahead = key_of(call.id, 0), 0
    if call.container is None:  # another server gave it the input
        call.container = next((c.id for c in parts.fleet.containers.values() if key in c.held), None)
    if call.container is not None:
        parts.fleet.tell(call.container, {"t": "piece.resend", "key": key, "pieces": call.pieces})


async def _spawn(parts: Parts, channel: Channel, header: Header, arrived: _Arrived) -> None:
    """Make inputs durable, then let them run."""
    function = _called(parts, channel, header)
    known = parts.deliveries.calls.get(header["call"])
    if known is not None and (not known.durable or known.function != function.id):
        raise RemoteFailure("permission_denied", f"the call {header['call']} is another one already")
    method, parent = _origin(header)
    count = whole(header["first"]) + len(arrived)
    call = StoredCall(header["call"], function.id, method, parent, time.time(), count)
    await parts.backlog.add(call, arrived)


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
        key, call.ahead = key_of(call.id, 0), 0
        parts.fleet.tell(call.container, {"t": "piece.ack", "key": key, "pieces": whole(header["pieces"])})
    return None


HANDLERS = {
    "call.inputs": inputs,
    "call.forget": forget,
    "call.ack": acknowledge,
}
