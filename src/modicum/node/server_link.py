"""How the node finds its server, again and again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from modicum.wire.channel import Channel, ChannelClosed, Handler, RemoteFailure, connect
from modicum.wire.frames import Frame, Header
from modicum.wire.version import PROTOCOL, build_id

RETRY_S = 0.1
REFUSED_RETRY_S = 2.0
"""A server that refuses us will not change its mind at once."""


class ServerLink:
    """The connection to whichever server is there now. `greeting` makes the hello of each new one."""

    def __init__(self, directory: Path, handler: Handler, greeting: Callable[[], Header], grace_s: float) -> None:
        self._directory = directory
        self._handler = handler
        self._greeting = greeting
        self._grace_s = grace_s
        self.on_lost: Callable[[], None] = lambda: None
        """Called whenever a server has gone that had taken our greeting."""
        self._channel: asyncio.Future[Channel] = asyncio.get_running_loop().create_future()

    async def run(self) -> None:
        """Stay connected; return when there has been no server for the time of grace."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._grace_s
        while loop.time() < deadline:
            try:
                await self._serve_one()
                deadline = loop.time() + self._grace_s
            except RemoteFailure as refusal:
                print(f"the server refuses this node: {refusal}", flush=True)
                await asyncio.sleep(REFUSED_RETRY_S)
            except OSError:
                pass  # nobody listens (yet)
            await asyncio.sleep(RETRY_S)

    def send(self, header: Header, payload: bytes = b"") -> None:
        """Send a one-way message, if there is a server."""
        if self._channel.done():
            self._channel.result().send(header, payload)

    async def deliver(self, header: Header, payload: bytes = b"") -> None:
        """Send a request until a server has answered it. What a server refuses counts as delivered."""
        while True:
            channel = await asyncio.shield(self._channel)
            try:
                await channel.request(header, payload)
                return
            except RemoteFailure as refusal:
                print(f"the server refused {header['t']}: {refusal}", flush=True)
                return
            except ChannelClosed:
                await asyncio.sleep(0)  # let `run` notice, and wait for the next

    async def ask(self, header: Header) -> Frame:
        """Return the answer to a request. Raises `RemoteFailure`, or `ChannelClosed` if the server goes away."""
        channel = await asyncio.shield(self._channel)
        return await channel.request(header)

    async def fetch(self, blob: str) -> AsyncIterator[bytes]:
        """Yield a blob's bytes. Raises `RemoteFailure`, or `ChannelClosed` if the server goes away meanwhile."""
        channel = await asyncio.shield(self._channel)
        offset, total = 0, 1
        while offset < total:
            answer, chunk = await channel.request({"t": "blob.get", "blob": blob, "offset": offset})
            total = answer["total"]
            offset += len(chunk)
            if chunk:
                yield chunk
            elif offset < total:
                raise RemoteFailure("blob_cut", f"the blob {blob} ended at byte {offset} of {total}")

    async def _serve_one(self) -> None:
        closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def on_closed(_: Channel) -> None:
            if self._channel.done():
                self._channel = asyncio.get_running_loop().create_future()
                self.on_lost()
            if not closed.done():
                closed.set_result(None)

        channel = await connect(str(self._directory), self._handler, on_closed)
        try:
            await channel.request({"t": "hello", "protocol": PROTOCOL, "build": build_id()})
            await channel.request(self._greeting())
            if not closed.done():
                self._channel.set_result(channel)
            await closed
        finally:
            channel.abort()
