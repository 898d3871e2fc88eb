"""Commands and shells in real containers, root's and an ordinary user's: they are as closed in as what runs there."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import subprocess
import termios
from pathlib import Path

import pytest

from tests.real.installation import Installation, wait_until

PROGRAM = """
import os, time
import modicum

app = modicum.App("entered")

@app.function(memory=(256, 512))
def stay():
    status = [line for line in open("/proc/self/status") if line.startswith(("Seccomp:", "NoNew", "Cap"))]
    spaces = [os.readlink("/proc/self/ns/" + name) for name in sorted(os.listdir("/proc/self/ns"))]
    print("HERE", os.environ["MODICUM_TASK_ID"], status, spaces, flush=True)
    time.sleep(600)
"""
LOOK = """
import os
status = [line for line in open("/proc/self/status") if line.startswith(("Seccomp:", "NoNew", "Cap"))]
print(status, [os.readlink("/proc/self/ns/" + name) for name in sorted(os.listdir("/proc/self/ns"))])
"""


@pytest.mark.timeout(600)  # the first one builds its image
def test_commands_and_a_terminal(installation: Installation) -> None:
    program = installation.home / "entered.py"
    program.write_text(PROGRAM)
    program.chmod(0o644)
    client = installation.start("run", "-q", str(program))
    try:
        assert client.stdout is not None
        here = client.stdout.readline()
        assert here.startswith("HERE"), here
        _, container, rights = here.split(" ", 2)
        done = installation.run("container", "exec", container, "python3", "-c", LOOK)
        assert done.stdout == rights
        assert "Seccomp:\\t2" in rights
        assert "NoNewPrivs:\\t1" in rights
        _sit_at(installation, container)
    finally:
        client.send_signal(signal.SIGINT)
        client.communicate(timeout=30)


def _sit_at(installation: Installation, container: str) -> None:
    """Use a shell on a terminal, then go away without a word: nothing of it stays."""
    person, tty = pty.openpty()
    termios.tcsetwinsize(tty, (31, 77))
    os.chmod(os.ttyname(tty), 0o666)
    argv = installation.argv("container", "exec", container, "bash", "--norc")
    client = subprocess.Popen(argv, stdin=tty, stdout=tty, stderr=tty, start_new_session=True)
    seen = _see(person, "bash-")
    job = f"sleep {10**6 + client.pid}"
    os.write(person, f"tty; stty size; {job} & jobs -l\n".encode())
    seen += _see(person, "Running")
    assert "/dev/pts/0\r\n31 77\r\n" in seen, seen
    wait_until(lambda: _lives(job), lambda: "the shell's job does not run")
    client.kill()
    client.wait()
    wait_until(lambda: not _lives(job), lambda: "the shell's job lives on")
    os.close(person)
    os.close(tty)


def _see(person: int, words: str) -> str:
    """Return what is shown on the terminal, up to these words."""
    seen = ""
    while words not in seen:
        readable, _, _ = select.select([person], [], [], 30)
        assert readable, f"nothing more is shown: {seen!r}"
        seen += os.read(person, 65536).decode()
    return seen


def _lives(words: str) -> bool:
    """Whether there is a process of this command; its number makes it this test's own."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if path.read_bytes() == words.replace(" ", "\0").encode() + b"\0":
                return True
    return False
