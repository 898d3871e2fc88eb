"""How large values travel between the agent and the server: in chunks, a few on their way at a time."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from modicum.agent.link import Link

CHUNK_BYTES = 1 << 20
CHUNKS_AHEAD = 4
"""Requests on their way at once; with one megabyte each this is the window of the transfer."""


class BlobLost(Exception):
    """The server does not have the bytes, or would not take them."""


def fetch(link: Link, blob: str) -> bytearray:
    """Return a blob's bytes."""
    first, payload = link.request([{"t": "blob.get", "blob": blob, "offset": 0}])[0]
    _check(first)
    data = bytearray(first["total"])
    data[: len(payload)] = payload
    offsets = list(range(len(payload), first["total"], CHUNK_BYTES))
    for start in range(0, len(offsets), CHUNKS_AHEAD):
        group = offsets[start : start + CHUNKS_AHEAD]
        answers = link.request([{"t": "blob.get", "blob": blob, "offset": offset} for offset in group])
        for offset, (header, chunk) in zip(group, answers):
            _check(header)
            data[offset : offset + len(chunk)] = chunk
    return data


def store(link: Link, data: bytes) -> str:
    """Give bytes to the server and return the blob's name."""
    blob = "bl-" + os.urandom(12).hex()
    offsets = list(range(0, len(data), CHUNK_BYTES))
    for start in range(0, len(offsets), CHUNKS_AHEAD):
        group = offsets[start : start + CHUNKS_AHEAD]
        answers = link.request(
            [{"t": "blob.put", "blob": blob, "offset": offset, "total": len(data)} for offset in group],
            [data[offset : offset + CHUNK_BYTES] for offset in group],
        )
        for header, _ in answers:
            _check(header)
    return blob


def _check(header: dict[str, object]) -> None:
    if header["t"] == "error":
        raise BlobLost(str(header.get("message")))
