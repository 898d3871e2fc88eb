"""How the output of containers reaches the user's terminal: whole lines, as they come, in order."""

from __future__ import annotations

import sys


class LinePrinter:
    """Prints what containers and builds write. A line is printed when it is complete, or when all is over.

    When nobody reads one of the two streams any longer, as behind `| head`, the program goes on without it.
    """

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self._partial: dict[tuple[str, str], bytes] = {}
        self._gone: set[str] = set()

    def __call__(self, stream: str, source: str, data: bytes) -> None:
        """Take in some output of `source`."""
        data = self._partial.pop((stream, source), b"") + data
        cut = data.rfind(b"\n") + 1
        if cut < len(data):
            self._partial[stream, source] = data[cut:]
        self._print(stream, data[:cut])

    def close(self) -> None:
        """Print unfinished lines too."""
        for (stream, _), data in self._partial.items():
            self._print(stream, data + b"\n")
        self._partial.clear()

    def _print(self, stream: str, data: bytes) -> None:
        if not data or stream in self._gone or (self._quiet and stream == "system"):
            return
        target = sys.stdout if stream == "stdout" else sys.stderr
        try:
            target.write(data.decode("utf-8", "replace"))
            target.flush()
        except (OSError, ValueError):  # ValueError: it was closed in this process
            self._gone.add(stream)
