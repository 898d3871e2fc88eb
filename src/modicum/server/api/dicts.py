"""How dicts are read and changed. Keys and values are bytes here: whoever wrote them reads them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

from modicum.server import dicts
from modicum.server.api import packs
from modicum.server.api.fields import cut, value_blob
from modicum.server.objects import SharedObject
from modicum.server.parts import Parts
from modicum.server.requests import name_of
from modicum.stores.dicts import Done, Entry, Pop, Put
from modicum.wire.channel import Answer, Channel, RemoteFailure
from modicum.wire.frames import PAYLOAD_BYTES_MAX, Header
from modicum.wire.messages import DICT_KEY_BYTES_MAX, DICT_UPDATE_MAX, DICT_VALUE_BYTES_MAX

PAGE_ENTRIES = 1000


def get(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Awaitable[Answer] | Answer:
    """Give the value of a key; of a large one only the blob that it is."""
    of = _dict(parts, header)
    entry = parts.dicts.at_hand(of, payload)
    return _value(entry) if entry is not None else _get(parts, of, payload)


async def _get(parts: Parts, of: SharedObject, key: bytes) -> Answer:
    return _value(await parts.dicts.get(of, key))


def contains(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Awaitable[Answer] | Answer:
    """Say whether there is a key."""
    of = _dict(parts, header)
    return {"found": True} if parts.dicts.at_hand(of, payload) is not None else _contains(parts, of, payload)


async def _contains(parts: Parts, of: SharedObject, key: bytes) -> Answer:
    return {"found": await parts.dicts.get(of, key) is not None}


def _value(entry: Entry | None) -> Answer:
    if entry is None:
        return {"found": False}
    return {"found": True, "blob": entry.blob}, entry.value


async def update(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """Set entries, those that are there already unless they are to be skipped."""
    of = _dict(parts, header)

    def do(request: str) -> asyncio.Future[Done]:
        if header.get("packed") is not None or any(entry[2] is not None for entry in header["entries"]):
            return asyncio.ensure_future(_update_large(parts, of, header, payload))
        return parts.dicts.do(of, Put(request, _entries(parts, header, payload), bool(header.get("skip"))))

    done = await parts.requests.once(header, do, dicts.again)
    return {"created": done.created}


async def _update_large(parts: Parts, of: SharedObject, header: Header, payload: bytes) -> Done:
    """Set entries of which some have come as blobs: those are to be on the disk before the entries are."""
    async with parts.dicts.large:
        entries = _entries(parts, header, await packs.packed(parts, header, payload))
        for entry in entries:
            if entry.blob is not None:
                await asyncio.to_thread(parts.blobs.sync, entry.blob)
        done = await parts.dicts.do(of, Put(name_of(header), entries, bool(header.get("skip"))))
    packs.free(parts, header)
    return done


def _entries(parts: Parts, header: Header, payload: bytes) -> list[Entry]:
    told: list[Any] = header["entries"]
    if len(told) > DICT_UPDATE_MAX:
        raise RemoteFailure("request_size", f"{len(told):,} entries in one update; {DICT_UPDATE_MAX:,} is the most")
    halves = cut(payload, [size for entry in told for size in entry[:2]])
    entries = [Entry(key, value, value_blob(each[2])) for key, value, each in zip(halves[::2], halves[1::2], told)]
    for entry in entries:
        if len(entry.key) > DICT_KEY_BYTES_MAX:
            raise RemoteFailure(
                "request_size", f"a key of {len(entry.key):,} bytes; {DICT_KEY_BYTES_MAX:,} is the most"
            )
        if entry.blob is not None and packs.size_of(parts, entry.blob) > DICT_VALUE_BYTES_MAX:
            raise RemoteFailure("request_size", f"a value of more than {DICT_VALUE_BYTES_MAX:,} bytes")
        if len(entry.key) + len(entry.value) > PAYLOAD_BYTES_MAX:
            raise ValueError("a value that is no blob, though it is larger than a frame")
    return entries


async def pop(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """Take an entry out and give its value."""
    of = _dict(parts, header)
    done: Done = await parts.requests.once(
        header, lambda request: parts.dicts.do(of, Pop(request, payload)), dicts.again
    )
    return _value(done.popped)


async def length(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """Count the entries, up to a limit."""
    return {"len": await parts.dicts.count(_dict(parts, header))}


async def clear(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """Take all entries out."""
    of = _dict(parts, header)
    await parts.requests.once(header, lambda request: parts.dicts.do(of, dicts.Clear(request)), dicts.again)
    return None


async def contents(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """Give some entries, in no order that means anything, and where to go on."""
    of, with_values = _dict(parts, header), bool(header["values"])
    after = bytes.fromhex(header["after"])
    entries, more = await parts.dicts.page(of, after, PAYLOAD_BYTES_MAX, PAGE_ENTRIES, with_values)
    told = [[len(each.key), len(each.value), each.blob] for each in entries]
    data = b"".join(part for each in entries for part in (each.key, each.value))
    return {"entries": told, "next": None if more is None else more.hex()}, data


def _dict(parts: Parts, header: Header) -> SharedObject:
    return parts.objects.find("dict", header["dict"])


HANDLERS = {
    "dict.get": get,
    "dict.contains": contains,
    "dict.update": update,
    "dict.pop": pop,
    "dict.len": length,
    "dict.clear": clear,
    "dict.contents": contents,
}
