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


class Router:
    """Gets every message of every connection."""

    def __init__(self) -> None:
        self.parts: Parts | None = None

    def __call__(self, channel: Channel, header: Header, payload: bytes) -> Awaitable[Answer] | Answer:
        """Answer a message. A handler's `KeyError` or `TypeError` means a field that is missing or makes no sense."""
        assert self.parts is not None
        kind = header["t"]
        if channel.principal not in MAY_SEND.get(kind, ()):
            if kind not in MAY_SEND:
                raise RemoteFailure("unimplemented", f"this server does not know the message {kind!r}")
            raise RemoteFailure("permission_denied", f"a {channel.principal} may not send {kind!r}")
        try:
            result = HANDLERS[kind](self.parts, channel, header, payload)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            log.exception("malformed message", extra={"type": kind, "principal": channel.principal})
            raise RemoteFailure("invalid", f"the message {kind!r} is malformed: {error!r}") from None
        return result
