"""Schedules over the death of servers, in ephemeral apps, and on the command line."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import modicum
from modicum import _blocking, _server
from modicum.cli.main import cli
from modicum.exception import NotFoundError
from tests.processes import scheduled
from tests.processes.watching import eventually, status


@pytest.fixture(scope="module")
def ticks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ticks")


@pytest.fixture(scope="module", autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory, ticks: Path) -> Iterator[Path]:
    """A home for servers that are killed; the client starts the next one."""
    home = tmp_path_factory.mktemp("home")
    _blocking.close_idle()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MODICUM_HOME", str(home))
        patch.setenv("MODICUM_RUNTIME", "process")
        patch.setattr(scheduled.tick.raw_function, "__defaults__", (str(ticks),))
        yield home
        with _server.connect() as link:
            _server.ask(link, {"t": "server.stop", "all": True})
        _blocking.close_idle()


def run(*words: str, code: int = 0) -> str:
    result = CliRunner().invoke(cli, list(words))
    assert result.exit_code == code, result.output
    return result.output


def facts() -> list[dict[str, Any]]:
    return json.loads(run("app", "info", "scheduled", "--json"))["schedules"]  # type: ignore[no-any-return]


def test_in_an_ephemeral_app_while_it_runs(ticks: Path) -> None:
    with scheduled.app.run():
        eventually(lambda: len(os.listdir(ticks)) > 1, within_s=30)
        modicum.FunctionCall.from_id(os.listdir(ticks)[0].split()[0]).get()
    first, second = sorted(os.listdir(ticks), key=lambda name: int(name.split()[1]))[:2]
    assert first.split()[0] == second.split()[0], "its first attempt failed: it is retried"
    call = modicum.FunctionCall.from_id(first.split()[0])
    assert call.get() == "ticked", "its output is kept"


def test_each_due_time_runs_once_whoever_is_killed(own_home: Path, ticks: Path) -> None:
    scheduled.app.deploy()
    for _ in range(2):
        before = len(os.listdir(ticks))
        eventually(lambda: len(os.listdir(ticks)) > before, within_s=30)  # noqa: B023 - it is called at once
        os.kill(status()["pid"], signal.SIGKILL)  # as likely as not while the next is being stored
        with _server.connect():
            pass  # the next server
    before = len(os.listdir(ticks))
    eventually(lambda: len(os.listdir(ticks)) > before, within_s=30)
    daily, tick = facts()
    assert (daily["schedule"], daily["last_run"]) == ("Cron('0 9 * * *', Europe/Berlin)", None)
    assert tick["last_run"]["state"] in ("running", "pending", "succeeded")
    with sqlite3.connect(own_home / "store.db") as store:
        since = store.execute("SELECT since FROM schedules WHERE schedule LIKE '%seconds%'").fetchone()[0]
        rows = store.execute("SELECT created_at FROM calls WHERE created_at > ?", [since]).fetchall()
    store.close()
    places = [int(created - since) for (created,) in rows]
    assert len(places) >= 3
    assert len(set(places)) == len(places), "one run for each second at the most"


def test_run_now_and_what_the_command_line_tells() -> None:
    assert "daily runs now as fc-" in run("app", "run-now", "scheduled", "daily")
    eventually(lambda: facts()[0]["last_run"]["state"] == "succeeded", within_s=30)
    assert "good morning" in run("app", "logs", "scheduled", "--all")
    assert "Schedule         Cron('0 9 * * *', Europe/Berlin), next" in run("function", "info", "scheduled/daily")
    assert "Next run" in run("app", "list")
    function = modicum.Function.from_name("scheduled", "daily")
    assert function.info().schedule == "Cron('0 9 * * *', Europe/Berlin)"
    modicum.App.lookup("scheduled").stop()
    with _server.connect() as link, pytest.raises(NotFoundError, match="does not run any longer"):
        _server.ask(link, {"t": "schedule.run", "app": "scheduled", "function": "daily"})
