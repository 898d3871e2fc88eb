"""How output is read, and found."""

from __future__ import annotations

from typing import Any

from modicum.server.api.fields import patience, whole
from modicum.server.log_filter import Wanted
from modicum.server.log_segments import STREAMS
from modicum.server.logs import Page
from modicum.server.parts import Parts
from modicum.stores import ends
from modicum.wire.channel import Answer, Channel, RemoteFailure
from modicum.wire.frames import Header

WAIT_S_MAX = 60.0


async def read(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """Give the next part from a cursor on, waiting for it if need be."""
    log, wanted = header["log"], _wanted(header.get("where") or {})
    wait_s = patience(header["wait_s"], WAIT_S_MAX)
    try:
        page = await parts.logs.read(log, whole(header["cursor"]), wait_s, wanted)
    except KeyError:
        raise _unknown(log) from None
    if wanted.container and wanted.container not in parts.fleet.containers and page.cursor >= parts.logs.end(log):
        page = page._replace(ended=True)
    return _answer(log, page)


async def tail(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """Give the last lines before a cursor, or before the end: as many as there are in one part."""
    cursor = None if header["cursor"] is None else whole(header["cursor"])
    wanted = _wanted(header.get("where") or {})
    try:
        page = await parts.logs.read_back(header["log"], cursor, whole(header["lines"]), wanted)
    except KeyError:
        raise _unknown(header["log"]) from None
    return _answer(header["log"], page)


def _unknown(log: str) -> RemoteFailure:
    return RemoteFailure("not_found", f"there is no output of {log}")


def _wanted(where: dict[str, Any]) -> Wanted:
    return Wanted(
        streams=frozenset(stream for stream in where.get("streams", ()) if STREAMS.index(stream) >= 0),
        functions=frozenset(map(str, where.get("functions", ()))),
        container=str(where.get("container") or ""),
        call=str(where.get("call") or ""),
        search=str(where.get("search") or ""),
        since=_moment(where.get("since")),
        until=_moment(where.get("until")),
    )


def _moment(value: Any) -> float | None:
    return None if value is None else patience(value, 1e12)


def _answer(log: str, page: Page) -> Answer:
    rows = [[e.stream, e.source, len(e.text), round(e.time, 6), e.function, e.input] for e in page.entries]
    texts = [entry.text for entry in page.entries]
    if page.dropped:
        texts.insert(0, f"[{page.dropped} bytes of older output are kept no longer]\n".encode())
        rows.insert(0, ["system", log, len(texts[0]), page.entries[0].time if page.entries else 0.0, "", ""])
    return {"cursor": page.cursor, "entries": rows, "ended": page.ended}, b"".join(texts)


async def find(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """Tell which log has the output of a function, a container or an app: of those of a name the one that is deployed,
    else the newest that runs, else the newest.
    """
    of = str(header["of"])
    log = await _log_of(parts, of)
    known = {each.log: each for each in await parts.logs.named()}
    if log is None:
        running = [each for each in known.values() if of == each.app and parts.logs.is_live(each.log)]
        log = next((each.log for each in (*running, *known.values()) if of in (each.log, each.app)), None)
    if log is None:
        log = next((each.log for each in known.values() if of in each.functions), None)
    if log is None or log not in known:
        raise RemoteFailure("not_found", f"there is no output of {of!r}: {_WHY}")
    app = parts.apps.by_id.get(log)
    functions = {} if app is None else {function: name for name, function in app.functions.items()}
    return {
        "log": log,
        "app": known[log].app,
        "functions": known[log].functions | functions,
        "running": app is not None,
    }


_WHY = "nothing of that name or id runs here, or has run in the days for which output is kept"


async def _log_of(parts: Parts, of: str) -> str | None:
    """Return the app of a container, a function, or a deployed app's name that is known here."""
    if of.startswith("ta-"):
        container = parts.fleet.containers.get(of)
        if container is not None:
            return container.app
        ended = await parts.database.submit(ends.of(of))
        return str(ended["app"]) if ended is not None else None
    if of in parts.apps.deployed:
        return parts.apps.deployed[of].id
    function = parts.fleet.functions.get(of)
    return function.app if function is not None else None


HANDLERS = {"logs.read": read, "logs.tail": tail, "logs.find": find}
