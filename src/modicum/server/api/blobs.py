"""How blobs are written and read."""

from __future__ import annotations

from collections.abc import Awaitable

from modicum.blobs.base import BlobMissing
from modicum.blobs.contents import LocalContents, WrongContent
from modicum.server.api.fields import value_blob
from modicum.server.api.files import stored
from modicum.server.parts import Parts
from modicum.wire.channel import Answer, Channel, RemoteFailure
from modicum.wire.frames import PAYLOAD_BYTES_MAX, Header
from modicum.wire.messages import HOSTILE, RESTRICTED


def put(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Awaitable[Answer] | Answer:
    """Take in a chunk. Containers make values only: the content of a file would be another app's code."""
    if channel.principal in HOSTILE:
        value_blob(header["blob"])
    if LocalContents.owns(header["blob"]):
        return _put_content(parts, header, payload)
    received = parts.blobs.write(header["blob"], header["offset"], header["total"], payload)
    return {"received": received}


async def _put_content(parts: Parts, header: Header, payload: bytes) -> Answer:
    write = parts.files.contents.write
    try:
        received = await stored(lambda: write(header["blob"], header["offset"], header["total"], payload))
    except WrongContent as error:
        raise RemoteFailure("conflict", str(error)) from None
    return {"received": received}


def get(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """Give a chunk. A container gets what its inputs name, or what it may know as a caller: names cannot be guessed."""
    if channel.principal in HOSTILE and not _may_read(parts, channel, header["blob"]):
        raise RemoteFailure("permission_denied", "a container may not read that blob")
    read = parts.files.contents.read if LocalContents.owns(header["blob"]) else parts.blobs.read
    try:
        chunk, total = read(header["blob"], header["offset"], PAYLOAD_BYTES_MAX)
    except BlobMissing:
        raise RemoteFailure("not_found", f"the value {header['blob']} is not kept any longer") from None
    return {"total": total}, chunk


def _may_read(parts: Parts, channel: Channel, blob: str) -> bool:
    """A restricted container reads what its inputs name, and is no caller."""
    if not blob.startswith("bl-") or channel.principal != RESTRICTED:
        return blob.startswith("bl-")
    container = parts.fleet.containers.get(channel.name)
    held = () if container is None else container.held
    inputs = (parts.deliveries.inputs.get(key) for key in (*parts.controller.state.inputs_of(channel.name), *held))
    return any(each is not None and each.blob == blob for each in inputs)


def free(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """Its reader has it: the value may go. Contents of files stay."""
    if header["blob"].startswith("bl-"):
        parts.blobs.delete(header["blob"])
    return None


HANDLERS = {"blob.put": put, "blob.get": get, "blob.free": free}
