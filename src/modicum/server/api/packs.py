"""How do many values come in one message? In its payload, or, if they are too much for a frame, in a blob."""

from __future__ import annotations

import asyncio

from modicum.server.parts import Parts
from modicum.wire.channel import RemoteFailure
from modicum.wire.frames import Header
from modicum.wire.messages import PACK_BYTES_MAX


async def packed(parts: Parts, header: Header, payload: bytes) -> bytes:
    """Return what a message carries. A blob is read whole, and has served then. Raises `RemoteFailure`."""
    blob = header.get("packed")
    if blob is None:
        return payload
    size = size_of(parts, blob)
    if size > PACK_BYTES_MAX:
        raise RemoteFailure("request_size", f"{size:,} bytes in one request; {PACK_BYTES_MAX:,} is the most")
    return await asyncio.to_thread(parts.blobs.path(blob).read_bytes)


def free(parts: Parts, header: Header) -> None:
    """What came as a blob is where it belongs: the blob may go."""
    if header.get("packed") is not None:
        parts.blobs.delete(header["packed"])


def size_of(parts: Parts, blob: str) -> int:
    """Return how large a blob is. Raises `RemoteFailure` if it is not here."""
    if not parts.blobs.has(blob):
        raise RemoteFailure("conflict", f"the value {blob} has not arrived")
    return parts.blobs.path(blob).stat().st_size
