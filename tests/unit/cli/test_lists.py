"""What lists show, to people and to scripts; and what is asked before something goes."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from modicum import _server
from modicum.cli import options, tables
from modicum.cli.main import cli
from modicum.exception import ConnectionError, InvalidError, NotFoundError

TIMES: dict[str, Any] = {"created_at": 1e9, "ended_at": None, "schedules": []}
LAST = {"call": "fc-1", "created_at": 1e9, "finished_at": 1e9 + 5, "state": "exception"}
HOURLY = {
    "id": "fu-h", "function": "hourly", "app": "ap-5", "schedule": {"period": {"hours": 1}},
    "next_at": 1e9 + 3600, "skipped": 2, "last": LAST,
}  # fmt: skip
DAILY = {
    "id": "fu-d", "function": "daily", "app": "ap-5", "schedule": {"cron": "0 9 * * *", "timezone": "UTC"},
    "next_at": 1e9 + 60, "skipped": 0, "last": None,
}  # fmt: skip
APPS: list[dict[str, Any]] = [
    {"id": "ap-1", "name": "one", "state": "detached", "version": 0, **TIMES, "functions": 2, "containers": 3},
    {"id": "ap-2", "name": "two", "state": "ephemeral", "version": 0, **TIMES, "functions": 1, "containers": 0},
    {"id": "ap-3", "name": "two", "state": "stopping", "version": 0, **TIMES, "functions": 1, "containers": 0},
    {"id": "ap-4", "name": "shop", "state": "ephemeral", "version": 0, **TIMES, "functions": 1, "containers": 0},
    {"id": "ap-5", "name": "shop", "state": "deployed", "version": 4, **TIMES, "functions": 1, "containers": 1},
    {
        "id": "ap-6",
        "name": "old",
        "state": "stopped",
        "version": 2,
        "created_at": 1e9,
        "ended_at": 1e9 + 60,
        "schedules": [],
        "functions": 0,
        "containers": 0,
    },
]
VERSION = {
    "version": 4,
    "deployed_at": 1e9,
    "deployed_by": "ann",
    "client": "1.0",
    "strategy": "rolling",
    "origin": "rollback to v2",
    "tag": "",
    "functions": ["f", "g"],
}
HISTORY = {"app": "ap-5", "name": "shop", "versions": [VERSION]}
INFO = {
    "app": "ap-5",
    "name": "shop",
    "state": "deployed",
    "version": 4,
    "tags": {"team": "blue"},
    "functions": {"g": "fu-g", "f": "fu-f"},
    "created_by": "ann",
    "deployed_by": "bob",
    "created_at": 1e9,
    "deployed_at": 1e9,
    "ended_at": None,
    "tag": "",
}
CONTAINERS = [
    {"id": "ta-1", "app": "ap-1", "app_name": "one", "function": "f", "state": "ready", "running": 1, "since": 1e9},
    {"id": "ta-2", "app": None, "app_name": None, "function": None, "state": "killed", "running": 0, "since": 1e9},
]
ENDED = [
    {
        "id": "ta-0", "app": "ap-0", "app_name": "old", "function": "fu-0", "function_name": "g", "node": "n",
        "started_at": None, "ended_at": 1e9, "reason": "out of memory", "detail": "", "exit_code": None, "signal": 9,
    },
]  # fmt: skip
IMAGES = {
    "images": [{"id": "im-1", "layers": 2, "bytes": 1_500_000, "in_use": True}],
    "layers": 3,
    "bytes": 2_000_000_000,
}
PRUNED = {"images": 1, "layers": 2, "bytes": 491_000_000}

Run = Callable[..., Result]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """A server that runs, and what it is asked."""
    seen: list[dict[str, Any]] = []
    answers: dict[str, Any] = {
        "app.list": {"apps": APPS}, "container.list": {"containers": CONTAINERS}, "app.stop": {}, "image.list": IMAGES,
        "image.prune": PRUNED, "container.ended": {"containers": ENDED},
        "app.history": HISTORY, "app.rollback": {"name": "shop", "version": 5},
        "app.rollover": {"name": "shop", "version": 5}, "app.info": INFO,
        "schedule.list": {"schedules": [DAILY, HOURLY]},
        "schedule.run": {"app": "ap-5", "function": "daily", "call": "fc-2"},
    }  # fmt: skip

    class Link:
        def __enter__(self) -> Link:
            return self

        def __exit__(self, *error: object) -> None: ...

    def ask(link: object, header: dict[str, Any]) -> Any:
        seen.append(header)
        return answers[header["t"]]

    for name in ("running", "connect"):
        monkeypatch.setattr(_server, name, Link)
    monkeypatch.setattr(_server, "ask", ask)
    return seen


def run(*words: str) -> Result:
    return CliRunner().invoke(cli, list(words))


def test_apps(asked: list[Any]) -> None:
    lines = run("app", "list").output.splitlines()
    headings = ["App", "Name", "State", "Version", "Functions", "Containers", "Created", "Stopped"]
    assert lines[0].split() == headings
    assert lines[1].split()[:7] == ["ap-1", "one", "ephemeral", "(detached)", "-", "2", "3"]
    assert lines[5].split()[:6] == ["ap-5", "shop", "deployed", "4", "1", "1"]
    assert len(lines) == 7
    found = json.loads(run("app", "list", "--json", "--limit", "1").output)
    assert found == [
        {
            "app_id": "ap-1",
            "name": "one",
            "state": "ephemeral (detached)",
            "version": None,
            "functions": 2,
            "containers": 3,
            "created_at": "2001-09-09T01:46:40Z",
            "stopped_at": None,
            "next_run_at": None,
            "last_run": None,
        }
    ]


def test_apps_with_schedules(asked: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(APPS[4], "schedules", [DAILY, HOURLY])
    lines = run("app", "list").output.splitlines()
    assert lines[0].split()[-4:] == ["Next", "run", "Last", "run"]
    assert (lines[1].split()[-2:], lines[5].split()[-1]) == (["-", "-"], "failed")
    found = json.loads(run("app", "list", "--json").output)[4]
    assert found["next_run_at"] == "2001-09-09T01:47:40Z"
    assert found["last_run"] == "2001-09-09T01:46:40Z failed"


def test_schedules_of_an_app(asked: list[Any]) -> None:
    due, late, begun = map(tables.moment, (1e9 + 60, 1e9 + 3600, 1e9))
    lines = run("app", "info", "shop").output.splitlines()
    assert asked[-1] == {"t": "schedule.list", "apps": ["ap-5"]}
    assert lines[-2:] == [
        f"Schedule     daily: Cron('0 9 * * *', UTC), next {due}",
        f"Schedule     hourly: Period(hours=1), next {late}, last {begun} failed (fc-1), 2 times due since and not run",
    ]
    found = json.loads(run("app", "info", "shop", "--json").output)["schedules"]
    assert [each["last_run"] and each["last_run"]["state"] for each in found] == [None, "failed"]
    assert (found[1]["skipped"], found[1]["next_run_at"]) == (2, "2001-09-09T02:46:40Z")


def test_a_function_runs_now(asked: list[Any]) -> None:
    assert "daily runs now as fc-2" in run("app", "run-now", "shop").output
    run("app", "run-now", "shop", "hourly")
    assert [each["function"] for each in asked] == [None, "hourly"]


def test_containers_that_have_ended(asked: list[Any]) -> None:
    lines = run("container", "list", "--all").output.splitlines()
    assert [line.split()[0] for line in lines] == ["Container", "ta-0", "ta-1", "ta-2"]
    assert lines[1].rstrip().endswith("out of memory")
    ended, *_ = json.loads(run("container", "list", "-a", "--json", "--limit", "5", "--app-id", "ap-0").output)
    assert asked[-1] == {"t": "container.ended", "limit": 5, "app": "ap-0"}
    assert (ended["state"], ended["function"], ended["ended_at"]) == ("ended", "g", "2001-09-09T01:46:40Z")
    assert (ended["reason"], ended["signal"], ended["started_at"]) == ("out of memory", 9, None)


def test_the_history_of_an_app(asked: list[Any]) -> None:
    lines = run("app", "history", "shop").output.splitlines()
    assert lines[0].split() == ["Version", "Deployed", "Client", "By", "Strategy", "Origin", "Tag"]
    assert (lines[1].split()[0], lines[1].split()[3:]) == ("v4", ["1.0", "ann", "rolling", "rollback", "to", "v2", "-"])
    (found,) = json.loads(run("app", "history", "shop", "--json").output)
    assert (found["version"], found["deployed_at"], found["functions"]) == ("v4", "2001-09-09T01:46:40Z", ["f", "g"])
    assert asked[-1] == {"t": "app.history", "app": "shop"}


@pytest.mark.parametrize(("words", "version"), [((), None), (("v3",), 3), (("3",), 3)])
def test_rolling_back(asked: list[Any], words: tuple[str, ...], version: int | None) -> None:
    assert run("app", "rollback", "shop", *words, "--strategy", "recreate").output == "shop is version 5 now\n"
    assert {name: asked[-1][name] for name in ("t", "app", "version", "strategy")} == {
        "t": "app.rollback",
        "app": "shop",
        "version": version,
        "strategy": "recreate",
    }
    assert asked[-1]["by"]


def test_versions_are_numbers(asked: list[Any]) -> None:
    for text in ("latest", "v0", "-1", "v1.5"):
        error = run("app", "rollback", "shop", "--", text).exception
        assert str(error) == f"{text!r} is no version; those are v1, v2, … as `app history` lists them"
    assert asked == []


def test_rolling_over(asked: list[Any]) -> None:
    assert run("app", "rollover", "shop").output == "shop is version 5 now\n"
    assert (asked[-1]["t"], asked[-1]["strategy"]) == ("app.rollover", "rolling")


def test_what_there_is_to_know_of_an_app(asked: list[Any]) -> None:
    lines = [line.split(maxsplit=1) for line in run("app", "info", "shop").output.splitlines()]
    assert ["State", "deployed"] in lines
    assert ["Functions", "f, g"] in lines
    assert ["Tags", "team=blue"] in lines
    assert "Ended" not in [line[0] for line in lines]
    found = json.loads(run("app", "info", "shop", "--json").output)
    assert (found["app_id"], found["deployed_by"], found["tags"]) == ("ap-5", "bob", {"team": "blue"})
    assert (found["created_at"], found["ended_at"]) == ("2001-09-09T01:46:40Z", None)


def test_containers(asked: list[Any]) -> None:
    lines = run("container", "list").output.splitlines()
    assert lines[1].split()[:5] == ["ta-1", "one", "f", "ready", "1"]
    assert lines[2].split()[:5] == ["ta-2", "-", "-", "killed", "0"]
    (found,) = json.loads(run("container", "list", "--json", "--app-id", "ap-1").output)
    assert (found["container_id"], found["inputs_running"], found["state_since"]) == ("ta-1", 1, "2001-09-09T01:46:40Z")


def test_images(asked: list[Any]) -> None:
    lines = run("image", "list").output.splitlines()
    assert lines[1].split() == ["im-1", "2", "2", "MB", "yes"]
    assert lines[2] == "3 layers, 2.0 GB on the disk"
    assert json.loads(run("image", "list", "--json").output) == [
        {"image_id": "im-1", "layers": 2, "size": 1_500_000, "in_use": True}
    ]


def test_where_nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_server, "running", lambda: None)
    assert run("app", "list").output == "no app runs\n"
    assert run("container", "list", "--json").output == "[]\n"


def test_a_server_that_ends_meanwhile(asked: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(link: object, header: dict[str, Any]) -> Any:
        raise ConnectionResetError("it ended the connection")

    monkeypatch.setattr(_server, "ask", ask)
    error = run("image", "list").exception
    assert isinstance(error, ConnectionError)
    assert str(error) == "the server ended the connection: it ended the connection; ask again"


def test_an_app_is_stopped_by_its_name_or_id(asked: list[Any]) -> None:
    assert run("app", "stop", "one", "--yes").output == "stopped ap-1\n"
    assert asked[-1] == {"t": "app.stop", "app": "ap-1"}
    assert run("app", "stop", "ap-3", "-y").output == "stopped ap-3\n"
    error = run("app", "stop", "two", "-y").exception
    assert (type(error), str(error)) == (InvalidError, "2 apps named 'two' run; say which one: ap-2, ap-3")
    error = run("app", "stop", "three", "-y").exception
    assert (type(error), str(error)) == (NotFoundError, "no app named 'three' runs or is deployed")
    error = run("app", "stop", "shopp", "-y").exception
    assert str(error) == "no app named 'shopp' runs or is deployed; did you mean 'shop'?"
    error = run("app", "stop", "old", "-y").exception
    assert str(error).startswith("the app 'old' was stopped already, at 2001-09-0")


def test_of_one_name_the_deployed_app_is_meant(asked: list[Any]) -> None:
    assert run("app", "stop", "shop", "-y").output == "stopped ap-5\n"
    error = run("app", "stop", "shop").exception
    assert "Stop shop (ap-5) and its 1 container?" in str(error)


def test_pruning_asks_first(asked: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    error = run("image", "prune").exception
    assert isinstance(error, InvalidError)
    assert str(error) == "Remove 1 image and 2 layers (491 MB)? Nobody can be asked here: answer with `--yes`"
    assert [each["dry_run"] for each in asked] == [True]
    monkeypatch.setattr(options, "confirm", lambda question: None)
    assert run("image", "prune").output == "removed 1 image and 2 layers, freed 491 MB\n"
    assert [each["dry_run"] for each in asked] == [True, True, False]
    assert json.loads(run("image", "prune", "--yes", "--json").output) == PRUNED
    monkeypatch.setitem(PRUNED, "layers", 0)
    assert run("image", "prune").output == "nothing to remove: running apps use all that there is\n"


def test_who_says_no_interrupts_nothing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr("click.confirm", lambda question, err: question == "Yes?")
    options.confirm("Yes?")
    with pytest.raises(SystemExit) as ended:
        options.confirm("No?")
    assert (ended.value.code, capsys.readouterr().err) == (1, "nothing was done\n")


def test_there_is_one_environment(asked: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("app", "list", "-e", "main").exit_code == 0
    for words in (("app", "list", "--env", "prod"), ("run", "-e", "prod", "x.py")):
        error = run(*words).exception
        assert str(error) == "there is no environment 'prod'; this server has only main"
    monkeypatch.setenv("MODAL_ENVIRONMENT", "prod")
    assert isinstance(run("container", "list").exception, NotFoundError)


@pytest.mark.parametrize(
    ("shell", "text"), [("bash", "complete -o nosort"), ("zsh", "#compdef modicum"), ("fish", "fish_complete")]
)
def test_completion(shell: str, text: str) -> None:
    told = run("completion", shell).output
    assert text in told
    assert "_MODICUM_COMPLETE" in told
