"""What did containers write? A log for each app, which outlives it, read from any place on or from its end.

Files are read in a thread, unless little is wanted of them: whoever follows an app reads what has just been written.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from modicum.server import log_segments
from modicum.server.log_filter import Wanted, last_lines
from modicum.server.log_retention import Kept, expired
from modicum.server.log_segments import SEGMENTS, Entry, Log, Segment

logger = logging.getLogger("modicum.logs")

DAY_S = 86_400.0

INLINE_BYTES = 64 * 1024
"""So much is read at once, without a thread."""

POLITE_ENTRIES = 64

EVERYTHING = Wanted()


class Page(NamedTuple):
    """A part of a log. `cursor` is where to go on; `ended`: there is nothing more in that direction."""

    cursor: int
    entries: list[Entry]
    ended: bool
    dropped: int = 0


class Found(NamedTuple):
    """A log, the app and the functions that wrote it, and when that app began."""

    log: str
    app: str
    functions: dict[str, str]
    began_at: float


class _Live:
    """The log of an app that runs."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.ended = False
        self.moved = asyncio.Event()

    def wake(self) -> None:
        self.moved.set()
        self.moved = asyncio.Event()


class Logs:
    """The output of all apps: `log_max` bytes of each, `total_max` of all, for `kept_s`."""

    def __init__(
        self,
        folder: Path,
        log_max: int,
        total_max: int = 1 << 40,
        kept_s: float = 7 * DAY_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._folder = folder
        self._log_max = log_max
        self._total_max = total_max
        self._kept_s = kept_s
        self._clock = clock
        self._live: dict[str, _Live] = {}

    # -- writing -------------------------------------------------------------------------------------------

    def open(self, log: str, app: str) -> None:
        """Begin an app's log, or go on with one that is there."""
        if log in self._live:
            return
        folder = self._folder / log
        if not folder.is_dir():
            log_segments.begin(folder, app, self._clock())
        self._live[log] = _Live(self._load(log))

    def append(self, log: str, entries: Iterable[Entry]) -> None:
        """Add output; dropped if the app does not run any longer, or the disk is full: work goes on."""
        live = self._live.get(log)
        if live is not None:
            try:
                live.log.append(entries)
            except OSError as error:
                logger.error("output not kept", extra={"app": log, "why": str(error)})
            live.wake()

    def name(self, log: str, function: str, name: str) -> None:
        """Keep the name of a function that writes to a log, unless the disk is full."""
        live = self._live.get(log)
        if live is not None:
            with contextlib.suppress(OSError):
                live.log.name(function, name)

    def end(self, log: str) -> int:
        """Return the cursor behind all that is there, 0 if no such app runs."""
        live = self._live.get(log)
        return live.log.end if live is not None else 0

    def finish(self, log: str) -> None:
        """Nothing more will come; what is there can be read on."""
        live = self._live.pop(log, None)
        if live is not None:
            live.ended = True
            live.log.close()
            live.wake()

    def remove(self, log: str) -> None:
        """Forget a log to which nothing more comes."""
        if log not in self._live and log in self.known():
            log_segments.remove(self._folder / log)

    def close(self) -> None:
        """Write no more, whatever runs."""
        for log in list(self._live):
            self.finish(log)

    def _load(self, log: str) -> Log:
        return Log(self._folder / log, self._log_max, self._kept_s / SEGMENTS, self._clock)

    # -- reading -------------------------------------------------------------------------------------------

    async def read(self, log: str, cursor: int, wait_s: float, wanted: Wanted = EVERYTHING) -> Page:
        """Return what is wanted of the next part behind a cursor, waiting for output if there is none.

        Raises `KeyError` for a log that does not exist.
        """
        live = self._live.get(log)
        found = live.log if live is not None else await self._ended(log)
        cursor = min(cursor, found.end)
        if live is not None and cursor == found.end and not live.ended:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await live.moved.wait()
        dropped = max(found.start - cursor, 0)
        segment = found.segment_at(cursor, wanted.since)
        if segment is None:
            return Page(found.end, [], live is None or live.ended, dropped)
        entries = await _read(segment, cursor, wanted)
        if entries is None:  # the limit was reached just now
            return Page(segment.stop, [], False, dropped + segment.stop - segment.start)
        ended = (live is None or live.ended) and segment.stop == found.end
        return Page(segment.stop, entries, ended, dropped)

    async def read_back(self, log: str, cursor: int | None, lines: int, wanted: Wanted = EVERYTHING) -> Page:
        """Return the last lines of what is wanted of the part before a cursor, or before the end.

        Raises `KeyError` for a log that does not exist.
        """
        live = self._live.get(log)
        found = live.log if live is not None else await self._ended(log)
        segment = found.segment_before(found.end if cursor is None else cursor, wanted.until)
        if segment is None:
            return Page(0, [], True)
        entries = await _read(segment, segment.start, wanted) or []
        ended = segment.start <= found.start or (wanted.since is not None and segment.written_at < wanted.since)
        return Page(segment.start, last_lines(entries, lines), ended)

    async def _ended(self, log: str) -> Log:
        if log not in await asyncio.to_thread(self.known):
            raise KeyError(log)
        return await asyncio.to_thread(self._load, log)

    # -- all logs ------------------------------------------------------------------------------------------

    def known(self) -> list[str]:
        """Return the ids of logs that have files."""
        return os.listdir(self._folder) if self._folder.is_dir() else []

    def is_live(self, log: str) -> bool:
        """Return whether more may come in a log."""
        return log in self._live

    async def named(self) -> list[Found]:
        """Return all logs, those of the newest apps first."""
        return await asyncio.to_thread(self._named)

    def _named(self) -> list[Found]:
        found = []
        for log in self.known():
            about = log_segments.names(self._folder / log)
            found.append(Found(log, about.app, about.functions, about.began_at))
        return sorted(found, key=lambda each: each.began_at, reverse=True)

    async def sweep(self) -> None:
        """Remove what is too old, or too much of all logs together."""
        for each in await asyncio.to_thread(self._sweep_ended, frozenset(self._live)):
            live = self._live.get(each.log)
            if live is not None:
                live.log.drop(each.start)

    def _sweep_ended(self, live: frozenset[str]) -> list[Kept]:
        """Remove what goes of apps that have ended; return what is to go of those that run."""
        logs = self.known()
        kept = [each for log in logs for each in self._kept(log, log in live)]
        gone = expired(kept, self._clock(), self._kept_s, self._total_max)
        for each in gone:
            if not each.is_live:
                each.path.unlink(missing_ok=True)
        left = live | {each.log for each in set(kept).difference(gone)}
        for log in set(logs) - left:
            if self._clock() - (self._folder / log).stat().st_mtime > self._kept_s:
                log_segments.remove(self._folder / log)
        return [each for each in gone if each.is_live]

    def _kept(self, log: str, is_live: bool) -> Iterator[Kept]:
        for each in log_segments.segments_in(self._folder / log):
            yield Kept(log, each.path, each.start, each.stop - each.start, each.written_at, is_live)


async def _read(segment: Segment, cursor: int, wanted: Wanted) -> list[Entry] | None:
    """Return what is wanted of a segment from a place on; None if it is gone."""
    if segment.stop - max(cursor, segment.start) <= INLINE_BYTES:
        return _wanted(segment, cursor, wanted)
    return await asyncio.to_thread(_wanted, segment, cursor, wanted)


def _wanted(segment: Segment, cursor: int, wanted: Wanted) -> list[Entry] | None:
    entries = segment.read(cursor)
    return None if entries is None else wanted.of(_politely(entries))


def _politely(entries: Iterator[Entry]) -> Iterator[Entry]:
    """Let the server's loop in now and then: a thread that only computes would keep it waiting for 5 ms each time."""
    for number, entry in enumerate(entries):
        if number % POLITE_ENTRIES == 0:
            time.sleep(0)
        yield entry
