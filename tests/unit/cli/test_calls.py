"""What `function calls` asks, and how it shows the answer."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner

from modicum.cli import calls
from modicum.cli.main import cli

ENDED = {
    "call": "fc-1", "index": 0, "method": None, "created_at": 1e9, "finished_at": 2e9, "container": "ta-1",
    "run_s": 0.5, "state": "exception", "why": "",
}  # fmt: skip
PENDING = {**ENDED, "index": 1, "container": None, "run_s": None, "state": "pending", "why": "no node fits"}
SYNC = {**PENDING, "call": "fc-2", "created_at": None, "state": "running", "why": "", "method": "m"}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    seen: list[dict[str, Any]] = []

    def ask(header: dict[str, Any]) -> dict[str, Any]:
        seen.append(header)
        return {"calls": [PENDING, ENDED], "pending": 2, "why": "no node fits"}

    monkeypatch.setattr(calls, "ask", ask)
    return seen


def run(*words: str, code: int = 0) -> str:
    result = CliRunner().invoke(cli, ["function", "calls", *words])
    assert result.exit_code == code, result.output
    return result.output


def test_people_see_states_and_why_inputs_wait(asked: list[dict[str, Any]]) -> None:
    heading, pending, ended, why = run("app/f", "--show-function-call-id").splitlines()
    assert heading.split() == ["Enqueued", "Call", "Input", "Container", "Ran", "for", "Status"]
    assert pending.split()[2:] == ["fc-1", "1", "-", "-", "pending"]
    assert ended.split()[2:] == ["fc-1", "0", "ta-1", "0.50", "s", "failure"]
    assert why == "2 spawned inputs pending: no node fits"
    assert asked == [{"t": "call.list", "function": "app/f", "variants": False, "count": 10}]
    assert "fc-1" not in run("app/f")


def test_scripts_see_all_of_it(asked: list[dict[str, Any]]) -> None:
    first, second = json.loads(run("fu-1", "--json", "-n", "5", "--all-variants"))
    assert (first["status"], first["why"], first["container_id"]) == ("pending", "no node fits", None)
    assert (second["execution_time_seconds"], second["enqueued_at"]) == (0.5, "2001-09-09T01:46:40Z")
    assert asked[0] == {"t": "call.list", "function": "fu-1", "variants": True, "count": 5}


def test_calls_of_a_class_name_their_methods(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "ask", lambda header: {"calls": [SYNC], "pending": 0, "why": ""})
    heading, row = run("fu-1").splitlines()
    assert "Method" in heading
    assert row.split() == ["-", "1", "m", "-", "-", "running"]


def test_a_time(asked: list[dict[str, Any]]) -> None:
    run("f", "--since", "2001-09-09T01:46:40+00:00", "--until", "2001-09-09T01:46:41+00:00")
    run("f", "--until", "2001-09-09T01:46:40+00:00")
    assert [(each["since"], each["until"], each["count"]) for each in asked] == [
        (1e9, 1e9 + 1, 1000),
        (1e9 - 3600, 1e9, 1000),
    ]
    assert "--tail cannot be combined" in run("f", "--since", "2h", "-n", "3", code=2)
