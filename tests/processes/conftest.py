"""A server whose containers are plain processes, for a whole test run, and an app that runs on it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from modicum import _blocking, _server
from modicum.app import App
from tests.processes import programs


def start_server(home: Path) -> subprocess.Popen[bytes]:
    """Start a server with the process runtime and wait until it answers."""
    with open(home / "server.log", "ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "modicum.server.main", "--home", str(home)],
            env={**os.environ, "MODICUM_RUNTIME": "process"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        link = _server._try_connect(str(home / "sock"))
        if link is not None:
            link.close()
            return process
        assert process.poll() is None, (home / "server.log").read_text()
        time.sleep(0.02)
    raise AssertionError("the server did not start")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[subprocess.Popen[bytes]]:
    home = tmp_path_factory.mktemp("home")
    before = os.environ.get("MODICUM_HOME")
    os.environ["MODICUM_HOME"] = str(home)
    process = start_server(home)
    yield process
    process.terminate()
    assert process.wait(20) == 0
    _blocking.close_idle()
    if before is None:
        del os.environ["MODICUM_HOME"]
    else:
        os.environ["MODICUM_HOME"] = before


@pytest.fixture(scope="module")
def app(server: subprocess.Popen[bytes]) -> Iterator[App]:
    with programs.app.run():
        yield programs.app
