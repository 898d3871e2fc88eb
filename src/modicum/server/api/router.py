"""Who may ask what, and which function answers."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from modicum.server.api import (
    agents,
    apps,
    billing,
    blobs,
    builds,
    call_graph,
    calls,
    deploys,
    dicts,
    execs,
    files,
    functions,
    history,
    images,
    listing,
    logs,
    names,
    nodes,
    objects,
    queues,
    results,
    schedules,
    secrets,
    status,
)
from modicum.server.parts import Parts
from modicum.wire.channel import Answer, Channel, RemoteFailure
from modicum.wire.frames import Header
from modicum.wire.messages import HOSTILE, MAY_SEND, RESTRICTED

log = logging.getLogger("modicum.api")

Handler = Callable[[Parts, Channel, Header, bytes], "Awaitable[Answer] | Answer"]

HANDLERS: dict[str, Handler] = {
    **agents.HANDLERS,
    **apps.HANDLERS,
    **billing.HANDLERS,
    **blobs.HANDLERS,
    **builds.HANDLERS,
    **call_graph.HANDLERS,
    **calls.HANDLERS,
    **deploys.HANDLERS,
    **dicts.HANDLERS,
    **execs.HANDLERS,
    **files.HANDLERS,
    **functions.HANDLERS,
    **history.HANDLERS,
    **images.HANDLERS,
    **listing.HANDLERS,
    **logs.HANDLERS,
    **names.HANDLERS,
    **nodes.HANDLERS,
    **objects.HANDLERS,
    **queues.HANDLERS,
    **results.HANDLERS,
    **schedules.HANDLERS,
    **secrets.HANDLERS,
    **status.HANDLERS,
}

MALFORMED = (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError)
"""What a handler raises when a field is missing or makes no sense."""


UNREAD_BYTES_MAX = 64 << 20
WORKING_MAX = 256
FAULTS_MAX = 1000
FAULTS_LOGGED = 20
"""What one connection of a container may have: answers that it does not read, requests at once, malformed messages."""


class Router:
    """Gets every message of every connection."""

    def __init__(self) -> None:
        self.parts: Parts | None = None

    def __call__(self, channel: Channel, header: Header, payload: bytes) -> Awaitable[Answer] | Answer:
        """Answer a message. Raises `RemoteFailure`."""
        assert self.parts is not None
        kind = header["t"]
        if channel.principal not in MAY_SEND.get(kind, ()):
            if kind not in MAY_SEND:
                raise RemoteFailure("unimplemented", f"this server does not know the message {kind!r}")
            raise RemoteFailure("permission_denied", _not_allowed(channel, kind))
        if channel.principal in HOSTILE:
            _restrain(channel)
        try:
            result = HANDLERS[kind](self.parts, channel, header, payload)
        except MALFORMED as error:
            raise _refusal(channel, kind, error) from None
        return _later(channel, kind, result) if isinstance(result, Awaitable) else result


def _not_allowed(channel: Channel, kind: str) -> str:
    """Say why; whoever made the function of a restricted container may read this in its log."""
    if channel.principal == RESTRICTED:
        return f"a restricted container may not send {kind!r}: its function has restrict_modal_access=True"
    return f"a {channel.principal} may not send {kind!r}"


async def _later(channel: Channel, kind: str, result: Awaitable[Answer]) -> Answer:
    try:
        return await result
    except MALFORMED as error:
        raise _refusal(channel, kind, error) from None


def _refusal(channel: Channel, kind: str, error: Exception) -> RemoteFailure:
    channel.faults += 1
    if channel.faults <= FAULTS_LOGGED:
        facts = {"type": kind, "principal": channel.principal, "from": channel.name, "why": repr(error)[:200]}
        log.error("malformed message", extra=facts)
    return RemoteFailure("invalid", f"the message {kind!r} is malformed: {repr(error)[:200]}")


def _restrain(channel: Channel) -> None:
    """Hostile code speaks here: end its connection when it asks for more than it takes in, or only for nonsense."""
    if channel.buffered > UNREAD_BYTES_MAX or channel.faults > FAULTS_MAX:
        log.error("connection of a container ended", extra={"from": channel.name, "unread": channel.buffered})
        channel.abort()
    if channel.working > WORKING_MAX:
        raise RemoteFailure("resource_exhausted", f"more than {WORKING_MAX} requests of one connection are under way")
