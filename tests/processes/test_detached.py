"""Apps that outlive their clients."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import modicum
from tests.processes import leaving
from tests.processes.watching import eventually, status

pytestmark = pytest.mark.usefixtures("server")

Leave = Callable[[str, Path], tuple[subprocess.Popen[str], str, "modicum.FunctionCall[Any]"]]


@pytest.fixture
def start() -> Iterator[Leave]:
    """Start a program of an app; the app's and the call's id."""
    started: list[subprocess.Popen[str]] = []

    def start(how: str, path: Path) -> tuple[subprocess.Popen[str], str, modicum.FunctionCall[Any]]:
        client = subprocess.Popen(
            [sys.executable, "-m", "tests.processes.leaving", str(path), how],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(client)
        assert client.stdout is not None
        app, call = client.stdout.readline().split()
        return client, app, modicum.FunctionCall.from_id(call)

    yield start
    for client in started:
        client.kill()
        client.communicate()


def running() -> dict[str, Any]:
    return {app["id"]: app for app in status()["apps"]}


def test_a_detached_app_goes_on_when_its_client_is_killed(start: Leave, tmp_path: Path) -> None:
    client, app, call = start("detached", tmp_path / "done")
    other, ephemeral, _ = start("attached", tmp_path / "never")
    for each in (client, other):  # the detached one's client dies first: when the other app is gone, its time was over
        each.kill()
        each.wait()
    eventually(lambda: ephemeral not in running())
    assert (running()[app]["detached"], running()[app]["tags"]) == (True, {"team": "blue"})
    with pytest.raises(TimeoutError):
        call.get(timeout=0)
    (tmp_path / "done").touch()
    assert call.get(timeout=30) == "done"
    eventually(lambda: app not in running(), within_s=30)
    assert call.get(timeout=0) == "done"  # its outputs are kept


def test_a_detached_app_that_is_left_goes_on_and_the_program_too(tmp_path: Path) -> None:
    with leaving.app.run(detach=True):
        app = leaving.app.app_id
        call = leaving.wait_for.spawn(str(tmp_path / "done"))
    assert leaving.app.app_id is None
    assert app in running()
    (tmp_path / "done").touch()
    assert call.get(timeout=30) == "done"
    eventually(lambda: app not in running(), within_s=30)


def test_a_detached_app_without_work_ends_when_it_is_left() -> None:
    with leaving.app.run(detach=True):
        app = leaving.app.app_id
    eventually(lambda: app not in running())
