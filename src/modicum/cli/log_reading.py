"""How is output that a server keeps asked for: the last of it, a stretch of time, or all that comes from now on?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from modicum import _blocking
from modicum._exchange import ConnectionLost, Item, Reconnect, Request
from modicum.cli.asking import ask

TYPE_CHECKING = False
if TYPE_CHECKING:
    from modicum._exchange import Operation

WAIT_S = 30.0
REST_S = 0.1
"""An unfinished line is shown when nothing has come for so long."""

_THE_END = 1 << 52


class Entry(NamedTuple):
    """Some output: what wrote it, how long the text is, when, for which function and which input."""

    stream: str
    source: str
    text: bytes
    time: float
    function: str
    input: str


class Log(NamedTuple):
    """Where an app's output is."""

    id: str
    app: str
    functions: dict[str, str]
    running: bool


@dataclass(frozen=True)
class Where:
    """What is wanted of it; empty and None want all. Times are in seconds since the epoch."""

    streams: tuple[str, ...] = ()
    functions: tuple[str, ...] = ()
    container: str = ""
    call: str = ""
    search: str = ""
    since: float | None = None
    until: float | None = None

    def header(self) -> dict[str, Any]:
        """Return it as it is sent."""
        return {name: value for name, value in vars(self).items() if value not in ("", (), None)}


def find(of: str) -> Log:
    """Return the log of an app, by its name or id, of a function or of a container. Raises `NotFoundError`."""
    answer = ask({"t": "logs.find", "of": of})
    return Log(answer["log"], answer["app"], answer["functions"], answer["running"])


def last(log: str, lines: int, where: Where) -> list[Entry]:
    """Return the last lines of what is wanted."""
    return _blocking.run(_last(log, _THE_END, lines, where))


def stretch(log: str, where: Where) -> Iterator[list[Entry]]:
    """Yield all that is wanted of what is there now, in order."""
    end = _blocking.run(_end(log))
    return _blocking.iterate(_forward(log, 0, end, where), None)


def follow(log: str, where: Where, lines: int | None = None) -> Iterator[list[Entry]]:
    """Yield what is wanted as it comes, until the app, or the one container that is wanted, has ended.

    Begins with the last `lines`, or from `where.since` on. An empty list says that nothing has come for a moment.
    Lines are not searched for: one that comes in parts is whole only at the reader.
    """
    end = _blocking.run(_end(log))
    if lines is not None and where.since is None:
        yield _blocking.run(_last(log, end, lines, where))
    cursor = end if where.since is None else 0
    yield from _blocking.iterate(_forward(log, cursor, None, replace(where, search="")), None)


def _end(log: str) -> Operation[int]:
    header, _ = yield from _asked({"t": "logs.read", "log": log, "cursor": _THE_END, "wait_s": 0.0})
    return int(header["cursor"])


def _last(log: str, cursor: int, lines: int, where: Where) -> Operation[list[Entry]]:
    found: list[Entry] = []
    ended = False
    while lines > 0 and not ended:
        request = {"t": "logs.tail", "log": log, "cursor": cursor, "lines": lines, "where": where.header()}
        header, entries = yield from _asked(request)
        found = entries + found
        lines -= sum(_lines(entry.text) for entry in entries)
        cursor, ended = header["cursor"], header["ended"]
    return found


def _forward(log: str, cursor: int, end: int | None, where: Where) -> Operation[None]:
    wait_s = 0.0 if end is not None else REST_S
    while end is None or cursor < end:
        request = {"t": "logs.read", "log": log, "cursor": cursor, "wait_s": wait_s, "where": where.header()}
        header, entries = yield from _asked(request)
        if entries or end is None:
            yield Item(entries)
        if header["ended"] and not entries:
            return
        wait_s = 0.0 if end is not None else REST_S if entries else WAIT_S
        cursor = header["cursor"]


def _asked(request: dict[str, Any]) -> Operation[tuple[dict[str, Any], list[Entry]]]:
    while True:
        try:
            ((header, payload),) = yield Request((request, b""))
            return header, list(_entries(header["entries"], payload))
        except ConnectionLost:
            yield Reconnect()


def _entries(rows: list[list[Any]], payload: bytes) -> Iterator[Entry]:
    start = 0
    for stream, source, size, *rest in rows:
        yield Entry(stream, source, payload[start : start + size], *rest)
        start += size


def _lines(text: bytes) -> int:
    return text.count(b"\n") + (not text.endswith(b"\n"))
