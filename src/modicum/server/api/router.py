"""Who may ask what, and which function answers."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from modicum.server.api import agents, apps, blobs, builds, calls, logs, nodes, status
from modicum.server.parts import Parts
from modicum.wire.channel import Answer, Channel, RemoteFailure
from modicum.wire.frames import Header
from modicum.wire.messages import MAY_SEND

log = logging.getLogger("modicum.api")

Handler = Callable[[Parts, Channel, Header, bytes], "Awaitable[Answer] | Answer"]

HANDLERS: dict[str, Handler] = {
    **agents.HANDLERS,
    **apps.HANDLERS,
    **blobs.HANDLERS,
    **builds.HANDLERS,
    **calls.HANDLERS,
    **logs.HANDLERS,
    **nodes.HANDLERS,
    **status.HANDLERS,
}

MALFORMED = (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError)
"""What a handler raises when a field is missing or makes no sense."""


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
            raise RemoteFailure("permission_denied", f"a {channel.principal} may not send {kind!r}")
        try:
            result = HANDLERS[kind](self.parts, channel, header, payload)
        except MALFORMED as error:
            raise _refusal(channel, kind, error) from None
        return _later(channel, kind, result) if isinstance(result, Awaitable) else result


async def _later(channel: Channel, kind: str, result: Awaitable[Answer]) -> Answer:
    try:
        return await result
    except MALFORMED as error:
        raise _refusal(channel, kind, error) from None


def _refusal(channel: Channel, kind: str, error: Exception) -> RemoteFailure:
    log.error("malformed message", extra={"type": kind, "principal": channel.principal}, exc_info=error)
    return RemoteFailure("invalid", f"the message {kind!r} is malformed: {error!r}")
