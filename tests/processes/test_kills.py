"""Does a kill of a part leave anything of plain processes, which no kernel object holds together?"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from modicum.app import App
from tests.processes import strays
from tests.processes.watching import eventually, status

pytestmark = pytest.mark.usefixtures("server")


@pytest.fixture
def app(server: object) -> Iterator[App]:
    with strays.app.run():
        yield strays.app


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
    eventually(lambda: list(daemons.iterdir()), within_s=20)
    (first,) = daemons.iterdir()
    assert lives(int(first.name))
    os.kill(status()[part], signal.SIGKILL)
    eventually(lambda: not lives(int(first.name)), within_s=20)
    eventually(lambda: len(list(daemons.iterdir())) > 1, within_s=20)
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
