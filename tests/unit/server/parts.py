"""A server's parts without processes, and connections that only remember what was sent on them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from modicum.server.api.router import Router
from modicum.server.main import Server
from modicum.server.parts import Parts
from modicum.server.settings import Settings
from modicum.wire.channel import Channel
from modicum.wire.frames import Frame, Header


class Wire(Channel):
    """A connection whose other end is this test."""

    def __init__(self, principal: str, name: str = "") -> None:
        super().__init__(lambda channel, header, payload: None)
        self.principal = principal
        self.name = name or principal
        self.sent: list[Frame] = []
        self.waiting = 0
        self.knows = True

    def send(self, header: Header, payload: bytes = b"") -> None:
        if not self.closed:
            self.sent.append((header, bytes(payload)))

    async def request(self, header: Header, payload: bytes = b"") -> Frame:
        self.send(header, payload)
        return {"t": "reply", "known": self.knows}, b""

    @property
    def buffered(self) -> int:
        return self.waiting

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def take(self) -> list[Frame]:
        """Return what was sent since the last look."""
        sent, self.sent = self.sent, []
        return sent


class NoEngine:
    """There are no nodes but those that a test connects."""

    directory = Path()
    notice = ""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def undo_start(self) -> None: ...

    def check(self) -> None: ...

    def failure(self) -> str:
        return ""

    def status(self) -> dict[str, Any]:
        return {}


def assemble(home: Path) -> tuple[Server, Parts, Router]:
    """Return the parts of a server below `home`."""
    server = Server(Settings(home=home), NoEngine())
    parts = server._assemble()
    return server, parts, server._router


async def ask(router: Router, channel: Channel, header: Header, payload: bytes = b"") -> Any:
    """Return the answer of the server to a request."""
    answer: Any = router(channel, {"r": 1, **header}, payload)
    return await answer if asyncio.isfuture(answer) or asyncio.iscoroutine(answer) else answer
