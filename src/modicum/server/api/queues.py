"""How items are put into queues and taken out of them. They are bytes here: whoever put them made them of values."""

from __future__ import annotations

import asyncio
from typing import Any

from modicum.server.api import packs
from modicum.server.api.fields import SECONDS_MAX, cut, patience, seconds, whole
from modicum.server.objects import SharedObject
from modicum.server.parts import Parts
from modicum.server.queue_line import BYTES_MAX, ITEMS_MAX
from modicum.server.requests import name_of
from modicum.stores.queues import Taken
from modicum.wire.channel import Answer, Channel, RemoteFailure
from modicum.wire.frames import Header
from modicum.wire.messages import QUEUE_ITEM_BYTES_MAX

SHOW_WAIT_S_MAX = 60.0


async def put(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """Put items at the end of a partition, waiting for room."""
    of, partition, request = _queue(parts, header), _partition(header), name_of(header)
    ttl_s, wait_s = seconds(header["ttl_s"]), _wait_s(header)
    if header.get("again") and await parts.queues.put_again(request):
        return None
    sizes = [whole(each) for each in header["sizes"]]
    if len(sizes) > ITEMS_MAX or sum(sizes) > BYTES_MAX:
        raise RemoteFailure(
            "request_size", f"{len(sizes):,} items in one request; a partition holds {ITEMS_MAX:,}, and 64 MiB"
        )
    if any(each > QUEUE_ITEM_BYTES_MAX for each in sizes):
        raise RemoteFailure("request_size", "an item of a queue is larger than 1 MiB")
    with parts.queues.holding(sum(sizes)):
        items = cut(await packs.packed(parts, header, payload), sizes)
        if items:
            await parts.queues.put(of, request, partition, items, ttl_s, wait_s)
    packs.free(parts, header)
    return None


async def get(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """Take items from the front of a partition, waiting for the first."""
    of, partition, request = _queue(parts, header), _partition(header), name_of(header)
    count, wait_s = min(whole(header["count"]), ITEMS_MAX), _wait_s(header)
    taken = await parts.queues.take_again(of, request, channel) if header.get("again") else None
    if taken is None:
        taken = await parts.queues.take(of, request, partition, count, wait_s, channel)
    more = 0 < len(taken.sizes) < count and await parts.queues.count(of, partition) > 0
    return {"sizes": taken.sizes, "more": more}, taken.payload


def received(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """Whoever took items has them."""
    parts.queues.received(name_of(header), channel)
    return None


def leave(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """Whoever asked waits no longer."""
    parts.queues.give_back(name_of(header), channel)
    return None


async def length(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """Count the items of a partition, or of all."""
    of = _queue(parts, header)
    if header.get("total"):
        return {"len": (await parts.queues.total(of))[1]}
    return {"len": await parts.queues.count(of, _partition(header))}


async def clear(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """Empty a partition, or all."""
    of, partition = _queue(parts, header), _partition(header)

    def do(request: str) -> asyncio.Future[None]:
        clear_ = (
            parts.queues.clear_all(of, request) if header.get("all") else parts.queues.clear(of, request, partition)
        )
        return asyncio.ensure_future(clear_)

    await parts.requests.once(header, do, lambda _: None)
    return None


async def following(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """Show items and leave them there, waiting for the first."""
    of, partition = _queue(parts, header), _partition(header)
    wait_s = patience(header["wait_s"], SHOW_WAIT_S_MAX)
    shown: Taken = await parts.queues.following(of, partition, whole(header["after"]), wait_s)
    return {"items": list(zip(shown.numbers, shown.sizes))}, shown.payload


def _queue(parts: Parts, header: Header) -> SharedObject:
    return parts.objects.find("queue", header["queue"])


def _partition(header: Header) -> bytes:
    """Return the bytes of a partition's name; those of the one without a name are none."""
    name: Any = header.get("partition")
    if name is None:
        return b""
    key = name.encode("utf-8", "surrogatepass")
    if not 1 <= len(key) <= 64:
        raise ValueError("a partition's name has 1 to 64 bytes")
    return bytes(key)


def _wait_s(header: Header) -> float | None:
    wait_s = header["wait_s"]
    return None if wait_s is None else patience(wait_s, SECONDS_MAX)


HANDLERS = {
    "queue.put": put,
    "queue.get": get,
    "queue.received": received,
    "queue.leave": leave,
    "queue.len": length,
    "queue.clear": clear,
    "queue.next": following,
}
