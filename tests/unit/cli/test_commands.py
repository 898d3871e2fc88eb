"""What the command line chooses, parses and prints."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import click
import pytest
from click.testing import CliRunner

import modicum
from modicum import _server
from modicum.cli import main as main_
from modicum.cli.errors import reporting_errors
from modicum.cli.groups import Group
from modicum.cli.main import cli
from modicum.cli.reference import Reference, choose
from modicum.cli.run import calling
from modicum.exception import InvalidError, NotFoundError

AppOf = Callable[..., modicum.App]


@pytest.fixture(autouse=True)
def _interrupts_as_before() -> Iterator[None]:
    """What leaves because of an interrupt ignores further ones: this process, and its children, are not to."""
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


def app_of(functions: tuple[str, ...] = (), entrypoints: tuple[str, ...] = ()) -> modicum.App:
    app = modicum.App("x")
    for name in functions:
        app.function(name=name, serialized=True)(lambda: None)
    for name in entrypoints:
        app.local_entrypoint(name=name)(lambda: None)
    return app


def chosen(app: modicum.App, name: str | None = None) -> str:
    return choose(Reference(app, name, "x.py")).name


def test_what_is_run() -> None:
    assert chosen(app_of(("f",))) == "f"
    assert chosen(app_of(("f", "g"), ("main",))) == "main"
    assert chosen(app_of(("f", "g"), ("main",)), "g") == "g"
    assert chosen(app_of(("same",), ("same",)), "same") == "same"


def test_what_cannot_be_chosen() -> None:
    with pytest.raises(NotFoundError, match=r"^x.py has no function or entrypoint 'h'; it has f, g$"):
        chosen(app_of(("f", "g")), "h")
    with pytest.raises(NotFoundError, match=r"'proces'; did you mean 'process'\? it has process, other$"):
        chosen(app_of(("process", "other")), "proces")
    with pytest.raises(
        InvalidError, match=r"(?s)x.py has more than one .*modicum run x.py::main\n.*modicum run x.py::f$"
    ):
        chosen(app_of(("f",), ("main", "other")))
    with pytest.raises(InvalidError, match=r"(?s)modicum run -m x::f\n.*modicum run -m x::g$"):
        choose(Reference(app_of(("f", "g")), None, "x", as_module=True))
    with pytest.raises(InvalidError, match=r"(?s)which:\n  modicum shell x.py::f\n  modicum shell x.py::g$"):
        choose(Reference(app_of(("f", "g"), ("main",)), None, "x.py"), verb="shell")
    with pytest.raises(InvalidError, match=r"x\.py has no function and no local entrypoint to run"):
        chosen(app_of())


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
        calling(app.entrypoints[name], ["--x", "3"], "run")()
    assert seen == [3, -3]


def test_generators_are_not_run_by_name() -> None:
    app = modicum.App("x")
    function = app.function(is_generator=True, serialized=True, name="g")(lambda: None)
    with pytest.raises(InvalidError, match="'g' is a generator function, which cannot be run by name; write a local"):
        calling(function, [], "run")


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
    assert called == [True, False, "modicum"]
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


GROUPS = [([], cli), *(([name], each) for name, each in cli.commands.items() if isinstance(each, Group))]


@pytest.mark.parametrize(
    ("path", "name"), [(path, name) for path, group in GROUPS for name in sorted(group.not_yet)], ids=str
)
def test_commands_that_are_to_come(path: list[str], name: str) -> None:
    group: click.Group = cli if not path else cast("click.Group", cli.commands[path[0]])
    assert name not in group.commands, "it has come: take it out of the table"
    done = CliRunner().invoke(cli, [*path, name, "--anything"], prog_name="modicum")
    whole = " ".join(["modicum", *path, name])
    assert (done.exit_code, done.output) == (1, f"Error: `{whole}` is not in Modicum yet\n")


def test_help_and_version() -> None:
    runner = CliRunner()
    for command in (
        [],
        ["run"],
        ["server"],
        ["server", "status"],
        ["app", "list"],
        ["image", "prune"],
        ["config", "set"],
    ):
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


@pytest.mark.parametrize(
    ("file", "why"),
    [
        ("", "Is a directory"),
        ("new/", "Is a directory"),
        ("none/result", "No such file or directory"),
        ("program.py/result", "Not a directory"),
        ("locked/result", "Permission denied"),
        ("locked.txt", "Permission denied"),
    ],
)
def test_a_result_that_cannot_be_written_is_refused_before_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, why: str
) -> None:
    program = tmp_path / "program.py"
    program.write_text("raise SystemExit('it was loaded')")
    (tmp_path / "locked").mkdir()
    (tmp_path / "locked.txt").touch()
    monkeypatch.setattr("os.access", lambda path, mode: "locked" not in path)  # root may write everywhere
    done = CliRunner().invoke(cli, ["run", "-w", f"{tmp_path}/{file}", str(program)])
    assert str(done.exception) == f"the result cannot be written to {tmp_path}/{file}: {why}"


def test_a_result_that_can_be_written_is_not_begun_before_the_run(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text("raise SystemExit('it was loaded')")
    done = CliRunner().invoke(cli, ["run", "-w", f"{tmp_path}/result", str(program)])
    assert str(done.exception).endswith("it was loaded"), done.output
    assert not (tmp_path / "result").exists()
