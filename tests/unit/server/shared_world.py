"""A server's dicts and queues, on a clock that a test moves, and as many connections as it wants."""

from __future__ import annotations

import asyncio
import itertools
import time
from pathlib import Path
from typing import Any

import pytest

from modicum.server import dicts, objects, queues, requests
from modicum.server.api.router import Router
from modicum.server.main import Server
from modicum.server.parts import Parts
from modicum.wire.channel import RemoteFailure
from modicum.wire.messages import USER
from tests.unit.server.parts import Wire, ask, assemble


class Clock:
    """Stands for `time` where dicts and queues look at it."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0
        self.monotonic = time.monotonic

    def time(self) -> float:
        return self.now

    def time_ns(self) -> int:
        return int(self.now * 1e9)

    def install(self, patch: pytest.MonkeyPatch) -> Clock:
        for module in (dicts, objects, queues, requests):
            patch.setattr(module, "time", self)
        return self


_requests = itertools.count(1)


def new_request() -> str:
    return f"rq-{next(_requests):022x}"


class World:
    """A server, which may be killed: the next one has what the store has."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.server: Server
        self.parts: Parts
        self.router: Router

    async def begin(self) -> None:
        await self.begin_with(15.0)

    async def begin_with(self, reattach_grace_s: float) -> None:
        self.server, self.parts, self.router = assemble(self.home)
        self.parts.objects._first_grace_s = reattach_grace_s
        self.parts.queues._grace_s = 0
        await self.parts.objects.restore()
        await self.parts.queues.restore()
        self.user = Wire(USER)

    async def end(self) -> None:
        """End as if killed: nothing is written that was not."""
        self.parts.database.close()
        self.parts.logs.close()

    async def kill(self) -> None:
        await self.end()
        await self.begin()

    async def ask(self, header: dict[str, Any], payload: bytes = b"", channel: Wire | None = None) -> Any:
        """Return the answer as (fields, payload)."""
        answer = await ask(self.router, channel or self.user, header, payload)
        return answer if isinstance(answer, tuple) else (answer or {}, b"")

    async def make(self, kind: str, name: str | None = None) -> str:
        told, _ = await self.ask({"t": "object.create", "kind": kind, "name": name, "by": "me"})
        return str(told["id"])

    # -- queues --

    async def put(self, queue: str, items: list[bytes], **fields: Any) -> None:
        header = {"t": "queue.put", "queue": queue, "request": new_request(), "ttl_s": 1000, "wait_s": 0}
        await self.ask({**header, "sizes": [len(each) for each in items], **fields}, b"".join(items))

    async def get(
        self, queue: str, count: int = 1, channel: Wire | None = None, receive: bool = True, **fields: Any
    ) -> list[bytes]:
        channel = channel or self.user
        header = {"t": "queue.get", "queue": queue, "count": count, "wait_s": 0, "request": new_request(), **fields}
        told, payload = await self.ask(header, b"", channel)
        if receive and told["sizes"]:
            await self.ask({"t": "queue.received", "request": header["request"]}, b"", channel)
        return cut(payload, told["sizes"])

    async def shown(self, queue: str, partition: str | None = None, after: int = 0, wait_s: float = 0) -> list[bytes]:
        header = {"t": "queue.next", "queue": queue, "partition": partition, "after": after, "wait_s": wait_s}
        told, payload = await self.ask(header)
        return cut(payload, [size for _, size in told["items"]])

    async def length(self, queue: str, partition: str | None = None, total: bool = False) -> int:
        told, _ = await self.ask({"t": "queue.len", "queue": queue, "partition": partition, "total": total})
        return int(told["len"])

    async def lose(self, channel: Wire) -> None:
        """A connection ends, and its grace is over."""
        channel.closed = True
        self.server._closed(channel)
        await self.settle()

    async def settle(self) -> None:
        """Let what is under way go on to its end."""
        for _ in range(3):
            await asyncio.sleep(0.0)
            for queue in list(self.parts.queues._queues.values()):
                while queue.working is not None:
                    await asyncio.wait([queue.working])

    # -- dicts --

    async def update(self, of: str, entries: dict[bytes, bytes], **fields: Any) -> bool:
        header = {"t": "dict.update", "dict": of, "request": new_request()}
        told = [[len(key), len(value), None] for key, value in entries.items()]
        payload = b"".join(key + value for key, value in entries.items())
        answer, _ = await self.ask({**header, "entries": told, **fields}, payload)
        return bool(answer["created"])

    async def value(self, of: str, key: bytes) -> bytes | None:
        told, payload = await self.ask({"t": "dict.get", "dict": of}, key)
        return payload if told["found"] else None

    async def pop(self, of: str, key: bytes, **fields: Any) -> bytes | None:
        told, payload = await self.ask({"t": "dict.pop", "dict": of, "request": new_request(), **fields}, key)
        return payload if told["found"] else None

    async def entries(self, of: str) -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = {}
        after: str | None = ""
        while after is not None:
            told, payload = await self.ask({"t": "dict.contents", "dict": of, "after": after, "values": True})
            sizes = [size for each in told["entries"] for size in each[:2]]
            parts = cut(payload, sizes)
            found.update(zip(parts[::2], parts[1::2]))
            after = told["next"]
        return found

    async def count(self, of: str) -> int:
        return int((await self.ask({"t": "dict.len", "dict": of}))[0]["len"])


def cut(payload: bytes, sizes: list[int]) -> list[bytes]:
    parts, start = [], 0
    for size in sizes:
        parts.append(payload[start : start + size])
        start += size
    return parts


__all__ = ["Clock", "RemoteFailure", "World", "cut", "new_request"]
