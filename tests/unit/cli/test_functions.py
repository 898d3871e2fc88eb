"""What `modicum function` shows, and what it tells an autoscaler."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner, Result

from modicum.app import App
from modicum.cli import functions
from modicum.cli.main import cli

OPTIONS = App("a").function(
    serialized=True, max_containers=4, retries=2, timeout=9, startup_timeout=30, region="eu", single_use_containers=True
)(lambda: None).options.as_dict()  # fmt: skip
SETTINGS = {"min_containers": 0, "max_containers": None, "buffer_containers": 1, "scaledown_window": 60}


@pytest.fixture
def answers() -> dict[str, Any]:
    retries = {"max_retries": 2, "backoff_coefficient": 1.0}
    return {
        "function.info": {
            "function": "fu-1", "name": "f", "app": "ap-1", "app_name": "shop", "parent": None, "image": "im-1",
            "spec": {}, "options": {**OPTIONS, "concurrency": {"max_inputs": 5, "target_inputs": 4}},
        },
        "function.stats": {"backlog": 3, "runners": 1, "running": 1, "headroom": 0, "why": "its 1 container is busy"},
        "function.history": {
            "function": "fu-1", "variants": 2, "succeeded": 8, "failed": 1, "timed_out": 1, "running": 1,
            "run_s": [[50, 0.5], [99, 2.0]], "total": 3, "started": 2, "errors": 1, "creating": 0, "startup_s": [],
        },
        "function.configure": {"settings": SETTINGS, "overrides": {"buffer_containers": 1}},
        "function.variants": {
            "function": "fu-1",
            "variants": [
                {"id": "fu-2", "settings": {"timeout": 5, "retries": retries}, "parameters": None, "runners": 2},
                {"id": "fu-3", "settings": {}, "parameters": None, "runners": 0},
            ],
        },
    }  # fmt: skip


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, answers: dict[str, Any]) -> list[dict[str, Any]]:
    """A server that runs, and what it is asked."""
    seen: list[dict[str, Any]] = []

    def ask(header: dict[str, Any]) -> Any:
        seen.append(header)
        return answers[header["t"]]

    monkeypatch.setattr(functions, "ask", ask)
    return seen


def run(*words: str) -> Result:
    return CliRunner().invoke(cli, ["function", *words])


def test_info(asked: list[Any]) -> None:
    lines = dict(line.split(None, 1) for line in run("info", "shop/f").output.splitlines() if line[:4] != "Why ")
    assert lines["Function"] == "f (fu-1)"
    assert lines["App"] == "shop (ap-1)"
    assert lines["Containers"] == "0 / 4 / 0 (min / max / buffer)"
    assert (lines["Timeout"], lines["Retries"]) == ("9 s, startup 30 s", "2")
    assert (lines["Concurrency"], lines["Regions"]) == ("5 inputs, target 4", "eu")
    assert lines["Now"] == "3 inputs waiting, 1 running, on 1 container with room for 0 more"
    assert "Batching" not in lines
    assert "Why they wait    its 1 container is busy" in run("info", "shop/f").output
    assert [(each["t"], each["function"]) for each in asked[:2]] == [
        ("function.info", "shop/f"), ("function.stats", "fu-1"),
    ]  # fmt: skip


def test_info_for_scripts(asked: list[Any]) -> None:
    found = json.loads(run("info", "fu-1", "--json").output)
    assert (found["name"], found["object_id"], found["app_id"]) == ("f", "fu-1", "ap-1")
    assert (found["timeout"], found["max_retries"], found["max_containers"]) == (9, 2, 4)
    assert found["concurrency_info"] == {"max_inputs": 5, "target_inputs": 4}
    assert found["current"] == {
        "backlog": 3, "num_total_runners": 1, "num_running_inputs": 1, "input_headroom": 0,
        "why_waiting": "its 1 container is busy",
    }  # fmt: skip


def test_info_of_one_with_a_schedule(asked: list[Any], answers: dict[str, Any]) -> None:
    schedule = {"cron": "0 9 * * *", "timezone": "UTC"}
    last = {"call": "fc-1", "created_at": 1e9, "finished_at": None, "state": "running"}
    answers["function.info"]["options"]["schedule"] = schedule
    told = {"function": "f", "schedule": schedule, "next_at": 1e9 + 60, "skipped": 0, "last": last}
    answers["schedule.list"] = {"schedules": [told]}
    (line,) = [line for line in run("info", "shop/f").output.splitlines() if line.startswith("Schedule")]
    assert line.startswith("Schedule         Cron('0 9 * * *', UTC), next ") and line.endswith(" running (fc-1)")
    found = json.loads(run("info", "shop/f", "--json").output)
    assert (found["schedule"], found["next_run_at"]) == ("Cron('0 9 * * *', UTC)", "2001-09-09T01:47:40Z")
    assert found["last_run"]["state"] == "running"


def test_stats(asked: list[Any]) -> None:
    lines = run("stats", "shop/f", "--since", "2h", "--all-variants").output.splitlines()
    assert lines[0].startswith("fu-1, with 2 variants, ")
    assert lines[1:] == [
        "Inputs      8 succeeded, 1 failed, 1 timed out, 1 running",
        "Containers  3 in all, 2 started, 1 failed, 0 starting",
        "Execution time (s)  p50 0.5  p99 2",
        "Now         3 inputs waiting, 1 running, on 1 container with room for 0 more: its 1 container is busy",
    ]
    assert asked[0]["until"] - asked[0]["since"] == pytest.approx(7200, abs=60)
    found = json.loads(
        run("stats", "shop/f", "--since", "2026-03-01T05:00", "--until", "2026-03-01T06:00", "--json").output
    )
    assert (found["object_id"], found["input_success_count"], found["current"]["backlog"]) == ("fu-1", 8, 3)
    assert asked[-2]["until"] - asked[-2]["since"] == 3600


def test_variants(asked: list[Any], answers: dict[str, Any]) -> None:
    lines = run("variants", "shop/f", "-n", "10").output.splitlines()
    assert asked == [{"t": "function.variants", "function": "shop/f", "limit": 10}]
    assert lines[0].split() == ["Function", "Options", "Containers"]
    assert lines[1].split() == ["fu-2", "timeout=5,", "max_retries=2,", "backoff_coefficient=1.0", "2"]
    found = json.loads(run("variants", "shop/f", "--json").output)
    assert found[0]["options"] == {"timeout": 5, "retries": {"max_retries": 2, "backoff_coefficient": 1.0}}
    answers["function.variants"]["variants"][0]["parameters"] = "eyJ4IjogImEiLCAibiI6IDN9"
    lines = run("variants", "shop/f").output.splitlines()
    assert lines[1].split()[:3] == ["fu-2", "x='a',", "n=3"]
    assert json.loads(run("variants", "shop/f", "--json").output)[0]["parameters"] == {"x": "a", "n": 3}
    answers["function.variants"]["variants"] = []
    assert run("variants", "shop/f").output == "fu-1 has no variants\n"


def test_settings_of_the_autoscaler(asked: list[Any]) -> None:
    lines = [line.split() for line in run("autoscaler", "settings", "shop/f").output.splitlines()]
    assert lines == [
        ["Setting", "Value", "Told", "later"],
        ["Min", "containers", "0", "no"],
        ["Max", "containers", "-", "no"],
        ["Buffer", "containers", "1", "yes"],
        ["Scaledown", "window", "60", "s", "no"],
    ]
    found = json.loads(run("autoscaler", "settings", "shop/f", "--json").output)
    assert found == {"current_settings": SETTINGS, "overrides": {"buffer_containers": 1}}


def test_the_autoscaler_is_told(asked: list[Any]) -> None:
    assert run("autoscaler", "update", "shop/f", "--min-containers", "2", "--scaledown-window", "9").exit_code == 0
    told = {"min_containers": 2, "scaledown_window": 9}
    assert asked == [{"t": "function.configure", "function": "shop/f", "settings": told}]
    nothing = run("autoscaler", "update", "shop/f")
    assert nothing.exit_code == 2
    assert "say what to change: --min-containers, --max-containers" in nothing.output
    assert run("autoscaler", "update", "shop/f", "--max-containers", "0").exit_code == 2
