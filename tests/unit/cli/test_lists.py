"""What lists show, to people and to scripts; and what is asked before something goes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner, Result

from modicum import _server
from modicum.cli import options
from modicum.cli.main import cli
from modicum.exception import ConnectionError, InvalidError, NotFoundError

APPS = [
    {"id": "ap-1", "name": "one", "state": "running", "created_at": 1e9, "functions": 2, "containers": 3},
    {"id": "ap-2", "name": "two", "state": "running", "created_at": 2e9, "functions": 1, "containers": 0},
    {"id": "ap-3", "name": "two", "state": "stopping", "created_at": 3e9, "functions": 1, "containers": 0},
]
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
    assert lines[0].split() == ["App", "Name", "State", "Functions", "Containers", "Created"]
    assert lines[1].split()[:5] == ["ap-1", "one", "running", "2", "3"]
    assert len(lines) == 4
    found = json.loads(run("app", "list", "--json", "--limit", "1").output)
    assert found == [
        {
            "app_id": "ap-1",
            "name": "one",
            "state": "running",
            "functions": 2,
            "containers": 3,
            "created_at": "2001-09-09T01:46:40Z",
        }
    ]


def test_containers_that_have_ended(asked: list[Any]) -> None:
    lines = run("container", "list", "--all").output.splitlines()
    assert [line.split()[0] for line in lines] == ["Container", "ta-0", "ta-1", "ta-2"]
    assert lines[1].rstrip().endswith("out of memory")
    ended, *_ = json.loads(run("container", "list", "-a", "--json", "--limit", "5", "--app-id", "ap-0").output)
    assert asked[-1] == {"t": "container.ended", "limit": 5, "app": "ap-0"}
    assert (ended["state"], ended["function"], ended["ended_at"]) == ("ended", "g", "2001-09-09T01:46:40Z")
    assert (ended["reason"], ended["signal"], ended["started_at"]) == ("out of memory", 9, None)


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
    assert (type(error), str(error)) == (NotFoundError, "no app named 'three' runs")


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
