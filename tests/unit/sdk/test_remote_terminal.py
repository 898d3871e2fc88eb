"""This process' terminal or pipes as those of a session: the test is the server and whoever sits at the terminal."""

from __future__ import annotations

import os
import pty
import signal
import socket
import termios
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from modicum._own_terminal import RawMode, terminal
from modicum._remote_terminal import Ended, RemoteTerminal, new_id
from modicum.exception import ConnectionError, NotFoundError
from modicum.wire.frames import Decoder, Frame, encode
from modicum.wire.terminals import WINDOW_BYTES

EXEC = "ex-0123456789"


class Scene:
    """A conversation in a thread of its own, with the test at both ends."""

    def __init__(self) -> None:
        self.server, link = socket.socketpair()
        stdin, self.keyboard = os.pipe()
        self.screen, stdout = os.pipe()
        self.errors, stderr = os.pipe()
        self.ours = [stdin, stdout, stderr]
        self.theirs = [self.keyboard, self.screen, self.errors]
        self.remote = RemoteTerminal(link, stdin, stdout, stderr)
        self.decoder = Decoder()
        self.frames: list[Frame] = []
        self.ended: list[Ended | BaseException] = []
        self.thread = threading.Thread(target=self._converse)

    def _converse(self) -> None:
        try:
            self.ended.append(self.remote.converse(EXEC, raw=False))
        except BaseException as error:
            self.ended.append(error)

    def say(self, kind: str, payload: bytes = b"", **fields: Any) -> None:
        """Send something as the server."""
        self.server.sendall(encode({"t": kind, "exec": EXEC, **fields}, payload))

    def hear(self) -> Frame:
        """Return the next frame that the server gets."""
        while not self.frames:
            data = self.server.recv(65536)
            assert data, "the client has hung up"
            self.frames += self.decoder.feed(data)
        return self.frames.pop(0)

    def finish(self, code: int = 0, **fields: Any) -> Ended | BaseException:
        """End the session, and return what the client says of it."""
        self.say("exec.ended", code=code, **fields)
        self.thread.join(10)
        return self.ended[0]

    def close(self) -> None:
        self.server.close()
        self.thread.join(10)
        self.remote.close()
        for descriptor in (*self.ours, *self.theirs):
            if descriptor >= 0:
                os.close(descriptor)


@pytest.fixture
def scene() -> Iterator[Scene]:
    made = Scene()
    made.thread.start()
    yield made
    made.close()


def test_input_goes_out_and_its_end_is_told(scene: Scene) -> None:
    os.write(scene.keyboard, b"hello\n")
    assert scene.hear() == ({"t": "exec.input", "exec": EXEC}, b"hello\n")
    os.close(scene.keyboard)
    scene.theirs[0] = -1
    assert scene.hear() == ({"t": "exec.input", "eof": True, "exec": EXEC}, b"")
    assert isinstance(ended := scene.finish(7), Ended)
    assert (ended.code, ended.signal, ended.detail) == (7, None, "")


def test_streams_stay_apart_and_are_acknowledged(scene: Scene) -> None:
    scene.say("exec.output", b"out", stream="stdout")
    assert scene.hear() == ({"t": "exec.ack", "bytes": 3, "exec": EXEC}, b"")
    scene.say("exec.output", b"error", stream="stderr")
    assert scene.hear()[0]["bytes"] == 5
    assert isinstance(ended := scene.finish(143, signal=15, detail="why"), Ended)
    assert (ended.code, ended.signal, ended.detail) == (143, 15, "why")
    assert (os.read(scene.screen, 100), os.read(scene.errors, 100)) == (b"out", b"error")


def test_nothing_is_sent_beyond_the_window(scene: Scene) -> None:
    writer = threading.Thread(target=lambda: [os.write(scene.keyboard, b"x" * 65536) for _ in range(6)])
    writer.start()
    received = 0
    while received < WINDOW_BYTES:
        received += len(scene.hear()[1])
    assert received == WINDOW_BYTES
    assert not scene.frames
    scene.server.setblocking(False)
    with pytest.raises(BlockingIOError):
        scene.server.recv(1)
    scene.server.setblocking(True)
    scene.say("exec.ack", bytes=WINDOW_BYTES)
    while received < 6 * 65536:
        received += len(scene.hear()[1])
    writer.join()
    scene.finish()


def test_what_is_not_written_is_not_acknowledged(scene: Scene) -> None:
    """Nobody reads our output: no more than the pipe takes is acknowledged, and then all of it is."""
    for _ in range(4):
        scene.say("exec.output", b"y" * 65536, stream="stdout")
    acknowledged = scene.hear()[0]["bytes"]
    assert acknowledged <= 65536 + 4096
    read = 0
    while read < WINDOW_BYTES:
        read += len(os.read(scene.screen, 65536))
    while acknowledged < WINDOW_BYTES:
        acknowledged += scene.hear()[0]["bytes"]
    assert acknowledged == WINDOW_BYTES
    scene.finish()


def test_output_that_nobody_reads_ends_it(scene: Scene) -> None:
    os.close(scene.screen)
    scene.theirs[1] = -1
    scene.say("exec.output", b"lost", stream="stdout")
    scene.thread.join(10)
    assert isinstance(scene.ended[0], BrokenPipeError)


def test_a_server_that_goes_away(scene: Scene) -> None:
    scene.server.close()
    scene.thread.join(10)
    assert isinstance(scene.ended[0], ConnectionError)
    assert "its command was ended" in str(scene.ended[0])


def test_frames_of_the_next_session_are_kept(scene: Scene) -> None:
    scene.server.sendall(
        encode({"t": "exec.ended", "exec": EXEC, "code": 0}) + encode({"t": "exec.opened", "exec": "ex-other"})
    )
    scene.thread.join(10)
    assert scene.remote.wait_opened()["exec"] == "ex-other"


def test_requests() -> None:
    server, link = socket.socketpair()
    with server, RemoteTerminal(link) as remote:
        opened = {"t": "exec.opened", "exec": EXEC}
        server.sendall(encode(opened) + encode({"t": "reply", "r": 1, "fine": True}))
        assert remote.request({"t": "exec.attach", "app": "ap-1"})["fine"]
        assert remote.wait_opened() == opened
        server.sendall(encode({"t": "error", "r": 1, "code": "not_found", "message": "no container"}))
        with pytest.raises(NotFoundError, match="no container"):
            remote.request({"t": "exec.start"})
        server.close()
        with pytest.raises(ConnectionError):
            remote.wait_opened()


class Seat:
    """A terminal with a person at it; the conversation is had in this, the main, thread."""

    def __init__(self) -> None:
        self.person, self.tty = pty.openpty()
        self.server, link = socket.socketpair()
        self.remote = RemoteTerminal(link, self.tty, self.tty, self.tty)
        self.decoder = Decoder()
        self.heard: list[Frame] = []

    def close(self) -> None:
        self.remote.close()
        self.server.close()
        for descriptor in (self.person, self.tty):
            os.close(descriptor)

    def hear(self, kind: str) -> Frame:
        """Return the next frame of a kind."""
        while not (found := [frame for frame in self.heard if frame[0]["t"] == kind]):
            self.heard += self.decoder.feed(self.server.recv(65536))
        self.heard.remove(found[0])
        return found[0]

    def end(self, code: int) -> None:
        self.server.sendall(encode({"t": "exec.ended", "exec": EXEC, "code": code}))


@pytest.fixture
def seat() -> Iterator[Seat]:
    made = Seat()
    yield made
    made.close()


def beside(work: Any) -> threading.Thread:
    """Do what the person and the server do, in a thread."""
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_every_key_is_passed_on_and_the_terminal_is_restored(seat: Seat) -> None:
    before = termios.tcgetattr(seat.tty)
    typed: list[bytes] = []

    def act() -> None:
        seat.hear("exec.resize")
        os.write(seat.person, b"\x03\x1a\x04\r")  # Ctrl-C, Ctrl-Z, Ctrl-D and Return
        while sum(map(len, typed)) < 4:
            typed.append(seat.hear("exec.input")[1])
        seat.end(3)

    other = beside(act)
    assert seat.remote.converse(EXEC, raw=True).code == 3
    other.join()
    assert b"".join(typed) == b"\x03\x1a\x04\r"
    assert termios.tcgetattr(seat.tty) == before


def test_a_resize_is_told(seat: Seat) -> None:
    termios.tcsetwinsize(seat.tty, (40, 132))

    def act() -> None:
        assert seat.hear("exec.resize")[0] == {"t": "exec.resize", "rows": 40, "cols": 132, "exec": EXEC}
        termios.tcsetwinsize(seat.tty, (50, 100))
        os.kill(os.getpid(), signal.SIGWINCH)
        sizes.append(seat.hear("exec.resize")[0])
        seat.end(0)

    sizes: list[Any] = []
    other = beside(act)
    seat.remote.converse(EXEC, raw=True)
    other.join()
    assert sizes == [{"t": "exec.resize", "rows": 50, "cols": 100, "exec": EXEC}]


def test_a_lost_server_leaves_the_terminal_as_it_was(seat: Seat) -> None:
    before = termios.tcgetattr(seat.tty)

    def act() -> None:
        seat.hear("exec.resize")
        seat.server.shutdown(socket.SHUT_RDWR)

    other = beside(act)
    with pytest.raises(ConnectionError):
        seat.remote.converse(EXEC, raw=True)
    other.join()
    assert termios.tcgetattr(seat.tty) == before


def test_ctrl_c_without_a_terminal_on_the_other_side(seat: Seat) -> None:
    def act() -> None:
        seat.hear("exec.ack")  # by now the conversation is going on
        os.kill(os.getpid(), signal.SIGINT)
        heard.append(seat.hear("exec.signal")[0])
        os.kill(os.getpid(), signal.SIGINT)

    heard: list[Any] = []
    before = signal.getsignal(signal.SIGINT)
    seat.server.sendall(encode({"t": "exec.output", "exec": EXEC, "stream": "stdout"}, b"x"))
    other = beside(act)
    with pytest.raises(KeyboardInterrupt):
        seat.remote.converse(EXEC, raw=False)
    other.join()
    assert heard == [{"t": "exec.signal", "signal": int(signal.SIGINT), "exec": EXEC}]
    assert signal.getsignal(signal.SIGINT) is before


def test_what_kills_us_restores_the_terminal_first(seat: Seat) -> None:
    """In a process of its own, which it ends."""
    before = termios.tcgetattr(seat.tty)
    pid = os.fork()
    if pid == 0:
        try:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            seat.remote.converse(EXEC, raw=True)
        finally:
            os._exit(1)
    seat.hear("exec.resize")  # it is in raw mode
    assert termios.tcgetattr(seat.tty) != before
    os.kill(pid, signal.SIGTERM)
    _, status = os.waitpid(pid, 0)
    assert os.WTERMSIG(status) == signal.SIGTERM
    assert termios.tcgetattr(seat.tty) == before


def test_leaving_raw_mode_twice_and_without_a_terminal(seat: Seat) -> None:
    mode = RawMode(seat.tty)
    mode.leave()
    mode.enter()
    mode.leave()
    mode.leave()
    with pytest.raises(OSError, match="ioctl"):
        RawMode(seat.server.fileno()).enter()


def test_what_a_process_is_told_of_our_terminal(seat: Seat, monkeypatch: pytest.MonkeyPatch) -> None:
    termios.tcsetwinsize(seat.tty, (30, 90))
    monkeypatch.setenv("TERM", "vt100")
    assert terminal(seat.tty, seat.tty) == {"rows": 30, "cols": 90, "term": "vt100"}
    monkeypatch.delenv("TERM")
    assert terminal(seat.server.fileno(), seat.server.fileno()) == {"rows": 24, "cols": 80, "term": "xterm"}


def test_ids() -> None:
    assert new_id() != new_id()
    assert new_id().startswith("ex-")
