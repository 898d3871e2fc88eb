"""Commands in containers through a whole server: input and output, their codes, and what a kill leaves of them."""

from __future__ import annotations

import os
import pty
import signal
import socket
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import modicum
from modicum import _idling, _server
from modicum._remote_terminal import Ended, RemoteTerminal, new_id
from modicum.cli.main import cli
from modicum.exception import ConnectionError, NotFoundError
from modicum.wire.frames import Decoder, encode
from modicum.wire.terminals import WINDOW_BYTES
from tests.processes.watching import eventually, status

pytestmark = pytest.mark.usefixtures("server")


@pytest.fixture(scope="module")
def container(server: object) -> Iterator[str]:
    """A container that idles."""
    yield from idling()


@pytest.fixture
def doomed(server: object) -> Iterator[str]:
    """Another one, which its test ends."""
    yield from idling()


def idling() -> Iterator[str]:
    app = modicum.App("idling")
    idle = app.function(include_source=False)(_idling.idle)
    with app.run():
        yield next(iter(idle.remote_gen()))


class Executed:
    """A command that is executed by a client in this process, which talks to it through pipes."""

    def __init__(self, container: str, *argv: str, **fields: Any) -> None:
        stdin, self.stdin = os.pipe()
        self.stdout, stdout = os.pipe()
        self.stderr, stderr = os.pipe()
        self.ours = [stdin, stdout, stderr]
        self.remote = RemoteTerminal(_server.connect(), *self.ours)
        self.session = new_id()
        start = {"t": "exec.start", "exec": self.session, "container": container, "argv": list(argv), **fields}
        try:
            self.remote.request(start)
        except BaseException:
            self.remote.close()
            for descriptor in (*self.ours, self.stdin, self.stdout, self.stderr):
                os.close(descriptor)
            raise
        self.results: list[Ended] = []
        self.thread = threading.Thread(target=self._converse)
        self.thread.start()

    def _converse(self) -> None:
        try:
            self.results.append(self.remote.converse(self.session, raw=False))
        except ConnectionError:
            pass  # the test has cut it
        finally:
            for descriptor in self.ours:
                os.close(descriptor)

    def read(self, words: bytes) -> bytes:
        """Return what it has written, up to these words."""
        said = b""
        while words not in said:
            data = os.read(self.stdout, 65536)
            assert data, said
            said += data
        return said

    def close(self) -> None:
        """Give up what is left of it here."""
        self.remote.close()
        for descriptor in (self.stdin, self.stdout, self.stderr):
            os.close(descriptor)

    def finish(self, given: bytes = b"") -> tuple[int, bytes, bytes, str]:
        """Give it the rest of its input; return how it ended and what it has written."""
        os.write(self.stdin, given)
        os.close(self.stdin)
        said = []
        for descriptor in (self.stdout, self.stderr):
            with os.fdopen(descriptor, "rb") as file:
                said.append(file.read())
        self.thread.join(20)
        self.remote.close()
        return self.results[0].code, said[0], said[1], self.results[0].detail


def pid_lives(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def test_input_outputs_and_code(container: str) -> None:
    script = 'cat; echo "$MODICUM_TASK_ID" "$A" >&2; exit 7'
    code, out, error, detail = Executed(container, "sh", "-c", script, env={"A": "b"}).finish(b"hello")
    assert (code, out, error, detail) == (7, b"hello", f"{container} b\n".encode(), "")
    code, _, error, detail = Executed(container, "not-there").finish()
    assert code == 127
    assert error.decode().strip() == detail == "not-there: No such file or directory"
    assert Executed(container, "sh", "-c", "kill -9 $$").finish()[0] == 137
    with pytest.raises(NotFoundError, match="no container ta-0 runs"):
        Executed("ta-0", "true")


def test_large_input_comes_back_whole(container: str) -> None:
    """Far more than a window in both directions."""
    executed = Executed(container, "cat")
    data = os.urandom(4 * WINDOW_BYTES)
    writer = threading.Thread(target=lambda: os.write(executed.stdin, data))
    writer.start()
    received = b""
    while len(received) < len(data):
        received += os.read(executed.stdout, 1 << 20)
    writer.join()
    assert received == data
    assert executed.finish() == (0, b"", b"", "")


def test_a_client_that_takes_nothing_gets_no_more_than_the_window(container: str) -> None:
    with _server.connect() as link:
        session = new_id()
        start = {"t": "exec.start", "r": 1, "exec": session, "container": container, "argv": ["yes"]}
        link.sendall(encode({**start, "tty": None}))
        decoder, received = Decoder(), 0
        while received < WINDOW_BYTES:
            received += sum(len(payload) for header, payload in decoder.feed(link.recv(65536)))
        link.sendall(encode({"t": "ping", "r": 2}))
        answers: list[Any] = []
        while not answers:
            answers = decoder.feed(link.recv(65536))
        assert [header["t"] for header, _ in answers] == ["reply"]
        assert received == WINDOW_BYTES


def test_a_command_ends_with_its_client_whatever_it_ignores(container: str) -> None:
    executed = Executed(container, "sh", "-c", "trap '' HUP TERM INT; echo $$; sleep 1000; sleep 1000")
    pid = int(executed.read(b"\n"))
    assert pid_lives(pid)
    executed.remote._link.shutdown(socket.SHUT_RDWR)
    executed.thread.join(20)
    eventually(lambda: not pid_lives(pid))
    executed.close()


def test_a_stopped_container_says_why_its_commands_ended(doomed: str) -> None:
    executed = Executed(doomed, "sh", "-c", "echo $$; sleep 1000; true")
    pid = int(executed.read(b"\n"))
    stopped = CliRunner().invoke(cli, ["container", "stop", "--yes", doomed], catch_exceptions=False)
    assert stopped.exit_code == 0
    code, _, _, detail = executed.finish()
    assert (code, detail) == (137, "its container has ended: it was asked to stop")
    assert not pid_lives(pid)


class Seat:
    """`modicum ARGUMENTS` on a terminal, and who sits there."""

    def __init__(self, *arguments: str) -> None:
        self.person, tty = pty.openpty()
        termios.tcsetwinsize(tty, (31, 77))
        self.before = termios.tcgetattr(tty)
        self.tty = tty
        argv = [sys.executable, "-m", "modicum.cli.main", *arguments]
        environment = {**os.environ, "TERM": "xterm"}
        self.process = subprocess.Popen(
            argv, stdin=tty, stdout=tty, stderr=tty, env=environment, start_new_session=True
        )

    def see(self, words: str) -> str:
        """Return what is shown, up to these words."""
        shown = ""
        while words not in shown:
            shown += os.read(self.person, 65536).decode(errors="replace")
        return shown

    def type(self, text: str) -> None:
        os.write(self.person, text.encode())

    def leave(self) -> int:
        """Return the exit code; the terminal must be as it was."""
        code = self.process.wait(30)
        assert termios.tcgetattr(self.tty) == self.before
        os.close(self.tty)
        os.close(self.person)
        return code


def test_the_command_line_on_a_terminal(container: str) -> None:
    script = "trap 'stty size; exit 9' INT; stty size; read x; echo got $x; while :; do sleep 0.02; done"
    seat = Seat("container", "exec", container, "sh", "-c", script)
    seat.see("31 77")
    termios.tcsetwinsize(seat.tty, (40, 99))
    seat.process.send_signal(signal.SIGWINCH)
    seat.type("this\r")
    seat.see("got this")
    seat.type("\x03")
    seat.see("40 99")
    assert seat.leave() == 9


def test_the_command_line_on_pipes(container: str) -> None:
    argv = [sys.executable, "-m", "modicum.cli.main", "container", "exec"]
    words = [container, "--no-pty", "sh", "-c", "cat; exit 5", "--pty"]
    done = subprocess.run([*argv, *words], input=b"x\n", capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (5, b"x\n", b"")
    refused = CliRunner().invoke(cli, ["container", "exec", "--pty", container, "true"])
    assert "--pty needs a terminal" in str(refused.exception)
    none = CliRunner().invoke(cli, ["container", "exec", container, "--pty"])
    assert none.exit_code == 2
    assert "Missing argument" in none.output


def test_a_shell_of_its_own(server: object, tmp_path: Path) -> None:
    program = tmp_path / "shelled.py"
    program.write_text(
        "import modicum\napp = modicum.App()\nimage = modicum.Image.debian_slim().env({'COLOUR': 'blue'})\n"
        "secret = modicum.Secret.from_dict({'TOKEN': 'secret'})\n"
        "@app.function(image=image, secrets=[secret], retries=2)\ndef f(x): pass\n"
        "@app.local_entrypoint()\ndef main(): pass\n"
    )
    argv = [sys.executable, "-m", "modicum.cli.main", "shell", str(program), "-c"]
    command = "echo $COLOUR $TOKEN; ls *.py; exit 6"
    done = subprocess.run([*argv, command], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (6, "blue secret\nshelled.py\n"), done.stderr
    listed = CliRunner().invoke(cli, ["container", "list"], catch_exceptions=False)
    assert "shell" not in listed.output


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["ta-1", "--cpu", "2"], "--cpu cannot be given to go into the container ta-1, which runs"),
        (["program.py", "--gpu", "any"], "--gpu cannot be given for a container of program.py"),
        (["--volume", "v"], "--volume of `modicum shell` is not in Modicum yet"),
        (["sb-1"], "sandboxes are not in Modicum yet"),
        (["im-1", "--add-local", "x"], "--add-local goes with no image that is named by its id"),
        (["--pty"], "--pty needs a terminal"),
        (["ta-1", "-c", "true"], "no container ta-1 runs"),
        (["--gpu", "H10"], "'shell' asks for the GPU type 'H10'"),
        (["ta-", "-c", "true"], "no container ta- runs"),
        (["im-1", "-c", "true"], "there is no image im-1; `modicum image list` shows those that are built"),
    ],
)
def test_shells_that_cannot_be(words: list[str], says: str) -> None:
    refused = CliRunner().invoke(cli, ["shell", *words])
    assert says in str(refused.exception)


def test_a_killed_node_ends_commands(doomed: str) -> None:
    executed = Executed(doomed, "sh", "-c", "echo $$; sleep 1000; true")
    pid = int(executed.read(b"\n"))
    os.kill(status()["node_pid"], signal.SIGKILL)
    assert executed.finish()[::3] == (137, "the connection to its container was lost")
    eventually(lambda: not pid_lives(pid))
