"""How is output that was kept shown: whole lines for people, each with what was asked for before it, or JSON?"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from modicum import _terminal
from modicum._display import dimmed
from modicum.cli.log_reading import Entry, Log
from modicum.output import LinePrinter

Prefix = Callable[[Entry], str]

PREFIXES: dict[str, Prefix] = {
    "timestamp": lambda entry: time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(entry.time)),
    "function_id": lambda entry: entry.function or "-",
    "function_call_id": lambda entry: entry.input.partition(":")[0] or "-",
    "container_id": lambda entry: entry.source,
}
"""What may stand before a line, in this order."""


class LogPrinter(LinePrinter):
    """Prints entries on stdout, all streams: a log is this command's result. Only lines with `search` in them."""

    def __init__(self, prefixes: list[str], search: str = "") -> None:
        super().__init__(timestamps=bool(prefixes))
        self._prefixes = [PREFIXES[name] for name in prefixes]
        self._search = search.encode()
        self._stamps: dict[tuple[str, str], bytes] = {}  # of the lines that have begun
        self._stamp_now = b""

    def show(self, entry: Entry) -> None:
        """Take in an entry."""
        of = entry.stream, f"{entry.source} {entry.input}"
        self._stamps[of] = "".join(f"{prefix(entry)} " for prefix in self._prefixes).encode()
        self(*of, entry.text)
        if of not in self._partial:
            del self._stamps[of]

    def rest(self) -> None:
        if not self._search:  # a line is looked at when it is whole
            super().rest()

    def _print(self, stream: str, source: str, data: bytes) -> None:
        self._stamp_now = self._stamps.get((stream, source), b"")
        if self._search:
            lines = data.splitlines(keepends=True)
            data = b"".join(line for line in lines if self._search in line)
        if stream == "system" and _terminal.has_colour(sys.stdout):
            data = dimmed(data)
        super()._print(stream, source, data)

    def _stamp(self) -> bytes:
        return self._stamp_now

    def _write(self, stream: str, data: bytes) -> None:
        sys.stdout.write(data.decode("utf-8", "replace"))  # who has closed it ends this command
        sys.stdout.flush()


class JsonPrinter:
    """Prints an object for each line, on a line of its own; `log` tells the names."""

    is_unfinished = False

    def __init__(self, log: Log, search: str = "") -> None:
        self._log = log
        self._search = search.encode()
        self._begun: dict[tuple[str, str, str], Entry] = {}

    def show(self, entry: Entry) -> None:
        """Take in an entry."""
        of = entry.stream, entry.source, entry.input
        before = self._begun.pop(of, None)
        *whole, rest = ((before.text if before is not None else b"") + entry.text).split(b"\n")
        for line in whole:
            self._print(entry, line)
        if rest:
            self._begun[of] = entry._replace(text=rest)

    def rest(self) -> None:
        """Nothing has come for a moment; an unfinished line waits for its end."""

    def close(self) -> None:
        """Nothing more will come."""
        for entry in self._begun.values():
            self._print(entry, entry.text)

    def _print(self, entry: Entry, line: bytes) -> None:
        if self._search in line:
            sys.stdout.write(json.dumps(self._fields(entry, line.decode("utf-8", "replace"))) + "\n")
            sys.stdout.flush()

    def _fields(self, entry: Entry, message: str) -> dict[str, Any]:
        return {
            "timestamp": datetime.fromtimestamp(entry.time, UTC).isoformat(timespec="milliseconds"),
            "source": entry.stream,
            "message": message,
            "app_id": self._log.id,
            "function_id": entry.function or None,
            "function": self._log.functions.get(entry.function),
            "function_call_id": entry.input.partition(":")[0] or None,
            "input": int(entry.input.partition(":")[2]) if entry.input else None,
            "container_id": entry.source if entry.source.startswith("ta-") else None,
        }
