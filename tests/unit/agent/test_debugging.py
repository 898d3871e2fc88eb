"""A container's process with a terminal: a real agent, which speaks to a server that is this test."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modicum.agent import boot
from modicum.wire.frames import Header
from modicum.wire.messages import EXCEPTION, SUCCESS
from modicum.wire.terminals import WINDOW_BYTES
from modicum.wire.values import dumps, load_exception, loads
from tests.unit.agent.peer import Server

PROGRAM = """
import readline, subprocess, sys, time
import modicum as modal

def debugged(x):
    print("before")
    y = x + 1
    import pdb; pdb.set_trace()
    return y

def stopped(x):
    breakpoint()
    return x

async def asynchronous(x):
    breakpoint()
    return x

def items(x):
    yield x
    breakpoint()
    yield x + 1

def asked(x):
    return input("name? "), input("age? ")

def shell(x):
    modal.interact()
    assert sys.stdout.isatty()
    done = subprocess.run(["sh", "-c", "stty size; read line; echo got $line; tty"], stdout=subprocess.PIPE, text=True)
    print("after")
    return done.stdout

def busy(x):
    modal.interact()
    try:
        print("ready")
        while True:
            time.sleep(0.01)  # a signal that comes just before a call of the system does not end it
    except KeyboardInterrupt:
        return "interrupted"

def much(x):
    modal.interact()
    sys.stdout.write("x" * x + "\\n")
    return x

def plain(x):
    print("plain")
    return x
"""


class Way(Server):
    """The other end of an interaction's own connection."""

    def __init__(self, server: Server) -> None:
        self.listener = server.listener
        self.connection = None

    def accept(self) -> Header:
        self.drop()
        return super().accept()

    def drop(self) -> None:
        if self.connection is not None:
            self.connection.close()


class Terminal:
    """An agent's process, and the user at its terminal."""

    def __init__(self, server: Server, folder: Path, interactive: str | None) -> None:
        self.server = server
        self.way = Way(server)
        environment = {**os.environ, "MODICUM_SOCKET": str(server.folder), "PYTHONPATH": os.pathsep.join(sys.path)}
        self.process = subprocess.Popen(
            [sys.executable, boot.__file__, str(folder)],
            env={**environment, "TERM": "dumb"},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self.interactive = interactive
        self.session = ""
        self.seen = ""

    def load(self, name: str) -> None:
        self.server.accept()
        function = {"module": "program", "qualname": name, "name": name, "generator": name == "items"}
        answer = {"app": "ap-1", "functions": {}, "code": 0, "interactive": self.interactive}
        spec = {**function, "async": name == "asynchronous"}
        self.server.send({"t": "reply", "r": 1, "function": spec, **answer})
        assert self.server.receive()[0]["t"] == "agent.loaded"

    def run(self, key: str = "fc-1:0", argument: object = 1) -> None:
        payload = dumps(((argument,), {}))
        self.server.send({"t": "run", "inputs": [[key, 1, len(payload), None]]}, payload)

    def asked(self) -> Header:
        """Return the request for a terminal."""
        asked = self.way.accept()
        assert asked["t"] == "agent.interact"
        self.session = asked["exec"]
        return asked

    def opened(self, rows: int = 24, cols: int = 80) -> None:
        """Have it get the terminal that it asks for."""
        tty = {"rows": rows, "cols": cols, "term": "xterm"}
        self.way.send({"t": "reply", "r": self.asked()["r"], "tty": tty})

    def refused(self) -> None:
        message = {"code": "failed_precondition", "message": "nobody is there"}
        self.way.send({"t": "error", "r": self.asked()["r"], **message})

    def wait(self, kind: str) -> Header:
        """Return the next message of this kind; what is written to the terminal is seen meanwhile."""
        while True:
            header, payload = self.way.receive()
            assert header["exec"] == self.session
            if header["t"] == "exec.output":
                self.seen += payload.decode()
                self.way.send({"t": "exec.ack", "exec": self.session, "bytes": len(payload)})
            if header["t"] == kind:
                return header

    def until(self, text: str) -> None:
        """Return when this has been written after what was waited for last."""
        while text not in self.seen:
            self.wait("exec.output")
        self.seen = self.seen.partition(text)[2]

    def type(self, text: str) -> None:
        self.way.send({"t": "exec.input", "exec": self.session}, text.encode())

    def interrupt(self, text: str) -> None:
        """Press Ctrl-C until this has been written: Python loses one that comes just before it waits for a key."""
        assert self.way.connection is not None
        self.way.connection.settimeout(0.2)
        while text not in self.seen:
            self.type("\x03")
            try:
                self.wait("exec.output")
            except TimeoutError:
                pass
        self.way.connection.settimeout(5)

    def ended(self) -> Any:
        """Return what the input returned or raised, when its terminal is given back."""
        assert self.wait("exec.ended") == {"t": "exec.ended", "exec": self.session, "code": 0}
        return self.output()

    def output(self) -> Any:
        header, payload = self.server.receive()
        assert header["t"] == "agent.outputs"
        ((_, _, status, *_),) = header["outputs"]
        self.server.send({"t": "outputs.ack", "seq": header["seq"]})
        return load_exception(payload) if status == EXCEPTION else loads(payload) if status == SUCCESS else status

    def end(self) -> str:
        """Have it exit; return what it has written to its own stdout and stderr."""
        self.server.send({"t": "exit"})
        text, _ = self.process.communicate(timeout=10)
        assert self.process.returncode == 0, text
        return text.decode()


@pytest.fixture
def program(tmp_path: Path) -> Path:
    folder = tmp_path / "program"
    folder.mkdir()
    (folder / "program.py").write_text(PROGRAM)
    return folder


@pytest.fixture
def terminal(server: Server, program: Path) -> Iterator[Terminal]:
    made = Terminal(server, program, "xterm")
    yield made
    made.process.kill()
    made.process.communicate()
    made.way.drop()


def test_pdb(terminal: Terminal) -> None:
    terminal.load("debugged")
    terminal.run()
    terminal.opened()
    terminal.until("(Pdb) ")
    terminal.type("p y\r")
    terminal.until("2\r\n")
    terminal.until("(Pdb) ")
    terminal.type("y = 40\rc\r")
    assert terminal.ended() == 40
    text = terminal.end()
    assert "before" in text
    assert "(Pdb)" not in text


def test_breakpoint_and_its_end(terminal: Terminal) -> None:
    terminal.load("stopped")
    terminal.run()
    terminal.opened()
    terminal.until("(Pdb) ")
    terminal.type("q\r")
    error = terminal.ended()
    assert type(error).__name__ == "BdbQuit"
    terminal.run("fc-1:1")
    terminal.opened()
    terminal.until("(Pdb) ")
    terminal.type("c\r")
    assert terminal.ended() == 1


def test_an_async_function(terminal: Terminal) -> None:
    terminal.load("asynchronous")
    terminal.run()
    terminal.opened()
    terminal.until("(Pdb) ")
    terminal.type("x = 5;;c\r")
    assert terminal.ended() == 5


def test_a_generator(terminal: Terminal) -> None:
    terminal.load("items")
    terminal.run()
    assert terminal.server.receive()[0]["t"] == "agent.piece"
    terminal.opened()
    terminal.until("(Pdb) ")
    terminal.type("c\r")
    assert loads(terminal.server.receive()[1]) == 2


def test_input_is_edited_and_the_way_is_used_again(terminal: Terminal) -> None:
    terminal.load("asked")
    terminal.run()
    terminal.opened()
    terminal.until("name? ")
    terminal.type("Adx\x7fa\x01!\r")
    terminal.until("age? ")
    terminal.type("36\r")
    assert terminal.ended() == ("!Ada", "36")


def test_the_end_of_what_is_typed(terminal: Terminal) -> None:
    terminal.load("asked")
    terminal.run()
    terminal.opened()
    terminal.until("name? ")
    terminal.type("\x04")
    assert isinstance(terminal.ended(), EOFError)


def test_children_have_the_terminal_too_and_its_size(terminal: Terminal) -> None:
    terminal.load("shell")
    terminal.run()
    terminal.opened(rows=33, cols=101)
    terminal.type("hello\r")
    assert terminal.ended().split("\n")[:2] == ["33 101", "got hello"]
    assert "after\r\n" in terminal.seen


def test_ctrl_c_interrupts_the_program_and_not_the_prompt(terminal: Terminal) -> None:
    terminal.load("busy")
    terminal.run()
    terminal.opened()
    terminal.until("ready")
    terminal.type("\x03")
    assert terminal.ended() == "interrupted"


def test_ctrl_c_at_the_prompt(terminal: Terminal) -> None:
    terminal.load("stopped")
    terminal.run()
    terminal.opened()
    terminal.until("(Pdb) ")
    terminal.interrupt("--KeyboardInterrupt--")
    terminal.until("(Pdb) ")
    terminal.type("c\r")
    assert terminal.ended() == 1


def test_no_more_leaves_than_is_acknowledged(terminal: Terminal) -> None:
    terminal.load("much")
    terminal.run(argument=2 * WINDOW_BYTES)
    terminal.opened()
    sizes: list[int] = []
    while sum(sizes) < WINDOW_BYTES:
        header, payload = terminal.way.receive()
        assert header["t"] == "exec.output"
        sizes.append(len(payload))
    assert sum(sizes) == WINDOW_BYTES
    terminal.way.send({"t": "exec.input", "exec": terminal.session}, b"!")
    assert terminal.way.receive()[0] == {"t": "exec.ack", "exec": terminal.session, "bytes": 1}
    terminal.way.send({"t": "exec.ack", "exec": terminal.session, "bytes": WINDOW_BYTES})
    assert terminal.ended() == 2 * WINDOW_BYTES
    assert terminal.seen.count("x") == WINDOW_BYTES


def test_a_user_who_has_gone(terminal: Terminal) -> None:
    terminal.load("asked")
    terminal.run()
    terminal.opened()
    terminal.until("name? ")
    terminal.way.send({"t": "exec.ended", "exec": terminal.session})
    assert isinstance(terminal.output(), EOFError)
    terminal.run("fc-1:1")
    terminal.opened()
    terminal.type("a\rb\r")
    assert terminal.ended() == ("a", "b")


def test_another_server(terminal: Terminal) -> None:
    terminal.load("asked")
    terminal.run()
    terminal.opened()
    terminal.until("name? ")
    terminal.way.drop()
    terminal.refused()  # its user is not there yet
    terminal.opened()
    terminal.type("a\rb\r")
    assert terminal.ended() == ("a", "b")


def test_nobody_to_debug_for(terminal: Terminal) -> None:
    terminal.load("asked")
    terminal.run()
    terminal.refused()
    terminal.refused()  # what `input()` tries next
    assert "nobody is there" in str(terminal.output())


def test_one_that_waits_for_its_turn_is_cancelled(terminal: Terminal) -> None:
    terminal.load("stopped")
    terminal.run()
    terminal.asked()
    terminal.server.send({"t": "cancel", "keys": ["fc-1:0"]})
    assert terminal.way.connection is not None
    assert terminal.way.connection.recv(1) == b""
    assert type(terminal.output()).__name__ == "InputCancellation"


def test_what_is_printed_afterwards_is_logged_again(terminal: Terminal) -> None:
    terminal.load("asked")
    terminal.run()
    terminal.opened()
    terminal.type("a\rb\r")
    assert terminal.ended() == ("a", "b")
    assert "name?" not in terminal.end()


@pytest.mark.parametrize("name", ["debugged", "stopped", "shell"])
def test_an_app_that_is_not_interactive(server: Server, program: Path, name: str) -> None:
    terminal = Terminal(server, program, None)
    terminal.load(name)
    terminal.run()
    error = terminal.output()
    assert type(error).__name__ == "InvalidError"
    assert "without running Modal in interactive mode" in str(error)
    assert "modicum run -i" in str(error)
    terminal.end()
