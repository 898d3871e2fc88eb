"""How is one app's output kept? As records in segment files, the oldest of which go.

A segment's name is where it begins, in bytes from the log's very beginning: places in a log stay good when older
segments go. A record is whole or it is not there: what a kill or a full disk has cut short is taken off.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
from collections.abc import Callable, Iterable, Iterator
from math import inf
from pathlib import Path
from typing import BinaryIO, NamedTuple

STREAMS = ("stdout", "stderr", "system")
TEXT_MAX = 64 * 1024
"""No record has more text; longer output comes as several."""

SEGMENTS = 128
"""Into so many parts a log's limit is divided: it is dropped, and read, a part at a time."""

SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX = 64 * 1024, 512 * 1024
"""A segment and one more record fit into one frame, and so do the names of what wrote them."""

CLOCK_S = 1.0
"""A file's time may be so much behind that of the records in it."""

_RECORD = struct.Struct(">dBBBBI")
_SUFFIX = ".log"
_NAMES = "names"


class Entry(NamedTuple):
    """Some output: what wrote it (a container, an image's build), for which function and input, and when."""

    stream: str
    source: str
    text: bytes
    function: str = ""
    input: str = ""
    time: float = 0.0


class Segment(NamedTuple):
    """A part of a log, from one place in it to another, and when something was last written into it."""

    path: Path
    start: int
    stop: int
    written_at: float

    def read(self, cursor: int = 0) -> Iterator[Entry] | None:
        """Return what is in it from a place on; None if it is gone."""
        begin = max(cursor - self.start, 0)
        try:
            with open(self.path, "rb") as file:
                file.seek(begin)
                data = file.read(self.stop - self.start - begin)
        except FileNotFoundError:
            return None
        return decode(data)


def encode(entry: Entry, text: bytes, now: float) -> bytes:
    """Return the record of a part of an entry's text."""
    stream, source, _, function, key, _ = entry
    sizes = len(source), len(function), len(key)  # names are ASCII
    head = _RECORD.pack(now, STREAMS.index(stream), *sizes, len(text))
    return head + (source + function + key).encode("ascii") + text


def decode(data: bytes) -> Iterator[Entry]:
    """Yield the whole records that some bytes begin with."""
    for place, (time, stream, source, function, _, size), stop in _records(data):
        start = place + _RECORD.size
        names = data[start : stop - size].decode("ascii")
        yield Entry(
            STREAMS[stream],
            names[:source],
            data[stop - size : stop],
            names[source : source + function],
            names[source + function :],
            time,
        )


def _records(data: bytes) -> Iterator[tuple[int, tuple[float, int, int, int, int, int], int]]:
    place = 0
    while place + _RECORD.size <= len(data):
        head = _RECORD.unpack_from(data, place)
        stop = place + _RECORD.size + sum(head[2:])
        if stop > len(data):
            break
        yield place, head, stop
        place = stop


def _whole(data: bytes) -> int:
    """Return how many bytes are whole records."""
    return max((stop for _, _, stop in _records(data)), default=0)


class Log:
    """One app's segments. `clock` gives seconds since the epoch; a segment takes no more after `segment_s`."""

    def __init__(self, folder: Path, limit: int, segment_s: float, clock: Callable[[], float]) -> None:
        self._folder = folder
        self._limit = limit
        self._segment_bytes = min(max(limit // SEGMENTS, SEGMENT_BYTES_MIN), SEGMENT_BYTES_MAX)
        self._segment_s = segment_s
        self._clock = clock
        self._file: BinaryIO | None = None
        self._began_at = clock()
        self._functions = names(folder).functions
        self.segments = _found(folder)
        self.end = self.segments[-1].stop if self.segments else 0
        """The place behind the newest record."""

    @property
    def start(self) -> int:
        """The place of the oldest record that is there."""
        return self.segments[0].start if self.segments else self.end

    def append(self, entries: Iterable[Entry]) -> None:
        """Write entries, whose time is now."""
        now = self._clock()
        for entry in entries:
            for n in range(0, len(entry.text), TEXT_MAX):
                self._write(encode(entry, entry.text[n : n + TEXT_MAX], now), now)
        self._settle(now)

    def _write(self, record: bytes, now: float) -> None:
        if self._file is None or self._is_full(now):
            self._file = self._begin(now)
        self._file.write(record)
        self.end += len(record)

    def _settle(self, now: float) -> None:
        """Let readers have what was written."""
        if self._file is None or self.end == self.segments[-1].stop:
            return
        self._file.flush()
        self.segments[-1] = self.segments[-1]._replace(stop=self.end, written_at=now)

    def _is_full(self, now: float) -> bool:
        return self.end - self.segments[-1].start >= self._segment_bytes or now - self._began_at > self._segment_s

    def _begin(self, now: float) -> BinaryIO:
        """Begin a segment. What an earlier process has begun is not gone on with: it may have been cut short."""
        self._settle(now)
        self.close()
        while self.segments and self.end - self.segments[0].stop >= self._limit - self._segment_bytes:
            self.segments.pop(0).path.unlink(missing_ok=True)
        path = self._folder / f"{self.end:016d}{_SUFFIX}"
        file = open(path, "wb")
        self.segments.append(Segment(path, self.end, self.end, now))
        self._began_at = now
        return file

    def drop(self, start: int) -> None:
        """Remove the segment that begins there, if there is such a one."""
        for segment in [each for each in self.segments if each.start == start]:
            if segment is self.segments[-1]:
                self.close()
            segment.path.unlink(missing_ok=True)
            self.segments.remove(segment)

    def segment_at(self, cursor: int, since: float | None = None) -> Segment | None:
        """Return the segment that has what comes at or behind a place, from a time on; None if nothing does."""
        oldest = -inf if since is None else since - CLOCK_S
        return next((each for each in self.segments if each.stop > cursor and each.written_at >= oldest), None)

    def segment_before(self, cursor: int, until: float | None = None) -> Segment | None:
        """Return the segment that has what comes before a place, up to a time; None if nothing does."""
        before = [each for each in self.segments if each.start < cursor]
        while until is not None and len(before) > 1 and before[-2].written_at > until + CLOCK_S:
            before.pop()
        return before[-1]._replace(stop=min(before[-1].stop, cursor)) if before else None

    def name(self, function: str, name: str) -> None:
        """Keep the name of a function that writes here."""
        if self._functions.get(function) != name:
            _add_name(self._folder, [function, name])
            self._functions[function] = name

    def close(self) -> None:
        """Write no more."""
        file, self._file = self._file, None
        if file is not None:
            file.close()


def segments_in(folder: Path) -> list[Segment]:
    """Return the segments that a folder has, the oldest first; the last may have been cut short."""
    found: list[Segment] = []
    with contextlib.suppress(FileNotFoundError):
        for entry in os.scandir(folder):
            if entry.name.endswith(_SUFFIX):
                start = int(entry.name.removesuffix(_SUFFIX))
                about = entry.stat()
                found.append(Segment(Path(entry.path), start, start + about.st_size, about.st_mtime))
    return sorted(found, key=lambda segment: segment.start)


def _found(folder: Path) -> list[Segment]:
    """Return the segments in a folder, as far as they are whole."""
    found = segments_in(folder)
    for n, segment in enumerate(found[:-1]):  # the next begins where the last whole record of this one ends
        found[n] = segment._replace(stop=min(segment.stop, found[n + 1].start))
    if found:
        newest = found[-1]
        found[-1] = newest._replace(stop=newest.start + _whole(newest.path.read_bytes()))
    return [segment for segment in found if segment.stop > segment.start]


# -- names: a file beside the segments, which outlives the app ------------------------------------------------


class Names(NamedTuple):
    """What a log's app and its functions are called, and when the app began."""

    app: str
    began_at: float
    functions: dict[str, str]


def names(folder: Path) -> Names:
    """Return the names that a log's folder has."""
    app, began_at = "", 0.0
    functions: dict[str, str] = {}
    with contextlib.suppress(FileNotFoundError):
        for line in (folder / _NAMES).read_text().splitlines():
            with contextlib.suppress(ValueError):  # a kill has cut it short
                match json.loads(line):
                    case ["app", name, began_at]:
                        app = name
                    case [function, name]:
                        functions[function] = name
    return Names(app, began_at, functions)


def begin(folder: Path, app: str, now: float) -> None:
    """Make the folder of an app's log."""
    folder.mkdir(mode=0o700, parents=True)
    _add_name(folder, ["app", app, now])


def remove(folder: Path) -> None:
    """Remove a log's folder."""
    for entry in os.scandir(folder):
        os.unlink(entry.path)
    folder.rmdir()


def _add_name(folder: Path, line: list[object]) -> None:
    with open(folder / _NAMES, "a") as file:
        file.write(json.dumps(line) + "\n")
