"""How the output of containers reaches the user's terminal: whole lines, as they come, in order."""

from __future__ import annotations

import sys
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

    from modicum._display import Display


class LinePrinter:
    """Prints what containers and builds write: whole lines, or, when nothing more of one has come for a moment, its
    beginning (a prompt, dots of progress).

    When nobody reads one of the two streams any longer, as behind `| head`, the program goes on without it.
    """

    def __init__(self, quiet: bool = False, timestamps: bool = False) -> None:
        self._quiet = quiet
        self._timestamps = timestamps
        self._lock = threading.RLock()  # several apps of one program may print at once
        self._partial: dict[tuple[str, str], bytes] = {}
        self._open: tuple[str, str] | None = None  # whose unfinished line stands last on the terminal
        self._gone: set[str] = set()

    def __call__(self, stream: str, source: str, data: bytes) -> None:
        """Take in some output of `source`."""
        with self._lock:
            data = self._partial.pop((stream, source), b"") + data
            cut = max(data.rfind(b"\n"), data.rfind(b"\r")) + 1  # a carriage return is how progress shows itself
            if cut < len(data):
                self._partial[stream, source] = data[cut:]
            self._print(stream, source, data[:cut])

    @property
    def is_unfinished(self) -> bool:
        """True while something has come that is no whole line and not yet printed."""
        return bool(self._partial)

    def rest(self) -> None:
        """Nothing has come for a moment: print unfinished lines as far as they are."""
        with self._lock:
            for (stream, source), data in list(self._partial.items()):
                whole = _whole_characters(data)
                self._print(stream, source, data[:whole])
                if whole < len(data):
                    self._partial[stream, source] = data[whole:]
                else:
                    del self._partial[stream, source]

    def close(self) -> None:
        """Nothing more will come."""
        with self._lock:
            for (stream, source), data in self._partial.items():
                self._print(stream, source, data)
            self._partial.clear()
            self._end_line()

    def _print(self, stream: str, source: str, data: bytes) -> None:
        if not data or (self._quiet and stream == "system"):
            return
        if self._open is not None and self._open != (stream, source):
            self._end_line()
        self._write(stream, self._stamped(data) if self._timestamps else data)
        self._open = None if data.endswith((b"\n", b"\r")) else (stream, source)

    def _stamped(self, data: bytes) -> bytes:
        """Put the time before each line; the rest of one that has begun has it already."""
        stamp = self._stamp()
        lines = data.split(b"\n")
        ends = lines.pop()
        stamped = [stamp + line for line in lines] + ([stamp + ends] if ends else [b""])
        text = b"\n".join(stamped)
        return text[len(stamp) :] if self._open is not None else text

    def _stamp(self) -> bytes:
        import time

        return time.strftime("%Y-%m-%d %H:%M:%S ").encode()

    def _end_line(self) -> None:
        if self._open is not None:
            self._write(self._open[0], b"\n")
            self._open = None

    def _write(self, stream: str, data: bytes) -> None:
        if stream in self._gone:
            return
        target = sys.stdout if stream == "stdout" else sys.stderr
        try:
            target.write(data.decode("utf-8", "replace"))
            target.flush()
        except (OSError, ValueError):  # ValueError: it was closed in this process
            self._gone.add(stream)


class show_on:  # noqa: N801 - it is used as a function
    """Show the output of all apps that run within the block, unless it is shown already."""

    def __init__(self, *, quiet: bool = False, timestamps: bool = False) -> None:
        self._quiet = quiet
        self._timestamps = timestamps
        self._display: Display | None = None

    def __enter__(self) -> None:
        global current
        if current is None:
            from modicum._display import Display

            self._display = current = Display(self._quiet, self._timestamps)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        global current
        if self._display is not None:
            current = None
            self._display.close()
            self._display = None


def enable_output(show_progress: bool = True) -> show_on:
    """Show what containers and image builds print, and how apps get on that run within the block.

        with modicum.enable_output():
            with app.run():
                ...

    It is what `modicum run` shows. Without it `app.run()` prints nothing of its containers. `show_progress=False`
    leaves out what is Modicum's own.
    """
    return show_on(quiet=not show_progress)


current: Display | None = None
"""Where the output of this process's apps is shown, if it is."""


def _whole_characters(data: bytes) -> int:
    """Return how many bytes of UTF-8 do not end within a character."""
    try:
        data.decode()
    except UnicodeDecodeError as error:
        if error.reason == "unexpected end of data":
            return error.start
    return len(data)
