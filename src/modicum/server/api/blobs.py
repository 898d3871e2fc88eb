"""How blobs are written and read."""

from __future__ import annotations

from modicum.blobs.base import BlobMissing
from modicum.server.api.fields import value_blob
from modicum.server.parts import Parts
from modicum.wire.channel import Answer, Channel, RemoteFailure
from modicum.wire.frames import PAYLOAD_BYTES_MAX, Header
from modicum.wire.messages import CONTAINER, RESTRICTED


def put(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """Take in a chunk. Containers make values only: an archive of source would be another app's code."""
    if channel.principal in (CONTAINER, RESTRICTED):
        value_blob(header["blob"])
    received = parts.blobs.write(header["blob"], header["offset"], header["total"], payload)
    return {"received": received}


def get(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """Give a chunk. A container gets what its inputs name, or what it may know as a caller: names cannot be guessed."""
    if channel.principal in (CONTAINER, RESTRICTED) and not header["blob"].startswith("bl-"):
        raise RemoteFailure("permission_denied", "a container may not read that blob")
    try:
        chunk, total = parts.blobs.read(header["blob"], header["offset"], PAYLOAD_BYTES_MAX)
    except BlobMissing:
        raise RemoteFailure("not_found", f"the value {header['blob']} is not kept any longer") from None
    return {"total": total}, chunk


def free(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """Its reader has it: the value may go. Source archives stay."""
    if header["blob"].startswith("bl-"):
        parts.blobs.delete(header["blob"])
    return None


def missing(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """Tell which of some blobs are not here."""
    return {"blobs": [blob for blob in header["blobs"] if not parts.blobs.has(blob)]}


HANDLERS = {"blob.put": put, "blob.get": get, "blob.free": free, "blob.missing": missing}
