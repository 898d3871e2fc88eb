"""How output is read."""

from __future__ import annotations

from modicum.server.api.fields import patience, whole
from modicum.server.parts import Parts
from modicum.wire.channel import Answer, Channel, RemoteFailure
from modicum.wire.frames import Header

WAIT_S_MAX = 60.0


async def read(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """Give what is there from a cursor on, waiting for it if need be."""
    wait_s = patience(header["wait_s"], WAIT_S_MAX)
    try:
        cursor, entries, ended, dropped = await parts.logs.read(header["log"], whole(header["cursor"]), wait_s)
    except KeyError:
        raise RemoteFailure("not_found", f"there is no output of {header['log']}") from None
    lines = [[stream, source, len(text)] for stream, source, text in entries]
    if dropped:
        note = f"[{dropped} bytes of output were dropped: the limit of log_bytes_max was reached]\n".encode()
        entries.insert(0, ("system", header["log"], note))
        lines.insert(0, ["system", header["log"], len(note)])
    return {"cursor": cursor, "entries": lines, "ended": ended}, b"".join(text for _, _, text in entries)


HANDLERS = {"logs.read": read}
