"""What was printed and why things ended can be asked for, while an app runs, after it, and after a restart."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import modicum
from modicum.cli.main import cli
from modicum.exception import InternalFailure
from tests.processes import programs
from tests.processes.conftest import start_server
from tests.processes.test_command_line import command
from tests.processes.watching import eventually

pytestmark = pytest.mark.usefixtures("server")


def shown(*words: str) -> str:
    result = CliRunner().invoke(cli, list(words), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def objects(*words: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in shown(*words, "--json").splitlines()]


def test_what_a_spawned_call_printed_is_found_when_its_app_has_ended() -> None:
    with programs.app.run():
        app = programs.app.app_id
        assert app is not None
        calls = [programs.speak.spawn(word) for word in ("one", "two")]
        for call in calls:
            call.get(timeout=30)
    found = objects("app", "logs", app, "--call", calls[1].object_id, "--source", "stdout")
    assert [(each["message"], each["function"], each["input"]) for each in found] == [("two", "speak", 0)]
    container = found[0]["container_id"]
    assert "one\n" in shown("container", "logs", container)
    assert shown("function", "logs", f"{app}/speak", "--search", "TW") == "TWO\n"
    assert objects("app", "logs", "programs", "--until", "1d") == []


def test_why_a_container_crashed_stands_in_the_list_and_in_the_log() -> None:
    with programs.app.run():
        app = programs.app.app_id
        assert app is not None
        with pytest.raises(InternalFailure, match="died under it 4 times"):
            programs.fail.remote("crash")
    ended = json.loads(shown("container", "list", "--all", "--app-id", app, "--json"))
    assert [(each["function"], each["exit_code"]) for each in ended] == [("fail", 9)] * 4
    assert {each["reason"] for each in ended} == {"crashed: its process ended with exit code 9"}
    lines = shown("app", "logs", app, "--source", "system", "--function", "fail").splitlines()
    assert [line.split()[1] for line in lines] == [each["container_id"] for each in ended]
    assert all(" of fail crashed: its process ended with exit code 9" in line for line in lines)


def test_what_a_deployed_app_raised_is_in_its_log() -> None:
    app = modicum.App("raising")

    @app.function(serialized=True)
    def refuse() -> None:
        raise ValueError("not today")

    @app.cls(serialized=True)
    class Broken:
        @modicum.enter()
        def load(self) -> None:
            raise RuntimeError("no weights")

        @modicum.method()
        def use(self) -> None: ...

    app.deploy()
    try:
        for function, text in ((refuse, "not today"), (Broken().use, "no weights")):
            with pytest.raises(Exception, match=text):
                function.spawn().get(timeout=30)
        assert shown("app", "logs", "raising", "--search", "ValueError: not today") == "ValueError: not today\n"
        eventually(lambda: "\nRuntimeError: no weights\n" in shown("function", "logs", "raising/Broken.use"))
        eventually(
            lambda: (
                " of Broken.* did not start: its function could not be loaded: RuntimeError: no weights\n"
                in shown("app", "logs", "raising", "--source", "system")
            )
        )
        assert "1 failed, 0 starting" in shown("function", "stats", "raising/Broken")
    finally:
        modicum.App.lookup("raising").stop()


@pytest.fixture
def following() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a command; what it prints is read from it."""
    started: list[subprocess.Popen[str]] = []

    def start(*words: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(command(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_follower_sees_what_was_and_what_comes_and_ends_with_the_app(
    following: Callable[..., subprocess.Popen[str]],
) -> None:
    with programs.app.run():
        app = programs.app.app_id
        assert app is not None
        programs.speak.remote("before")
        follower = following("app", "logs", app, "-f", "--source", "stdout", "--show-function-call-id")
        other = following("function", "logs", f"{app}/speak", "-f", "--search", "later")
        assert follower.stdout is not None
        assert other.stdout is not None
        assert follower.stdout.readline().endswith(" before\n")
        call = programs.speak.spawn("later")
        assert follower.stdout.readline() == f"{call.object_id} later\n"
        assert other.stdout.readline() == "later\n"
        other.send_signal(signal.SIGINT)
        assert (*other.communicate(timeout=20), other.returncode) == ("", "", 130)  # without a word
    assert (*follower.communicate(timeout=20), follower.returncode) == ("", "", 0)


PROGRAM = """
import os, signal
import modicum

app = modicum.App("short")

@app.function()
def say(word):
    print(word)

@app.function()
def die():
    os.kill(os.getpid(), signal.SIGKILL)

@app.local_entrypoint()
def main():
    call = say.spawn("last words")
    call.get()
    try:
        die.remote()
    except modicum.exception.InternalFailure:
        print(call.object_id)
"""


def test_all_of_it_survives_a_killed_server(tmp_path: Path, following: Callable[..., subprocess.Popen[str]]) -> None:
    (tmp_path / "short.py").write_text(PROGRAM)
    home = tmp_path / "home"
    home.mkdir()

    def run(*words: str) -> str:
        environment = {**os.environ, "MODICUM_HOME": str(home)}
        done = subprocess.run(command(*words), env=environment, capture_output=True, text=True, check=True, timeout=60)
        return done.stdout

    server = start_server(home)
    try:
        call = run("run", str(tmp_path / "short.py")).split()[-1]
        eventually(lambda: "killed: its app has ended" in run("container", "list", "--all"))
        server.kill()
        server.wait()
        server = start_server(home)
        assert run("app", "logs", "short", "--call", call) == "last words\n"
        assert run("app", "logs", "short", "-s", "system", "--search", "crashed").count("killed by signal 9") == 4
        ended = json.loads(run("container", "list", "--all", "--json"))
        assert [each["signal"] for each in ended if each["function"] == "die"] == [9] * 4
    finally:
        server.terminate()
        assert server.wait(20) == 0
