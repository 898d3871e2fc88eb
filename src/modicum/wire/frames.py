"""How a message becomes bytes: two lengths, a JSON header, a raw payload.

    +-----------------+------------------+-------------+---------+
    | header len (u32)| payload len (u32)| JSON header | payload |
    +-----------------+------------------+-------------+---------+

The header is a JSON object whose `t` names the message (`messages.py`). A request carries `r`, a number that its
sender chose; the answer is `{"t": "reply", "r": …}` or `{"t": "error", "r": …, "code": …, "message": …}`.
"""

from __future__ import annotations

import json
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Header = dict[str, Any]
    Frame = tuple[Header, bytes]
else:
    Header, Frame = dict, tuple

PAYLOAD_BYTES_MAX = 1 << 20
"""A payload never exceeds this, so that no frame delays another for long on a shared connection."""

HEADER_BYTES_MAX = 1 << 20

_LENGTHS = struct.Struct(">II")
_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, check_circular=False).encode
_decode = json.JSONDecoder().decode


class ProtocolError(Exception):
    """The peer sent bytes that are no frame; the connection cannot be used any longer."""


def encode(header: Header, payload: bytes | bytearray | memoryview = b"") -> bytes:
    """Return one frame. Raises `ProtocolError` if the payload or the header is over its limit."""
    text = _encode(header).encode()
    if len(payload) > PAYLOAD_BYTES_MAX or len(text) > HEADER_BYTES_MAX:
        raise ProtocolError(f"frame {header.get('t')!r} too large: {len(text)} + {len(payload)} bytes")
    return b"".join((_LENGTHS.pack(len(text), len(payload)), text, payload))


class Decoder:
    """Turns a stream of bytes into frames; feed it whatever arrived, in any slices."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes | bytearray | memoryview) -> list[Frame]:
        """Return the frames that `data` completes, in order. Raises `ProtocolError` on malformed bytes."""
        buffer = self._buffer
        buffer += data
        frames: list[Frame] = []
        start, end = 0, len(buffer)
        while end - start >= 8:
            header_len, payload_len = _LENGTHS.unpack_from(buffer, start)
            if header_len > HEADER_BYTES_MAX or payload_len > PAYLOAD_BYTES_MAX:
                raise ProtocolError(f"peer announced a frame of {header_len} + {payload_len} bytes")
            body = start + 8 + header_len
            stop = body + payload_len
            if stop > end:
                break
            frames.append((_header(buffer[start + 8 : body]), bytes(buffer[body:stop])))
            start = stop
        if start:
            del buffer[:start]
        return frames


def _header(raw: bytearray) -> Header:
    try:
        header = _decode(raw.decode())
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"header is not JSON: {error}") from None
    if not isinstance(header, dict) or not isinstance(header.get("t"), str):
        raise ProtocolError("header is not an object with a type")
    return header
