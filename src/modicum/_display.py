"""What a user sees while his app runs: its output, what is going on, and what has come to be."""

from __future__ import annotations

import re
import sys

from modicum import _server, _terminal
from modicum._status import Stage, StatusLine
from modicum.exception import Error
from modicum.output import LinePrinter

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket

    from modicum._uploads import Upload

_STEP = re.compile(rb"^Step (\d+/\d+): (?!done in |failed: )(.*)$", re.MULTILINE)


class Display(LinePrinter):
    """Prints output as `LinePrinter` does and, on a terminal, says below it what is waited for.

    What is Modicum's own goes to stderr: stdout is the user's program's.
    """

    def __init__(self, quiet: bool = False, timestamps: bool = False) -> None:
        super().__init__(quiet, timestamps)
        self._stage: Stage | None = None
        self._step = ""
        self._began: Stage | None = None
        self._built = False
        self._waiting = _Waiting()
        self._status: StatusLine | None = None
        self._is_raw = False
        self._rests = True  # the cursor stands at the beginning of an empty line, as far as we know
        if not quiet and _terminal.is_live(sys.stderr):
            self._status = StatusLine(sys.stderr, self._lock, self._text)

    # -- what is told as an app comes to run ---------------------------------------------------------------

    def begins(self, what: str) -> None:
        """Something begins that may take a while."""
        self._stage = Stage(what)
        self._step = ""

    def builds(self) -> None:
        """Images begin to be built, those that are not there."""
        self.begins("building images")
        self._began, self._built = self._stage, False

    def uploads(self, upload: Upload) -> None:
        """Files are being sent; images are built when all are."""
        if upload.files_sent < upload.files:
            if self._stage is None or not self._stage.what.startswith("sending"):
                self.begins("sending files")
            assert self._stage is not None
            done = f"{upload.bytes_sent / 1e6:.1f} of {upload.bytes / 1e6:.1f} MB"
            self._stage.what = f"sending files: {upload.files_sent:,} of {upload.files:,} ({done})"
        elif self._stage is not None and self._stage.what.startswith("sending"):
            self.builds()

    def created(self, app: str, name: str, functions: int, images: int) -> None:
        """The app is there; from here on it may wait for containers."""
        built = f" (built in {self._began.seconds:.1f} s)" if self._built and self._began is not None else ""
        self._say(f"Created {name}: {counted(functions, 'function')}, {counted(images, 'image')}{built}")
        self._stage = None
        self._waiting.apps.append(app)

    def published(self, name: str, version: int | None, changed: bool, functions: int, images: int) -> None:
        """The app has a new version, or is what it was. One that is only served has no versions."""
        built = f" (built in {self._began.seconds:.1f} s)" if self._built and self._began is not None else ""
        made = f"{counted(functions, 'function')}, {counted(images, 'image')}{built}"
        number = "" if version is None else f": version {version}"
        is_now = f"{name} is published anew" if version is None else f"{name} is version {version} now"
        self._say(f"{is_now}: {made}" if changed else f"{name} is unchanged{number}")
        self._stage = None

    def remarked(self, remark: str) -> None:
        """The server has something to say of what is asked for."""
        self._say(f"warning: {remark}", "! ", _terminal.YELLOW)

    def interactive(self) -> None:
        """Functions may use the terminal from here on: nothing that moves may stand on it."""
        if self._status is not None:
            self._status.close()
            self._status = None

    def interaction_begins(self, function: str, container: str) -> None:
        """A function has the terminal next."""
        with self._lock:
            self.rest()
            self._say(f"{function} in container {container} has the terminal until its input ends")

    def becomes_raw(self, is_raw: bool) -> None:
        """The terminal no longer begins a line where one ends, or does so again."""
        with self._lock:
            self._is_raw = is_raw

    def interaction_ends(self, why: str) -> None:
        """A function has lost the terminal."""
        self._say(f"The interaction has ended: {why}")

    def ended(self, app: str | None) -> None:
        """The app has ended; None is one that never began."""
        self._stage = None
        self._waiting.apps = [each for each in self._waiting.apps if each != app]

    def close(self) -> None:
        """Nothing more will come."""
        if self._status is not None:
            self._status.close()
        self._waiting.close()
        super().close()

    # -- printing ------------------------------------------------------------------------------------------

    def _print(self, stream: str, source: str, data: bytes) -> None:
        if stream == "system" and source.startswith("im-"):
            self._built = True
            steps = _STEP.findall(data)
            if steps:
                self._step = f"step {steps[-1][0].decode()}: {steps[-1][1].decode('utf-8', 'replace')}"
        if stream == "system" and data and _terminal.has_colour(sys.stderr):
            data = dimmed(data)
        super()._print(stream, source, data)

    def _write(self, stream: str, data: bytes) -> None:
        if self._status is not None:
            self._status.clear()
        super()._write(stream, data.replace(b"\n", b"\r\n") if self._is_raw else data)
        self._rests = data.endswith(b"\n")

    def _say(self, sentence: str, mark: str = "✓ ", colour: str = _terminal.GREEN) -> None:
        if self._quiet:
            return
        with self._lock:
            self._end_line()
            if _terminal.has_colour(sys.stderr) and _terminal.can_print(mark, sys.stderr):
                sentence = _terminal.coloured(mark, colour, sys.stderr) + sentence
            self._write("stderr", f"{sentence}\n".encode())

    def _text(self) -> str:
        """Return what the status line says now."""
        if not self._rests:
            return ""  # an unfinished line, or a bar of progress, is being drawn there by somebody else
        stage = self._stage
        if stage is None:
            return self._waiting.text()
        text = str(stage)
        return f"{text} · {self._step}" if text and self._step else text


class _Waiting:
    """Why do calls of some apps wait? The server knows; it is asked now and then."""

    ASK_EVERY = 5  # drawings of the status line

    def __init__(self) -> None:
        self.apps: list[str] = []
        self._link: socket.socket | None = None
        self._number = 0
        self._said = ""
        self._since: Stage | None = None

    def text(self) -> str:
        if not self.apps:
            return ""
        self._number += 1
        if self._number % self.ASK_EVERY == 0:
            said = self._ask()
            if not said:
                self._since = None
            elif self._since is None:
                self._since = Stage("")
            self._said = said
        waited = f" · {self._since.seconds:.0f} s" if self._since is not None and self._since.seconds >= 2 else ""
        return self._said + waited if self._said else ""

    def close(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None

    def _ask(self) -> str:
        try:
            if self._link is None:
                self._link = _server.running()
            if self._link is None:
                return "waiting for the server"
            answer = _server.ask(self._link, {"t": "app.waiting", "apps": self.apps})
        except OSError:
            self.close()
            return "waiting for the server"
        except Error:  # a server of another build, which is about to be replaced
            return ""
        found = answer["waiting"]
        if not found:
            return ""
        others = f", and {len(found) - 1} more" if len(found) > 1 else ""
        return f"waiting for a container of {found[0]['function']}{others}: {found[0]['why']}"


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: "1 image", "2 images"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def dimmed(data: bytes) -> bytes:
    """Return output in a quieter colour; what ends a line stays at its end, where it is looked for."""
    body = data.rstrip(b"\r\n")
    return b"\x1b[2m" + body + b"\x1b[0m" + data[len(body) :] if body else data
