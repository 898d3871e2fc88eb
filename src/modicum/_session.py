"""What keeps an app alive while its program runs, and brings its output: a thread with a connection of its own."""

from __future__ import annotations

import threading

from modicum import _blocking, _context
from modicum._exchange import ConnectionLost, Reconnect, Request
from modicum.exception import Error, NotFoundError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from modicum._exchange import Operation

    Sink = Callable[[str, str, bytes], None]
    """Gets the stream ("stdout", "stderr" or "system"), the id of what wrote, and the bytes."""

WAIT_S = 30.0
REST_S = 0.1
"""An unfinished line is shown when nothing has come for so long."""


class Session:
    """The attachment of this process to a running app. Without it the server ends the app within seconds."""

    def __init__(self, app: str, sink: Sink | None, cursor: int = 0) -> None:
        self._app = app
        self._sink = sink
        self._attached = threading.Event()
        self._error: Exception | None = None
        self._cursor = cursor
        self._moved = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="modicum-session", daemon=True)

    def start(self) -> None:
        """Attach; returns once the server knows that we are here."""
        if self._sink is not None:
            _context.shown[self._app] = self._wait_shown
        self._thread.start()
        self._attached.wait()

    def join(self, timeout_s: float | None = 10.0) -> None:
        """Wait until all output of the stopped app has come; warn if something kept it from being shown."""
        self._thread.join(timeout_s)
        if self._error is not None:
            import warnings

            error, self._error = self._error, None
            text = f"not all output of the app was shown: {type(error).__name__}: {error}"
            warnings.warn(text, RuntimeWarning, stacklevel=2)

    def leave(self) -> None:
        """Show no more of an app that goes on without us. The thread ends with the app, or with this process."""
        self._sink = None
        _context.shown.pop(self._app, None)

    def _wait_shown(self, cursor: int, within_s: float) -> bool:
        if self._cursor >= cursor:
            return True
        with self._moved:
            return self._moved.wait_for(lambda: self._cursor >= cursor, within_s)

    def _show(self, stream: str, source: str, data: bytes) -> None:
        if self._sink is not None:
            self._guarded(lambda: self._sink(stream, source, data))  # type: ignore[misc]

    def _guarded(self, showing: Callable[[], None]) -> None:
        try:
            showing()
        except Exception as error:  # noqa: BLE001 - this thread keeps the app alive, whatever the terminal does
            self._sink, self._error = None, error

    def _wait_s(self) -> float:
        return REST_S if getattr(self._sink, "is_unfinished", False) else WAIT_S

    def _rest(self) -> None:
        """Nothing has come for a moment: an unfinished line is shown as it is."""
        if getattr(self._sink, "is_unfinished", False):
            self._guarded(self._sink.rest)  # type: ignore[union-attr]

    def _run(self) -> None:
        try:
            _blocking.run(self._follow())
        except NotFoundError:
            pass  # the app has ended and is forgotten already
        except Error as error:
            self._error = error
        finally:
            _context.shown.pop(self._app, None)
            self._attached.set()

    def _follow(self) -> Operation[None]:
        while True:
            try:
                yield Request(({"t": "app.attach", "app": self._app}, b""))
                self._attached.set()
                while True:
                    read = {"t": "logs.read", "log": self._app, "cursor": self._cursor, "wait_s": self._wait_s()}
                    ((header, payload),) = yield Request((read, b""))
                    start = 0
                    for stream, source, size, *_ in header["entries"]:
                        self._show(stream, source, payload[start : start + size])
                        start += size
                    if not header["entries"]:
                        self._rest()
                    with self._moved:
                        self._cursor = header["cursor"]
                        self._moved.notify_all()
                    if header["ended"] and not header["entries"]:
                        return
            except ConnectionLost:
                yield Reconnect()
