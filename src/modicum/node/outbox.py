"""What a container has said and how it ended, until the server has acknowledged it.

Each frame is sent as a request; its answer is the acknowledgement. When the connection breaks before that, the
frame goes to the next one: a line may then come twice, but none is lost.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from modicum.wire.frames import PAYLOAD_BYTES_MAX, Header

from .pipes import MarkSplitter

BUFFERED_BYTES_MAX = 4 << 20
"""With so much unsent the container's pipes are no longer read, and its writes block."""

Deliver = Callable[[Header, bytes], Awaitable[None]]
"""Sends a request until it is acknowledged, over however many connections that takes."""

Entry = tuple[str, str | None, bytes]


class Outbox:
    """One container's way to the server, in order. `on_full(True)` asks to stop reading, `on_full(False)` to go on."""

    def __init__(self, container: str, deliver: Deliver, on_full: Callable[[bool], None]) -> None:
        self._container = container
        self._deliver = deliver
        self._on_full = on_full
        self._splitters = {"stdout": MarkSplitter(), "stderr": MarkSplitter()}
        self._entries: deque[Entry] = deque()
        self._added = self._delivered = 0
        self._is_full = False
        self._last: Header | None = None
        self._changed = asyncio.Event()
        self._flushes: deque[tuple[int, asyncio.Future[None]]] = deque()

    def add(self, stream: str, data: bytes) -> None:
        """Take what was read from `stdout` or `stderr`."""
        self._take(stream, self._splitters[stream].feed(data))

    def end(self, last: Header) -> None:
        """There is no more output; `last` is the message that says how it ended."""
        for stream, splitter in self._splitters.items():
            self._take(stream, splitter.finish())
        self._last = last
        self._changed.set()

    async def flushed(self) -> None:
        """Return when everything added up to now has been acknowledged."""
        if self._added > self._delivered:
            flush: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._flushes.append((self._added, flush))
            await flush

    async def run(self) -> None:
        """Deliver until the end has been acknowledged."""
        while self._entries or self._last is None:
            await self._changed.wait()
            self._changed.clear()
            while self._entries:
                await self._deliver_batch()
        await self._deliver(self._last, b"")

    async def _deliver_batch(self) -> None:
        batch = self._next_batch()
        entries = [[stream, key, len(data)] for stream, key, data in batch]
        payload = b"".join(data for _, _, data in batch)
        await self._deliver({"t": "node.output", "container": self._container, "entries": entries}, payload)
        self._delivered += len(payload)
        while self._flushes and self._flushes[0][0] <= self._delivered:
            _, flush = self._flushes.popleft()
            if not flush.done():
                flush.set_result(None)
        if self._is_full and self._added - self._delivered < BUFFERED_BYTES_MAX // 2:
            self._is_full = False
            self._on_full(False)

    def _next_batch(self) -> list[Entry]:
        batch: list[Entry] = []
        size = 0
        while self._entries and size + len(self._entries[0][2]) <= PAYLOAD_BYTES_MAX and len(batch) < _ENTRIES_MAX:
            entry = self._entries.popleft()
            size += len(entry[2])
            batch.append(entry)
        return batch

    def _take(self, stream: str, pieces: list[tuple[str | None, bytes]]) -> None:
        for key, data in pieces:
            self._entries.append((stream, key, data))
            self._added += len(data)
        if pieces:
            self._changed.set()
        if not self._is_full and self._added - self._delivered >= BUFFERED_BYTES_MAX:
            self._is_full = True
            self._on_full(True)


_ENTRIES_MAX = 4096
"""So that the header stays far below its own limit."""
