"""What stands on the terminal: output, what is waited for below it, and nothing of that at the end."""

from __future__ import annotations

import io
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from modicum import _blocking, _display, _server, _terminal, output
from modicum._display import Display
from modicum._status import Stage, StatusLine
from modicum._uploads import Upload
from modicum.app import App
from modicum.exception import ServiceError, from_code


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def __init__(self, encoding: str = "utf-8") -> None:
        super().__init__()
        self._encoding = encoding

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._encoding

    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    made = Terminal()
    streams = SimpleNamespace(stdout=made, stderr=made)
    for module in (_display, output):
        monkeypatch.setattr(module, "sys", streams)
    monkeypatch.setattr(threading.Thread, "start", lambda thread: None)
    monkeypatch.setattr(threading.Thread, "join", lambda thread, timeout=None: None)
    monkeypatch.setattr(_terminal, "width", lambda: 40)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return made


def drawn(display: Display, seconds: float = 1.0) -> str:
    """Return what the status line would say after a while."""
    if display._stage is not None:
        display._stage._since -= seconds
    return display._text()


def test_an_app_that_cannot_start_is_not_waited_for(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_server(operation: object) -> None:
        raise ServiceError("no server")

    monkeypatch.setattr(_blocking, "run", no_server)
    with output.enable_output():
        with pytest.raises(ServiceError), App("a").run():
            pass
        assert output.current is not None
        assert drawn(output.current) == ""


def test_what_is_waited_for(terminal: Terminal) -> None:
    display = Display()
    assert drawn(display) == ""
    display.begins("waiting for the server")
    assert drawn(display, 0.1) == ""
    assert drawn(display) == "waiting for the server"
    assert drawn(display, 4.0) == "waiting for the server · 5 s"
    display.builds()
    display("system", "im-1", b"Step 2/3: pip install six\nStep 1/3: done in 1 s\n")
    assert drawn(display) == "building images · step 2/3: pip install six"
    display.created("ap-1", "mine", 2, 1)
    assert "\x1b[32m✓ \x1b[0mCreated mine: 2 functions, 1 image (built in 1.0 s)\n" in terminal.getvalue()


def test_how_far_an_upload_is(terminal: Terminal) -> None:
    display = Display()
    display.builds()
    upload = Upload()
    upload.files, upload.bytes = 10_000, 40_000_000
    display.uploads(upload)
    upload.files_sent, upload.bytes_sent = 1234, 5_000_000
    display.uploads(upload)
    assert drawn(display) == "sending files: 1,234 of 10,000 (5.0 of 40.0 MB)"
    upload.files_sent = 10_000
    display.uploads(upload)
    assert drawn(display) == "building images"


def test_nothing_is_drawn_behind_an_unfinished_line(terminal: Terminal) -> None:
    display = Display()
    display.begins("waiting")
    for text in (b"10 %\r", b"20 %\r"):
        display("stderr", "ta-1", text)
        assert drawn(display) == ""
    display("stdout", "ta-1", b"name? ")
    display.rest()
    assert drawn(display) == ""
    display("stdout", "ta-1", b"\n")
    assert drawn(display) == "waiting · 4 s"


def test_why_calls_wait(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[Any] = [
        [{"function": "f", "why": "1 container of it is starting"}],
        [{"function": "f", "why": "no room"}, {"function": "g", "why": "no room"}],
        OSError("gone"),
        from_code("unimplemented", "an older server"),
        [],
    ]
    asked: list[Any] = []

    class Link:
        def close(self) -> None: ...

    def ask(link: object, header: dict[str, Any]) -> dict[str, Any]:
        asked.append(header)
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return {"waiting": answer}

    monkeypatch.setattr(_server, "running", Link)
    monkeypatch.setattr(_server, "ask", ask)
    display = Display()
    display.created("ap-1", "mine", 1, 1)
    said = [display._text() for _ in range(_display._Waiting.ASK_EVERY * 5)][_display._Waiting.ASK_EVERY - 1 :]
    assert list(dict.fromkeys(said)) == [
        "waiting for a container of f: 1 container of it is starting",
        "waiting for a container of f, and 1 more: no room",
        "waiting for the server",
        "",
    ]
    assert asked == [{"t": "app.waiting", "apps": ["ap-1"]}] * 5
    display.ended("ap-1")
    assert display._text() == ""
    display.close()


def test_a_pipe_gets_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    display = Display()
    display.builds()
    display.begins("sending files")
    display.created("ap-1", "mine", 1, 2)
    display.close()
    assert capsys.readouterr() == ("", "Created mine: 1 function, 2 images\n")
    quiet = Display(quiet=True)
    quiet.created("ap-1", "mine", 1, 2)
    quiet("system", "im-1", b"Step 1/1: x\n")
    quiet("stdout", "ta-1", b"of the program\n")
    assert capsys.readouterr() == ("of the program\n", "")


def test_no_colour_where_none_is_wanted(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    display = Display()
    display.created("ap-1", "mine", 1, 1)
    display("system", "im-1", b"built\n")
    assert terminal.getvalue() == "Created mine: 1 function, 1 image\nbuilt\n"


def test_output_enabled_once_is_shown_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert output.current is None
    with output.enable_output():
        display = output.current
        assert display is not None
        with output.enable_output(show_progress=False):
            assert output.current is display
        assert output.current is display
    assert output.current is None


# -- the line itself -------------------------------------------------------------------------------------------


class Screen:
    """A terminal of a few lines that understands what the status line says to it."""

    def __init__(self, rows: int) -> None:
        self.lines = [""] * rows
        self.row = self.column = 0
        self.saved = (0, 0)

    def feed(self, text: str) -> None:
        while text:
            for code, act in self.CODES.items():
                if text.startswith(code):
                    act(self)
                    text = text[len(code) :]
                    break
            else:
                line = self.lines[self.row].ljust(self.column)
                self.lines[self.row] = line[: self.column] + text[0] + line[self.column + 1 :]
                self.column += 1
                text = text[1:]

    def down(self) -> None:
        if self.row == len(self.lines) - 1:
            self.lines = [*self.lines[1:], ""]
        else:
            self.row += 1

    def newline(self) -> None:
        self.down()
        self.column = 0

    def erase(self) -> None:
        self.lines[self.row] = self.lines[self.row][: self.column]
        self.lines[self.row + 1 :] = [""] * (len(self.lines) - self.row - 1)

    def move(self, rows: int) -> None:
        self.row = min(max(self.row + rows, 0), len(self.lines) - 1)

    def restore(self) -> None:
        self.row, self.column = self.saved

    CODES = {  # noqa: RUF012
        "\x1b7": lambda self: setattr(self, "saved", (self.row, self.column)),
        "\x1b8": restore,
        "\x1bD": down,
        "\x1b[A": lambda self: self.move(-1),
        "\x1b[B": lambda self: self.move(1),
        "\x1b[J": erase,
        "\r": lambda self: setattr(self, "column", 0),
        "\n": newline,
    }


@pytest.fixture
def screen(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> Screen:
    screen = Screen(4)
    monkeypatch.setattr(terminal, "write", screen.feed)
    monkeypatch.setenv("NO_COLOR", "1")
    return screen


def test_the_cursor_stays_where_it_was(terminal: Terminal, screen: Screen) -> None:
    line = StatusLine(terminal, threading.RLock(), str)
    screen.feed("one\nname? ")
    line._draw("waiting")
    assert screen.lines == ["one", "name? ", "waiting", ""]
    screen.feed("Ada\n")  # what the user's own program prints goes where it would have gone
    assert screen.lines[:2] == ["one", "name? Ada"]
    line._draw("waiting more")
    assert screen.lines == ["one", "name? Ada", "", "waiting more"]
    line.clear()
    assert screen.lines == ["one", "name? Ada", "", ""]
    assert (screen.row, screen.column) == (2, 0)


def test_there_is_room_on_the_last_line(terminal: Terminal, screen: Screen) -> None:
    line = StatusLine(terminal, threading.RLock(), str)
    screen.feed("1\n2\n3\n4")
    line._draw("waiting")
    assert screen.lines == ["2", "3", "4", "waiting"]
    line._draw("still waiting")
    assert screen.lines == ["2", "3", "4", "still waiting"]
    line.close()
    screen.feed("!\n")
    assert screen.lines == ["2", "3", "4!", ""]


def test_a_narrow_terminal(terminal: Terminal, screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    line = StatusLine(terminal, threading.RLock(), str)
    for columns, shown in ((12, "waiting fo…"), (4, "wa…"), (1, "")):
        monkeypatch.setattr(_terminal, "width", lambda columns=columns: columns)
        line._draw("waiting for it")
        assert screen.lines[1] == shown


def test_wide_characters_take_two_columns() -> None:
    assert _terminal.clipped("日本語", 6) == "日本語"
    assert _terminal.clipped("日本語", 5) == "日…"


def test_a_terminal_that_is_gone_ends_the_line(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(text: str) -> int:
        raise OSError("gone")

    line = StatusLine(terminal, threading.RLock(), str)
    monkeypatch.setattr(terminal, "write", write)
    line._draw("waiting")
    assert line._closed.is_set()


def test_what_a_stream_can_show(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert _terminal.has_colour(Terminal())
    assert not _terminal.has_colour(io.StringIO())
    closed = Terminal()
    closed.close()
    assert not _terminal.is_live(io.StringIO())
    assert _terminal.can_print("✓", Terminal())
    assert not _terminal.can_print("✓", Terminal("ascii"))
    monkeypatch.setenv("TERM", "dumb")
    assert not _terminal.is_live(Terminal())


def test_a_stage_is_shown_after_a_moment() -> None:
    stage = Stage("x")
    assert str(stage) == ""
    stage._since -= 0.5
    assert str(stage) == "x"


def test_what_has_been_published(terminal: Terminal) -> None:
    display = Display()
    display.published("shop", 3, True, 2, 1)
    display.published("shop", 3, False, 2, 1)
    display.published("served", None, True, 1, 1)
    display.published("served", None, False, 1, 1)
    lines = [line.partition("✓")[2].replace("\x1b[0m", "").strip() for line in terminal.getvalue().splitlines() if line]
    assert lines == [
        "shop is version 3 now: 2 functions, 1 image",
        "shop is unchanged: version 3",
        "served is published anew: 1 function, 1 image",
        "served is unchanged",
    ]
    display.close()
