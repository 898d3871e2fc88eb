"""How objects that programs share are made, found, kept alive and deleted: dicts and queues."""

from __future__ import annotations

from typing import Any

from modicum.server.api.fields import patience, whole
from modicum.server.objects import PREFIXES, SharedObject
from modicum.server.parts import Parts
from modicum.wire.channel import Answer, Channel, RemoteFailure
from modicum.wire.frames import Header

LISTED_MAX = 1000
TIME_MAX = 1e11
AUTHOR_MAX = 64


async def create(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """Make an object. Raises `RemoteFailure` if there is one of that name, unless that is all right."""
    kind, name = _kind(header), header.get("name")
    if name is not None and header.get("fail_if_exists") and parts.objects.named(kind, name) is not None:
        raise RemoteFailure("already_exists", f"there is a {kind} named {name!r} already")
    by = str(header.get("by") or "")[:AUTHOR_MAX]
    return _facts(await parts.objects.create(kind, name, by))


def lookup(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """Tell what there is to say of an object, by its name or its id."""
    kind = _kind(header)
    if "id" in header:
        return _facts(parts.objects.find(kind, header["id"]))
    found = parts.objects.named(kind, header["name"])
    if found is None:
        advice = f"make it by `{kind.capitalize()}.from_name(…, create_if_missing=True)`, or `modicum {kind} create`"
        raise RemoteFailure("not_found", f"there is no {kind} named {header['name']!r}; {advice}")
    return _facts(found)


async def list_(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """List those that have a name, the newest first."""
    kind, before = _kind(header), header.get("before")
    before = None if before is None else patience(before, TIME_MAX)
    listed = parts.objects.listed(kind, before, min(whole(header["count"]), LISTED_MAX))
    facts = [_facts(each) for each in listed]
    if header.get("sizes") and kind == "queue":
        for each, told in zip(listed, facts):
            told["partitions"], told["items"] = await parts.queues.total(each)
    return {"objects": facts}


async def delete(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """Delete an object and all that is in it."""
    await parts.objects.delete(parts.objects.find(_kind(header), header["id"]))
    return None


async def hold(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """Keep an ephemeral object alive while this connection lives; answered when it has gone."""
    await parts.objects.hold(parts.objects.find(_kind(header), header["id"]), channel)
    return None


def _kind(header: Header) -> str:
    kind = header["kind"]
    if kind not in PREFIXES:
        raise ValueError(f"{kind!r} is no kind of object")
    return str(kind)


def _facts(of: SharedObject) -> dict[str, Any]:
    told = of.stored
    return {"id": told.id, "name": told.name, "created_at": told.created_at, "created_by": told.created_by or None}


HANDLERS = {
    "object.create": create,
    "object.lookup": lookup,
    "object.list": list_,
    "object.delete": delete,
    "object.hold": hold,
}
