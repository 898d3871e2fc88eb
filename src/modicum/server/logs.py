"""What containers wrote: files per app, read from any place on, never more than a limit of each."""

from __future__ import annotations

import asyncio
import os
import struct
from collections.abc import Iterable
from pathlib import Path

_ENTRY = struct.Struct(">BBI")
_STREAMS = ("stdout", "stderr", "system")

Entry = tuple[str, str, bytes]
"""Stream, id of what wrote, text."""


class _Log:
    """One app's output: segments, the oldest of which goes when the limit is reached. Cursors count bytes from the
    log's very beginning and so stay good when a segment goes.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder = folder
        self._segment_bytes = max(limit // 8, 64 * 1024)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._segments = sorted(int(entry.name) for entry in os.scandir(folder)) or [0]
        newest = folder / self._name(self._segments[-1])
        if newest.exists():
            os.truncate(newest, _whole_records(newest.read_bytes()))
        self._file = open(newest, "ab")
        self.end = self._segments[-1] + self._file.tell()
        self.ended = False
        self.moved = asyncio.Event()

    @staticmethod
    def _name(start: int) -> str:
        return f"{start:016d}"

    def append(self, entries: Iterable[Entry]) -> None:
        for stream, source, text in entries:
            record = _ENTRY.pack(_STREAMS.index(stream), len(source), len(text)) + source.encode() + text
            self._file.write(record)
            self.end += len(record)
        self._file.flush()
        if self.end - self._segments[-1] > self._segment_bytes:
            self._begin_segment()
        self._wake()

    def finish(self) -> None:
        self.ended = True
        self._wake()

    def close(self) -> None:
        self._file.close()

    def _wake(self) -> None:
        self.moved.set()
        self.moved = asyncio.Event()

    def _begin_segment(self) -> None:
        self._file.close()
        self._segments.append(self.end)
        self._file = open(self._folder / self._name(self.end), "ab")
        while len(self._segments) > 9:
            (self._folder / self._name(self._segments.pop(0))).unlink(missing_ok=True)

    def read(self, cursor: int, limit: int) -> tuple[int, list[Entry], int]:
        """Return the next cursor, entries of at most `limit` bytes (at least one), and how many bytes were dropped."""
        dropped = max(self._segments[0] - cursor, 0)
        cursor = max(cursor, self._segments[0])
        start = max(s for s in self._segments if s <= cursor)
        entries: list[Entry] = []
        with open(self._folder / self._name(start), "rb") as file:
            file.seek(cursor - start)
            data = file.read(limit + 512 * 1024)
        place = 0
        while place < len(data):
            stream, source_len, size = _ENTRY.unpack_from(data, place)
            stop = place + _ENTRY.size + source_len + size
            if stop > len(data) or (entries and stop > limit):
                break
            source = data[place + _ENTRY.size : place + _ENTRY.size + source_len].decode()
            entries.append((_STREAMS[stream], source, data[stop - size : stop]))
            place = stop
        return cursor + place, entries, dropped


def _whole_records(data: bytes) -> int:
    """Return how many bytes of a segment are whole records: a kill or a full disk may have cut the last one short."""
    end = 0
    while end + _ENTRY.size <= len(data):
        _, source_len, size = _ENTRY.unpack_from(data, end)
        stop = end + _ENTRY.size + source_len + size
        if stop > len(data):
            break
        end = stop
    return end


class Logs:
    """The output of all apps."""

    TEXT_MAX = 256 * 1024
    """No entry has more text; longer output comes as several."""

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder = folder
        self._limit = limit
        self._logs: dict[str, _Log] = {}

    def open(self, log: str) -> None:
        """Begin a log, or go on with one that is there."""
        if log not in self._logs:
            self._logs[log] = _Log(self._folder / log, self._limit)

    def append(self, log: str, entries: Iterable[Entry]) -> None:
        """Add output; dropped if the log does not exist any longer."""
        found = self._logs.get(log)
        if found is not None:
            found.append(
                (stream, source, text[n : n + self.TEXT_MAX])
                for stream, source, text in entries
                for n in range(0, len(text), self.TEXT_MAX)
            )

    def end(self, log: str) -> int:
        """Return the cursor behind all that is there, 0 if there is no such log."""
        found = self._logs.get(log)
        return found.end if found is not None else 0

    def finish(self, log: str) -> None:
        """Nothing more will come."""
        if log in self._logs:
            self._logs[log].finish()

    def remove(self, log: str) -> None:
        """Forget a log and its files."""
        found = self._logs.pop(log, None)
        if found is not None:
            found.close()
        folder = self._folder / log
        if folder.is_dir():
            for entry in os.scandir(folder):
                os.unlink(entry.path)
            folder.rmdir()

    def known(self) -> list[str]:
        """Return the ids of logs that have files."""
        return os.listdir(self._folder) if self._folder.is_dir() else []

    async def read(self, log: str, cursor: int, wait_s: float) -> tuple[int, list[Entry], bool, int]:
        """Return (next cursor, entries, whether the log has ended, bytes dropped), waiting for output if there is none.

        Raises `KeyError` for a log that does not exist.
        """
        found = self._logs[log]
        if cursor >= found.end and not found.ended:
            try:
                async with asyncio.timeout(wait_s):
                    await found.moved.wait()
            except TimeoutError:
                pass
        cursor, entries, dropped = found.read(cursor, self.TEXT_MAX * 2)
        return cursor, entries, found.ended and cursor >= found.end, dropped
