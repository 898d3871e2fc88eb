"""What the command line chooses, parses and prints."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

import modicum
from modicum import _server
from modicum.cli import main as main_
from modicum.cli.errors import reporting_errors
from modicum.cli.main import cli
from modicum.cli.reference import Reference
from modicum.cli.run import _calling, _choose, _parse
from modicum.exception import InvalidError, NotFoundError

AppOf = Callable[..., modicum.App]


def app_of(functions: tuple[str, ...] = (), entrypoints: tuple[str, ...] = ()) -> modicum.App:
    app = modicum.App("x")
    for name in functions:
        app.function(name=name, serialized=True)(lambda: None)
    for name in entrypoints:
        app.local_entrypoint(name=name)(lambda: None)
    return app


def chosen(app: modicum.App, name: str | None = None) -> str:
    return _choose(Reference(app, name, "x.py"))[1].name


def test_what_is_run() -> None:
    assert chosen(app_of(("f",))) == "f"
    assert chosen(app_of(("f", "g"), ("main",))) == "main"
    assert chosen(app_of(("f", "g"), ("main",)), "g") == "g"
    assert chosen(app_of(("same",), ("same",)), "same") == "same"


def test_what_cannot_be_chosen() -> None:
    with pytest.raises(InvalidError, match=r"x.py has no function or entrypoint 'h'; it has f, g"):
        chosen(app_of(("f", "g")), "h")
    with pytest.raises(InvalidError, match=r"say which one to run, such as x.py::NAME; x.py has main, other, f"):
        chosen(app_of(("f",), ("main", "other")))
    with pytest.raises(InvalidError, match=r"x\.py has none"):
        chosen(app_of())


# -- arguments -------------------------------------------------------------------------------------------------


def everything(a: int, b: float, c: str, d, e: bool, f: int = 5, g: bool = True, long_name: str = "x") -> None:  # type: ignore[no-untyped-def]
    """Takes all that there is."""


def test_arguments_become_what_their_annotations_say() -> None:
    given = ["--a", "1", "--b", "2.5", "--c", "3", "--d", "4", "--e", "--no-g", "--long-name", "y"]
    assert _parse(everything, given) == {
        "a": 1, "b": 2.5, "c": "3", "d": "4", "e": True, "f": 5, "g": False, "long_name": "y",
    }  # fmt: skip


def test_annotations_as_text() -> None:
    def function(n, x=0.5) -> None: ...  # type: ignore[no-untyped-def]

    function.__annotations__.update(n=int, x="float")
    assert _parse(function, ["--n", "3"]) == {"n": 3, "x": 0.5}


def test_default_none_and_no_parameters() -> None:
    def function(n: int = None) -> None: ...  # type: ignore[assignment]  # noqa: RUF013

    assert _parse(function, []) == {"n": None}
    assert _parse(lambda: None, []) == {}


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (["--a", "x"], "'x' is not a valid integer"),
        (["--unknown", "1"], "No such option"),
        ([], "Missing option '--a'"),
        (["extra"], "Missing option '--a'"),
    ],
)
def test_wrong_arguments(given: list[str], reason: str) -> None:
    with pytest.raises(click.UsageError) as caught:
        _parse(everything, given)
    assert reason in caught.value.format_message()


def test_annotations_that_no_text_becomes() -> None:
    def function(x: list[int]) -> None: ...

    with pytest.raises(InvalidError, match="parameter 'x' has the unparseable annotation"):
        _parse(function, ["--x", "1"])


def test_help_of_an_entrypoint_does_not_run_it(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        _parse(everything, ["--help"])
    assert caught.value.code == 0
    assert "Takes all that there is." in capsys.readouterr().out


def test_entrypoints_are_called_with_their_arguments() -> None:
    app = modicum.App("x")
    seen: list[Any] = []

    @app.local_entrypoint()
    def main(x: int) -> None:
        seen.append(x)

    @app.local_entrypoint()
    async def later(x: int) -> None:
        seen.append(-x)

    for name in ("main", "later"):
        _calling(app.entrypoints[name], ["--x", "3"])()
    assert seen == [3, -3]


def test_generators_are_not_run_by_name() -> None:
    app = modicum.App("x")
    function = app.function(is_generator=True, serialized=True, name="g")(lambda: None)
    with pytest.raises(InvalidError, match="'g' is a generator function; call it from a local entrypoint"):
        _calling(function, [])


# -- commands --------------------------------------------------------------------------------------------------


def test_errors_are_one_message(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MODICUM_TRACEBACK", raising=False)
    with pytest.raises(SystemExit) as caught, reporting_errors():
        raise NotFoundError("there is no such thing")
    assert caught.value.code == 1
    assert capsys.readouterr().err == "Error: there is no such thing\n"
    with pytest.raises(SystemExit) as caught, reporting_errors():
        raise KeyboardInterrupt
    assert caught.value.code == 130
    with pytest.raises(ValueError, match="not ours"), reporting_errors():
        raise ValueError("not ours")
    monkeypatch.setenv("MODICUM_TRACEBACK", "1")
    with pytest.raises(NotFoundError), reporting_errors():
        raise NotFoundError("shown where it arose")


def test_main_makes_modal_mean_us(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[bool] = []
    monkeypatch.setattr(main_, "install_as_modal", lambda: called.append(True))
    monkeypatch.setattr(main_.cli, "main", lambda **options: called.extend(options.values()))
    with pytest.raises(SystemExit) as ended:
        main_.main()
    assert called == [True, False]
    assert not ended.value.code


def test_an_interrupt_is_told_by_the_exit_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @click.command()
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(main_, "cli", interrupted)
    monkeypatch.setattr("sys.argv", ["modicum"])
    with pytest.raises(SystemExit) as ended:
        main_.main()
    assert ended.value.code == 130
    assert capsys.readouterr().err.strip() == "interrupted"


def test_help_and_version() -> None:
    runner = CliRunner()
    for command in ([], ["run"], ["server"], ["server", "status"]):
        assert runner.invoke(cli, [*command, "-h"]).exit_code == 0
    assert runner.invoke(cli, ["--version"]).output.startswith("modicum ")


def test_commands_where_no_server_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MODICUM_HOME", str(tmp_path))
    runner = CliRunner()
    status = runner.invoke(cli, ["server", "status", "--json"])
    assert (status.exit_code, json.loads(status.output)) == (3, {"running": False})
    assert runner.invoke(cli, ["server", "status"]).output == "no server runs\n"
    stop = runner.invoke(cli, ["server", "stop"])
    assert (stop.exit_code, stop.output) == (0, "no server runs\n")
    assert runner.invoke(cli, ["server", "logs"]).output == ""
    (tmp_path / "server.log").write_text("one\ntwo\n")
    assert runner.invoke(cli, ["server", "logs", "-n", "1"]).output == "two\n"


FACTS = {
    "t": "reply", "r": 1, "pid": 5, "keeper_pid": 6, "node_pid": 7, "socket": "/s", "build": "b", "node_ready": True,
    "runtime": "crun", "limits": None, "apps": [{"id": "ap-1", "name": "mine"}], "containers": [{}, {}],
}  # fmt: skip


def test_status_of_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_server, "running", object)
    monkeypatch.setattr(_server, "ask", lambda link, header: dict(FACTS))
    runner = CliRunner()
    facts = json.loads(runner.invoke(cli, ["server", "status", "--json"]).output)
    assert facts == {"running": True, **{name: value for name, value in FACTS.items() if name not in ("t", "r")}}
    shown = runner.invoke(cli, ["server", "status"]).output
    for text in ("pid 5, build b", "pid 6", "pid 7, ready", "crun", "mine", "containers 2"):
        assert text in shown


def test_stop_says_when_it_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(_server, "running", object)

    def ask(link: object, header: dict[str, Any]) -> dict[str, Any]:
        asked.append(header)
        return FACTS

    monkeypatch.setattr(_server, "ask", ask)
    for gone, code in ((True, 0), (False, 1)):
        monkeypatch.setattr(_server, "wait_gone", lambda pid, within_s, gone=gone: gone)
        assert CliRunner().invoke(cli, ["server", "stop"]).exit_code == code
    assert {"t": "server.stop", "all": True} in asked
