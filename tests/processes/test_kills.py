"""Does a kill of a part leave anything of plain processes, which no kernel object holds together?"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from modicum import _server
from modicum.app import App
from tests.processes import strays

pytestmark = pytest.mark.usefixtures("server")


@pytest.fixture
def app(server: object) -> Iterator[App]:
    with strays.app.run():
        yield strays.app


def status() -> dict[str, Any]:
    link = _server.running()
    assert link is not None
    with link:
        return _server.ask(link, {"t": "server.status"})


def eventually(condition: Callable[[], object], within_s: float = 20.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def lives(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


@pytest.mark.parametrize("part", ["node_pid", "keeper_pid"])
def test_a_daemon_of_a_function_ends_with_what_held_it_and_the_input_runs_again(
    app: App, tmp_path: Path, part: str
) -> None:
    daemons = tmp_path / "daemons"
    daemons.mkdir()
    call = strays.leave_one.spawn(str(tmp_path))
    eventually(lambda: list(daemons.iterdir()))
    (first,) = daemons.iterdir()
    assert lives(int(first.name))
    os.kill(status()[part], signal.SIGKILL)
    eventually(lambda: not lives(int(first.name)))
    eventually(lambda: len(list(daemons.iterdir())) > 1)
    (tmp_path / "go").touch()
    assert call.get(timeout=30)


def test_a_daemon_of_a_function_ends_with_its_app(server: object, tmp_path: Path) -> None:
    (tmp_path / "daemons").mkdir()
    (tmp_path / "go").touch()
    with strays.app.run():
        strays.leave_one.remote(str(tmp_path))
        (daemon,) = (tmp_path / "daemons").iterdir()
        assert lives(int(daemon.name))
    assert not lives(int(daemon.name))
