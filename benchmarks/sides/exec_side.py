"""Modicum's side of commands in containers: one container that idles, and a client with a connection to the server."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from harness import seconds, serve

import modicum
from modicum import _idling, _own_terminal, _server
from modicum._remote_terminal import RemoteTerminal, new_id

CLI = (sys.executable, "-m", "modicum.cli.main", "container", "exec")


def main() -> None:
    app = modicum.App("executing")
    idle = app.function(include_source=False, timeout=3600)(_idling.idle)
    python = app.function(include_source=False, serialized=True, name="python")(_version)
    nothing = os.open(os.devnull, os.O_RDWR)
    person, tty = pty.openpty()
    with app.run():
        container = next(iter(idle.remote_gen()))
        piped = RemoteTerminal(_server.connect(), nothing, nothing, nothing)
        seated = RemoteTerminal(_server.connect(), tty, tty, tty)

        def execute(remote: RemoteTerminal = piped, raw: bool = False) -> float:
            session = new_id()
            terminal = _own_terminal.terminal(tty, tty) if raw else None
            start = {"t": "exec.start", "exec": session, "container": container, "argv": ["true"], "tty": terminal}

            def once() -> None:
                remote.request(start)
                assert remote.converse(session, raw=raw).code == 0

            return seconds(once)

        def command_line() -> float:
            argv = [*CLI, container, "true"]
            return seconds(lambda: subprocess.run(argv, check=True, stdin=subprocess.DEVNULL))

        serve(
            {
                "python": python.remote,
                "execute": execute,
                "on_terminal": lambda: execute(seated, raw=True),
                "command_line": command_line,
            }
        )
    os.close(person)


def _version() -> str:
    import sys

    return f"{sys.version_info[0]}.{sys.version_info[1]}"


if __name__ == "__main__":
    main()
