"""How a caller's large values travel: in chunks, a few on their way at a time. Part of an operation."""

from __future__ import annotations

import os

from modicum._exchange import Request
from modicum.exception import RequestSizeError
from modicum.wire.frames import PAYLOAD_BYTES_MAX
from modicum.wire.messages import VALUE_BYTES_MAX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from modicum._exchange import Operation

CHUNKS_AHEAD = 4
"""Requests on their way at once: with one megabyte each, this is the window of the transfer."""


def new_blob() -> str:
    """Return a name for a new blob."""
    return "bl-" + os.urandom(12).hex()


def put(blob: str, data: bytes) -> Operation[None]:
    """Store `data` under the name `blob`. Doing it again with the same data is harmless.

    Raises `RequestSizeError` if it is too large for a value.
    """
    if len(data) > VALUE_BYTES_MAX:
        raise RequestSizeError(
            f"a value of {len(data) / 2**30:.3g} GiB cannot be sent: {VALUE_BYTES_MAX / 2**30:g} GiB is the most; "
            "send it in parts, or have the function read it from where it is"
        )
    offsets = range(0, max(len(data), 1), PAYLOAD_BYTES_MAX)
    received = -1
    while received < len(data):  # a server that was restarted in between has not counted the chunks before
        for start in range(0, len(offsets), CHUNKS_AHEAD):
            answers = yield Request(
                *(
                    (
                        {"t": "blob.put", "blob": blob, "offset": offset, "total": len(data)},
                        data[offset : offset + PAYLOAD_BYTES_MAX],
                    )
                    for offset in offsets[start : start + CHUNKS_AHEAD]
                )
            )
            received = max(header["received"] for header, _ in answers)


def get(blob: str) -> Operation[bytearray]:
    """Return a blob's bytes."""
    ((header, payload),) = yield Request(({"t": "blob.get", "blob": blob, "offset": 0}, b""))
    data = bytearray(header["total"])
    data[: len(payload)] = payload
    offsets = range(len(payload), header["total"], PAYLOAD_BYTES_MAX)
    for start in range(0, len(offsets), CHUNKS_AHEAD):
        group = offsets[start : start + CHUNKS_AHEAD]
        answers = yield Request(*(({"t": "blob.get", "blob": blob, "offset": offset}, b"") for offset in group))
        for offset, (_, chunk) in zip(group, answers):
            data[offset : offset + len(chunk)] = chunk
    return data
