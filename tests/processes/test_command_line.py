"""What a user sees of `modicum run`, as whole processes: output, errors, and how an interrupt ends it."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from modicum.engines.local import NOTICE
from tests.processes.watching import eventually, status

pytestmark = pytest.mark.usefixtures("server")

EXAMPLES = Path(__file__).parents[2] / "examples"

PROGRAM = """
import sys, time
import modicum

app = modicum.App("shown")

@app.function()
def double(x: int) -> int:
    print("doubling", x)
    return 2 * x

@app.function(max_containers=2)
def sleep(seconds: float) -> float:
    print("sleeps")
    time.sleep(seconds)
    return seconds

@app.function()
def fails(x: int) -> None:
    inner(x)

def inner(x):
    raise LookupError(f"no {x}")

@app.function()
def text(n: int) -> str:
    return "t" * n

@app.local_entrypoint()
def main(n: int = 3):
    print("result", double.remote(n))

@app.local_entrypoint()
async def later(n: int = 3):
    print("result", await double.remote.aio(n))

@app.local_entrypoint()
def one_call():
    sleep.remote(60)

@app.local_entrypoint()
async def async_call():
    await sleep.remote.aio(60)

@app.local_entrypoint()
def leaves():
    double.remote(1)
    sys.exit(7)

@app.local_entrypoint()
def many_calls():
    list(sleep.map([60.0] * 4))

@app.local_entrypoint()
def in_threads():
    from concurrent.futures import ThreadPoolExecutor
    threads = ThreadPoolExecutor(2)
    threads.submit(time.sleep, 60)
    threads.submit(sleep.remote, 60.0)
    time.sleep(60)

@app.local_entrypoint()
def bad():
    fails.remote(3)

@app.local_entrypoint()
def refused():
    sleep.spawn(1, 2, x=lambda: 0).get()

@app.local_entrypoint()
def nested():
    other = modicum.App("other")
    @other.function(serialized=True)
    def speak():
        print("from the other app")
    with other.run():
        speak.remote()
"""

NOTICE_LINE = f"modicum: {NOTICE}\n"

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "shown.py"
    path.write_text(PROGRAM)
    return path


def command(*words: object, name: str = "modicum") -> list[str]:
    """Return what runs the command line as if it was called by a name."""
    start = f"import sys; sys.argv[0] = {name!r}; from modicum.cli.main import main; main()"
    return [sys.executable, "-c", start, *map(str, words)]


def run(*words: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run the command line; what is said of plain processes at every start, however quiet, is left out."""
    done = subprocess.run(command(*words), check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == code, done.stderr
    assert NOTICE_LINE in done.stderr or "run" not in words or code
    done.stderr = done.stderr.replace(NOTICE_LINE, "")
    return done


def test_a_method_is_run_with_its_objects_parameters() -> None:
    done = run("run", "-q", f"{EXAMPLES / 'model.py'}::Greeter.greet", "--language", "french", "--name", "Ada")
    assert "'Bonjour, Ada!'" in done.stdout.splitlines()


def test_stdout_is_the_programs_alone(program: Path) -> None:
    done = run("run", f"{program}::main")
    assert done.stdout == "doubling 3\nresult 6\n"
    assert re.search(r"^Created shown: 4 functions, 1 image( \(built in \d+\.\d s\))?$", done.stderr, re.MULTILINE)
    assert "\x1b" not in done.stderr


def test_quiet_shows_nothing_extra(program: Path) -> None:
    done = run("run", "-q", f"{program}::main", "--n", 4)
    assert (done.stdout, done.stderr) == ("doubling 4\nresult 8\n", "")


def test_a_function_and_an_async_entrypoint(program: Path) -> None:
    assert run("run", "-q", f"{program}::double", "--x", 5).stdout == "doubling 5\n10\n"
    assert run("run", "-q", f"{program}::later").stdout == "doubling 3\nresult 6\n"


def test_the_result_goes_to_a_file(program: Path, tmp_path: Path) -> None:
    file = tmp_path / "result"
    assert run("run", "-q", "-w", file, f"{program}::text", "--n", 3).stdout == "'ttt'\n"
    assert file.read_text() == "ttt"
    done = run("run", "-q", "-w", file, f"{program}::double", "--x", 1, code=1)
    assert "Error: 'double' returned a int; --write-result takes str or bytes" in done.stderr
    done = run("run", "-q", "-w", tmp_path, f"{program}::text", "--n", 3, code=1)
    assert f"Error: the result cannot be written to {tmp_path}: Is a directory" in done.stderr


def test_a_program_from_stdin(program: Path) -> None:
    def piped(*words: str) -> subprocess.CompletedProcess[str]:
        text = program.read_text()
        return subprocess.run(command("run", *words), input=text, capture_output=True, text=True, check=False)

    assert piped("--", "-::double", "--x", "4").stdout == "doubling 4\n8\n"
    assert "say which:\n  modicum run -- -::main\n" in piped("-").stderr
    assert "no module; leave `-m` out" in run("run", "-m", "-", code=1).stderr


def test_timestamps_and_another_name(program: Path) -> None:
    done = run("run", "--timestamps", "-n", "mine", f"{program}::double", "--x", 5)
    assert re.search(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d doubling 5$", done.stdout, re.MULTILINE)
    assert "Created mine: " in done.stderr


def test_a_remote_error_shows_the_users_frames_alone(program: Path) -> None:
    lines = run("run", "-q", f"{program}::bad", code=1).stderr.splitlines()
    places = [line.rpartition(", in ")[2] for line in lines if line.startswith("  File")]
    assert places == ["bad", "fails", "inner"]
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-1] == "LookupError: no 3"
    shown = run("run", "-q", f"{program}::bad", code=1).stderr
    assert "modicum/cli" not in shown
    environment = {**os.environ, "MODICUM_TRACEBACK": "1"}
    words = command("run", "-q", f"{program}::bad")
    full = subprocess.run(words, env=environment, check=False, capture_output=True, text=True, timeout=60)
    assert "modicum/cli/run.py" in full.stderr


def test_an_error_of_ours_shows_where_the_user_called(program: Path) -> None:
    lines = run("run", "-q", f"{program}::refused", code=1).stderr.splitlines()
    places = [line.rpartition(", in ")[2] for line in lines if line.startswith("  File")]
    assert places
    assert set(places) == {"refused", "sleep", "<module>"} & set(places) | {"refused"}


def test_the_programs_own_exit_status(program: Path) -> None:
    assert run("run", "-q", f"{program}::leaves", code=7).stderr == ""


def test_other_apps_of_the_program_are_shown_too(program: Path) -> None:
    done = run("run", f"{program}::nested")
    assert done.stdout == "from the other app\n"
    assert "Created other: 1 function, 1 image" in done.stderr


def test_output_is_shown_when_it_is_enabled(program: Path) -> None:
    with_it = "with modicum.enable_output(), shown.app.run(): shown.double.remote(1)"
    without = "with shown.app.run(): shown.double.remote(1)"
    for code, out, told in ((with_it, "doubling 1\n", "Created shown"), (without, "", "")):
        words = [sys.executable, "-c", f"import modicum, shown\n{code}"]
        done = subprocess.run(words, cwd=program.parent, check=True, capture_output=True, text=True, timeout=60)
        assert done.stdout == out
        assert told in done.stderr
        assert bool(told) == bool(done.stderr)


def test_a_reader_who_has_gone(program: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    words = command("run", "-q", f"{program}::main")
    done = subprocess.run(words, stdout=writing, stderr=subprocess.PIPE, text=True, check=False, timeout=60)
    os.close(writing)
    assert (done.returncode, done.stderr.replace(NOTICE_LINE, "")) == (1, "")


# -- interrupts ------------------------------------------------------------------------------------------------


def is_at_rest() -> bool:
    """Return whether the interrupted app has ended, and all containers."""
    facts = status()
    return "interrupted" not in [app["name"] for app in facts["apps"]] and not facts["containers"]


@pytest.mark.parametrize("entrypoint", ["one_call", "many_calls", "async_call", "in_threads"])
@pytest.mark.parametrize("times", [1, 2])
def test_an_interrupt_leaves_nothing(program: Path, entrypoint: str, times: int) -> None:
    client = subprocess.Popen(
        command("run", "-n", "interrupted", f"{program}::{entrypoint}"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert client.stdout is not None
    assert client.stdout.readline() == "sleeps\n"
    for _ in range(times):
        client.send_signal(signal.SIGINT)
    try:
        _, told = client.communicate(timeout=10)
    finally:
        client.kill()
    assert client.returncode == 130, told
    assert told.endswith("interrupted\n") or times == 2
    assert "Traceback" not in told
    eventually(is_at_rest)


# -- a terminal ------------------------------------------------------------------------------------------------


def on_terminal(words: list[str], environment: dict[str, str]) -> str:
    """Run a command on a terminal of its own; return all that it wrote there."""
    master, slave = pty.openpty()
    client = subprocess.Popen(words, stdin=slave, stdout=slave, stderr=slave, env={**os.environ, **environment})
    os.close(slave)
    written: list[bytes] = []

    def read() -> None:
        while True:
            try:
                written.append(os.read(master, 65536))
            except OSError:  # the other end is closed
                return

    reader = threading.Thread(target=read)
    reader.start()
    assert client.wait(60) == 0
    reader.join()
    os.close(master)
    return b"".join(written).decode().replace("\r\n", "\n")


def test_a_terminal_gets_colour_and_a_pipe_does_not(program: Path) -> None:
    words = command("run", f"{program}::main")
    coloured = on_terminal(words, {"TERM": "xterm-256color", "NO_COLOR": "", "LANG": "C.UTF-8"})
    assert "\x1b[32m✓ \x1b[0mCreated shown" in coloured
    assert coloured.endswith("doubling 3\nresult 6\n")
    for quiet in ({"TERM": "xterm-256color", "NO_COLOR": "1"}, {"TERM": "dumb", "NO_COLOR": ""}):
        plain = on_terminal(words, quiet)
        assert "Created shown" in plain
        assert "\x1b[3" not in plain
