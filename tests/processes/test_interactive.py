"""Debugging on a terminal: `modicum run -i` as a whole process, and functions that take the terminal over."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import modicum
from modicum.exception import InvalidError
from tests.processes.conftest import start_server
from tests.processes.test_command_line import EXAMPLES, command, run
from tests.typist import Typist

pytestmark = pytest.mark.usefixtures("server")

GUIDE = EXAMPLES / "guide" / "interactive_debugging.py"

PROGRAM = """
import asyncio, sys
import modal

app = modal.App("debugged")

@app.function()
def times(x: int, y: int = 10):
    print("times", x)
    breakpoint()
    return x * y

@app.cls()
class Asking:
    @modal.enter()
    def ask(self):
        self.name = input("name? ")

    @modal.method()
    async def greet(self):
        await asyncio.sleep(0)
        modal.interact()
        print(f"{self.name} is asked on a terminal: {sys.stdout.isatty()}")
        return input("well? ")

@app.local_entrypoint()
def both():
    print("both:", list(times.map([1, 2])))

@app.local_entrypoint()
def here():
    print(input("here? "), Asking().greet.remote())
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "debugged.py"
    path.write_text(PROGRAM.replace("modal", "modicum"))
    return path


@pytest.fixture
def typists(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Typist]]:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    made: list[Typist] = []
    yield made
    for each in made:
        each.close()


def test_the_guides_program(typists: list[Typist]) -> None:
    typists.append(typist := Typist(command("run", "-i", GUIDE)))
    typist.until("(Pdb) ")
    typist.type("p 6 * 7\r")
    assert typist.until("\r\n42\r\n") == "p 6 * 7"
    typist.until("(Pdb) ")
    typist.type("c\r")
    assert typist.end() == 0
    assert typist.is_restored
    told = run("run", GUIDE, code=1).stderr
    assert "Cannot use pdb without running Modal in interactive mode" in told
    assert "`modicum run -i`" in told


def test_two_at_once_have_it_one_after_the_other(program: Path, typists: list[Typist]) -> None:
    typists.append(typist := Typist(command("run", "-i", f"{program}::both")))
    containers = set()
    for _ in range(2):
        typist.until("times in container ")
        containers.add(typist.until(" has the terminal until its input ends\r\n"))
        typist.until("(Pdb) ")
        typist.type("y = 5;;c\r")
    assert typist.end() == 0
    assert len(containers) == 2
    assert typist.seen.endswith("both: [5, 10]\r\n")
    assert max(typist.seen.find(f"times {x}\r\n") for x in (1, 2)) > 0
    assert typist.seen.find("times ") < typist.seen.find("(Pdb) ")
    assert typist.is_restored


def test_hooks_async_methods_and_a_program_that_asks_itself(program: Path, typists: list[Typist]) -> None:
    typists.append(typist := Typist(command("run", "-i", f"{program}::here")))
    for question in ("here? ", "name? ", "well? "):
        typist.until(question)
        typist.type(question.upper() + "\r")
    assert typist.end() == 0
    assert "NAME?  is asked on a terminal: True\r\n" in typist.seen
    assert typist.seen.endswith("HERE?  WELL? \r\n")


def test_a_terminal_is_as_it_was_when_a_signal_ends_the_command(typists: list[Typist]) -> None:
    typists.append(typist := Typist(command("run", "-i", GUIDE)))
    typist.until("(Pdb) ")
    assert not typist.is_restored
    typist.process.send_signal(signal.SIGTERM)
    assert typist.end() == -signal.SIGTERM
    assert typist.is_restored


def test_an_interaction_goes_on_with_the_next_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODICUM_HOME", str(tmp_path))
    monkeypatch.setenv("MODICUM_RUNTIME", "process")
    server = start_server(tmp_path)
    typist = Typist(command("run", "-i", GUIDE))
    try:
        typist.until("(Pdb) ")
        os.kill(server.pid, signal.SIGKILL)
        server.wait()
        typist.until("has the terminal")
        typist.until("\r\n")
        typist.type("p 6 * 7\r")
        typist.until("\r\n42\r\n")
        typist.type("q\r")
        assert typist.end() == 1
        assert "bdb.BdbQuit" in typist.seen
    finally:
        typist.close()
        run("server", "stop")


def test_where_there_is_no_terminal() -> None:
    told = run("run", "-i", GUIDE, code=1).stderr
    assert "Interactive mode requires a terminal, and stdin is none" in told
    code = f"import sys; sys.path.insert(0, {str(GUIDE.parent)!r}); import modicum; modicum.install_as_modal()\n"
    code += "from interactive_debugging import app\nwith app.run(interactive=True): pass"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "Interactive mode requires output to be enabled" in done.stderr
    with pytest.raises(InvalidError, match="only works inside a Modal Function's container"):
        modicum.interact()
