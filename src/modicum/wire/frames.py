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
    from collections.abc import Iterable, Iterator
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


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON")


_decode = json.JSONDecoder(parse_constant=_no_constant).decode


class ProtocolError(Exception):
    """The peer sent bytes that are no frame; the connection cannot be used any longer."""


JOIN_BYTES_MAX = 32 * 1024
"""A larger payload is written behind its header rather than copied into one piece with it."""


def encode_parts(header: Header, payload: bytes | bytearray | memoryview) -> list[bytes | bytearray | memoryview]:
    """Return one frame in the pieces in which it is best written. Raises `ProtocolError` as `encode` does."""
    if len(payload) <= JOIN_BYTES_MAX:
        return [encode(header, payload)]
    return [_head(header, payload), payload]


def encode(header: Header, payload: bytes | bytearray | memoryview = b"") -> bytes:
    """Return one frame. Raises `ProtocolError` if the payload or the header is over its limit."""
    return b"".join((_head(header, payload), payload))


def batches(
    pairs: Iterable[tuple[list[Any], bytes]], entries_max: int | None = None
) -> Iterator[tuple[list[list[Any]], bytes]]:
    """Yield what goes into one frame each: entries, and their payloads in one piece. The order stays."""
    entries: list[list[Any]] = []
    parts: list[bytes] = []
    size = 0
    for entry, payload in pairs:
        if entries and (size + len(payload) > PAYLOAD_BYTES_MAX or len(entries) == entries_max):
            yield entries, b"".join(parts)
            entries, parts, size = [], [], 0
        entries.append(entry)
        parts.append(payload)
        size += len(payload)
    if entries:
        yield entries, b"".join(parts)


def _head(header: Header, payload: bytes | bytearray | memoryview) -> bytes:
    text = _encode(header).encode("utf-8", "surrogatepass")  # JSON may escape half a pair: a str that has no UTF-8
    if len(payload) > PAYLOAD_BYTES_MAX or len(text) > HEADER_BYTES_MAX:
        raise ProtocolError(f"frame {header.get('t')!r} too large: {len(text)} + {len(payload)} bytes")
    return _LENGTHS.pack(len(text), len(payload)) + text


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
        view = memoryview(buffer)
        while end - start >= 8:
            header_len, payload_len = _LENGTHS.unpack_from(buffer, start)
            if header_len > HEADER_BYTES_MAX or payload_len > PAYLOAD_BYTES_MAX:
                view.release()
                raise ProtocolError(f"peer announced a frame of {header_len} + {payload_len} bytes")
            body = start + 8 + header_len
            stop = body + payload_len
            if stop > end:
                break
            frames.append((_header(view[start + 8 : body]), bytes(view[body:stop])))
            start = stop
        view.release()
        if start:
            del buffer[:start]
        return frames


def _header(raw: memoryview) -> Header:
    try:
        header = _decode(str(raw, "utf-8", "surrogatepass"))
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"header is not JSON: {error}") from None
    if not isinstance(header, dict) or not isinstance(header.get("t"), str):
        raise ProtocolError("header is not an object with a type")
    return header
