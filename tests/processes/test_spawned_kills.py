"""Spawned calls over the death of servers."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

import modicum
from modicum import _blocking, _server
from modicum.exception import OutputExpiredError
from tests.processes import spawned
from tests.processes.watching import eventually, status

INPUTS = 400


@pytest.fixture
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home for servers that are killed; the client starts the next one."""
    _blocking.close_idle()
    monkeypatch.setenv("MODICUM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MODICUM_RUNTIME", "process")
    yield tmp_path / "home"
    with _server.connect() as link:
        _server.ask(link, {"t": "server.stop", "all": True})
    _blocking.close_idle()


def test_a_killed_server_loses_no_spawned_input_and_records_none_twice(own_home: Path, tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()
    with spawned.app.run():
        call = spawned.record.experimental_spawn_map([str(marks)] * INPUTS, range(INPUTS))
        one_by_one = [spawned.record.spawn(str(marks), INPUTS + number) for number in range(10)]
        eventually(lambda: len(os.listdir(marks)) > INPUTS / 4, within_s=30)
        os.kill(status()["pid"], signal.SIGKILL)
        assert call.num_inputs() == INPUTS  # it has another server started
        assert list(call.iter()) == list(range(INPUTS))
        assert modicum.FunctionCall.gather(*one_by_one) == list(range(INPUTS, INPUTS + 10))
    assert len(os.listdir(marks)) == INPUTS + 10
    with sqlite3.connect(own_home / "store.db") as store:
        rows = store.execute("SELECT status, count(*), count(DISTINCT call || position) FROM inputs GROUP BY status")
        assert rows.fetchall() == [("ok", INPUTS + 10, INPUTS + 10)]
    store.close()


def test_outputs_are_kept_after_their_app_and_for_their_time(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with spawned.app.run():
        call = spawned.odd_fails.spawn(4)
        assert call.get() == 4
    assert call.get() == 4, "the app has ended"
    monkeypatch.setenv("MODICUM_OUTPUTS_KEPT_S", "0")
    os.kill(status()["pid"], signal.SIGKILL)  # the next one keeps outputs for no time
    eventually(lambda: _is_expired(call))
    with pytest.raises(OutputExpiredError):
        call.get()


def _is_expired(call: modicum.FunctionCall[int]) -> bool:
    try:
        call.get(timeout=0)
    except OutputExpiredError:
        return True
    return False
