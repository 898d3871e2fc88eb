"""Which output is wanted? Pure: entries in, entries out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from modicum.server.log_segments import Entry

_LINES = re.compile(rb"[^\n]*\n|[^\n]+")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody wants to see of a log. Empty and None want all; times are in seconds since the epoch."""

    streams: frozenset[str] = frozenset()
    functions: frozenset[str] = frozenset()
    container: str = ""
    call: str = ""
    search: str = ""
    since: float | None = None
    until: float | None = None

    def of(self, entries: Iterable[Entry]) -> list[Entry]:
        """Return what is wanted of some entries that follow each other."""
        found = [entry for entry in entries if self._is_wanted(entry)]
        return lines_with(found, self.search) if self.search else found

    def _is_wanted(self, entry: Entry) -> bool:
        return (
            (not self.streams or entry.stream in self.streams)
            and (not self.functions or entry.function in self.functions)
            and (not self.container or entry.source == self.container)
            and (not self.call or is_of(entry.input, self.call))
            and (self.since is None or entry.time >= self.since)
            and (self.until is None or entry.time <= self.until)
        )


def is_of(key: str, call: str) -> bool:
    """Return whether an input is of a call, or is itself what is named (`fc-…:0`)."""
    return key == call or key.rpartition(":")[0] == call


def lines_with(entries: Iterable[Entry], search: str) -> list[Entry]:
    """Return the lines that contain a text. A line may have come in several entries of one stream of a container."""
    sought = search.encode()
    begun: dict[tuple[str, str], Entry] = {}
    found: list[Entry] = []
    for entry in entries:
        before = begun.pop((entry.source, entry.stream), None)
        if before is not None:
            if before.input == entry.input:
                entry = entry._replace(text=before.text + entry.text)
            elif sought in before.text:
                found.append(before)
        *whole, rest = entry.text.split(b"\n")
        text = b"".join(line + b"\n" for line in whole if sought in line)
        if text:
            found.append(entry._replace(text=text))
        if rest:
            begun[entry.source, entry.stream] = entry._replace(text=rest)
    found += [entry for entry in begun.values() if sought in entry.text]
    return found


def last_lines(entries: Sequence[Entry], count: int) -> list[Entry]:
    """Return the entries, and the end of one, that have the last lines; an unfinished line counts as one."""
    taken: list[Entry] = []
    for entry in reversed(entries):
        if count <= 0:
            break
        lines = _LINES.findall(entry.text)
        taken.append(entry if len(lines) <= count else entry._replace(text=b"".join(lines[-count:])))
        count -= len(lines)
    return taken[::-1]
