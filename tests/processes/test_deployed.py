"""Apps that are deployed: called by name from anywhere, replaced while calls run, back after a restart."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import modicum
from modicum import _blocking, _server
from modicum.cli.main import cli
from modicum.exception import DeprecationError, ImageBuildError, InvalidError, NotFoundError, RemoteError
from tests.processes import shop
from tests.processes.conftest import start_server
from tests.processes.test_command_line import command
from tests.processes.watching import eventually, status

ROOT = Path(__file__).parents[2]


def named(name: str, **where: int) -> modicum.Function[..., Any, Any]:
    return modicum.Function.from_name("shop", name, version=where.get("version"))


@pytest.fixture
def deployed(server: object) -> Iterator[modicum.App]:
    app = shop.app.deploy()
    assert app is shop.app
    yield app
    modicum.App.lookup("shop").stop()


def elsewhere(program: str) -> str:
    """Run a program in another process; return what it prints."""
    command = [sys.executable, "-c", f"import modicum; modicum.install_as_modal()\n{program}"]
    return subprocess.check_output(command, cwd=ROOT, text=True).strip()


def stop_all(server: subprocess.Popen[bytes]) -> None:
    """As `modicum server stop` does."""
    link = _server.running()
    assert link is not None
    with link:
        _server.ask(link, {"t": "server.stop", "all": True})
    assert server.wait(20) == 0
    _blocking.close_idle()


def test_a_function_is_called_by_name_from_another_process(deployed: modicum.App) -> None:
    program = """
import modal
print(modal.Function.from_name("shop", "version").remote())
print(modal.Function.from_name("shop", "version").spawn().get())
print(list(modal.Function.from_name("shop", "count").remote_gen(3)))
print(modal.Function.from_name("shop", "chain").remote("shop"))
"""
    assert elsewhere(program).splitlines() == ["one", "one", "[0, 1, 2]", "one, called by one"]


def test_what_is_named_is_looked_up_at_its_first_use(deployed: modicum.App) -> None:
    function = named("versio")
    nowhere = modicum.Function.from_name("shopp", "version")
    with pytest.raises(NotFoundError, match=r"has no function 'versio'; did you mean 'version'\?"):
        function.remote()
    with pytest.raises(NotFoundError, match=r"there is no deployed app 'shopp' in the environment 'main'"):
        nowhere.hydrate()
    function = named("version").hydrate()
    assert function.object_id == deployed.functions["version"].object_id
    assert modicum.Function.from_id(function.object_id).remote() == "one"
    with pytest.raises(NotFoundError, match="there is no function with the id fu-0"):
        modicum.Function.from_id("fu-0").hydrate()
    with pytest.raises(InvalidError, match=r"'count' is a generator function: use `.remote_gen\(…\)`"):
        named("count").remote(3)
    with pytest.raises(InvalidError, match=r"'version' is not a generator function"):
        list(named("version").remote_gen())
    with pytest.warns(DeprecationError, match="Function.from_name"):
        assert modicum.Function.lookup("shop", "version").remote() == "one"


def test_a_class_is_called_by_name(deployed: modicum.App) -> None:
    model = modicum.Cls.from_name("shop", "Model")
    assert model(size=5).grow.remote(2) == 7
    assert list(model().each.remote_gen(3)) == [0, 1, 2]
    with pytest.raises(InvalidError, match=r"'Model.each' is a generator function"):
        model().each.remote(3)
    with pytest.raises(NotFoundError, match=r"has no class 'Modell'; did you mean 'Model'\?"):
        modicum.Cls.from_name("shop", "Modell")().grow.remote(1)
    with pytest.warns(DeprecationError, match=r"is now `Cls.from_name"):
        method = modicum.Function.from_name("shop", "Model.grow")
    assert method.remote(2) == 3
    for name in ("Model", "Model.grow", "Model.*"):
        assert "Function         Model.* (" in CliRunner().invoke(cli, ["function", "info", f"shop/{name}"]).output


async def test_async_use(deployed: modicum.App) -> None:
    assert await named("version").remote.aio() == "one"
    found = await modicum.App.lookup.aio("shop")
    assert await found.get_tags.aio() == {"team": "blue"}


def test_an_app_is_looked_up(deployed: modicum.App) -> None:
    found = modicum.App.lookup("shop")
    assert (found.app_id, found.name) == (deployed.app_id, "shop")
    by_id = modicum.App.lookup(str(deployed.app_id))
    assert by_id.name == "shop"
    by_id.set_tags({"team": "red"})
    assert found.get_tags() == {"team": "red"}
    info = found.info()
    assert (info.lifecycle.state.value, info.lifecycle.version) == ("deployed", info.lifecycle.version)
    assert set(info.functions) == set(shop.app.functions)
    with pytest.raises(InvalidError, match="the app 'shop' was only looked up"):
        found.deploy()
    made = modicum.App.lookup("empty", create_if_missing=True)
    assert made.info().functions == {}
    made.stop()
    with pytest.raises(NotFoundError, match="no deployed app 'empty'"):
        modicum.App.lookup("empty")
    assert modicum.App.lookup(str(made.app_id)).info().lifecycle.state.value == "stopped"


def test_rolling_loses_no_call(deployed: modicum.App, tmp_path: Path) -> None:
    """What runs is finished by the containers that it runs in; what comes later runs in new ones."""
    calls = [named("slow").spawn(str(tmp_path), number) for number in range(6)]
    eventually(lambda: len(list(tmp_path.iterdir())) == 2)
    shop.second().deploy()
    (tmp_path / "go").touch()
    values = [call.get(timeout=30) for call in calls]
    assert [str(value).split()[1] for value in values] == [str(number) for number in range(6)]
    assert [str(value).split()[0] for value in values][:2] == ["one", "one"]
    eventually(lambda: str(named("slow").remote(str(tmp_path), 7)) == "two 7")
    assert named("chain").remote("shop") == "two, called by two"
    with pytest.raises(NotFoundError, match="has no function 'gone'"):
        named("gone").remote()


def test_recreating_runs_anew_what_ran(deployed: modicum.App, tmp_path: Path) -> None:
    calls = [named("slow").spawn(str(tmp_path), number) for number in range(2)]
    eventually(lambda: len(list(tmp_path.iterdir())) == 2)
    shop.second().deploy(strategy="recreate")
    assert [call.get(timeout=30) for call in calls] == ["two 0", "two 1"]


def test_a_version_can_be_called_for_as_long_as_it_is_kept(deployed: modicum.App) -> None:
    first = modicum.App.lookup("shop").info().lifecycle.version
    assert first is not None
    shop.second().deploy()
    assert named("version").remote() == "two"
    assert named("version", version=first).remote() == "one"
    assert named("chain", version=first).remote("shop") == "one, called by one"
    named("gone", version=first).remote()
    with pytest.raises(NotFoundError, match="has no version 99"):
        named("version", version=99).remote()


def test_versions_are_brought_back_by_command(deployed: modicum.App) -> None:
    def run(*words: str) -> str:
        result = CliRunner().invoke(cli, ["app", *words])
        assert result.exit_code == 0, result.exception
        return result.output

    def versions() -> list[str]:
        return [each["origin"] for each in json.loads(run("history", "shop", "--json"))]

    shop.app.deploy()
    assert versions() == ["deploy"], "nothing had changed"
    shop.second().deploy(tag="newer")
    assert run("rollback", "shop") == "shop is version 3 now\n"
    eventually(lambda: named("version").remote() == "one")
    named("gone").remote()
    before = {each["id"] for each in status()["containers"] if each["app"] == deployed.app_id}
    assert run("rollover", "shop", "--strategy", "recreate") == "shop is version 4 now\n"
    eventually(lambda: not before & {each["id"] for each in status()["containers"]})
    assert named("version").remote() == "one"
    assert versions() == ["rollover", "rollback to v1", "deploy", "deploy"]
    assert json.loads(run("info", "shop", "--json"))["version"] == 4


def test_what_waits_for_a_function_that_goes_is_told_so(deployed: modicum.App, tmp_path: Path) -> None:
    call = named("slow").spawn(str(tmp_path), 1)
    eventually(lambda: list(tmp_path.iterdir()))
    newer = shop.second()
    del newer._functions["slow"]
    newer.deploy()
    with pytest.raises(RemoteError, match="of the app 'shop' was published without this function"):
        call.get(timeout=30)


def test_a_build_that_fails_changes_nothing(deployed: modicum.App) -> None:
    broken = modicum.App("shop", image=modicum.Image.debian_slim().run_commands("exit 3"))
    broken.function(serialized=True, name="version")(lambda: "broken")
    before = modicum.App.lookup("shop").info()
    with pytest.raises(ImageBuildError, match="run_commands"):
        broken.deploy()
    assert modicum.App.lookup("shop").info() == before
    assert named("version").remote() == "one"


def test_the_command_says_so(deployed: modicum.App, tmp_path: Path) -> None:
    program = "import modicum\napp = modicum.App('shop', image=modicum.Image.debian_slim().run_commands('exit 3'))\n"
    (tmp_path / "failing.py").write_text(f"{program}@app.function()\ndef version(): ...\n")
    done = subprocess.run(command("deploy", str(tmp_path / "failing.py")), check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert "Warning: nothing was deployed; what is under the name 'shop' stays as it is\nError: " in done.stderr
    assert named("version").remote() == "one"


def test_where_it_cannot_be_deployed(server: object) -> None:
    with pytest.raises(InvalidError, match="the app has no name"):
        modicum.App().deploy()
    with pytest.raises(InvalidError, match="strategy must be 'rolling' or 'recreate', not 'blue'"):
        shop.app.deploy(strategy="blue")
    with pytest.raises(InvalidError, match="'a b' is no tag"):
        shop.app.deploy(tag="a b")
    with pytest.raises(NotFoundError, match="there is no environment 'prod'"):
        shop.app.deploy(environment_name="prod")
    with pytest.raises(InvalidError, match="run it, deploy it, or find it by"):
        modicum.App("other").stop()
    with shop.app.run(), pytest.raises(InvalidError, match="already running"):
        shop.app.deploy()


def test_it_comes_back_with_the_next_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was spawned is done, what is called is there. (That a killed server's comes back: `test_job_queue.py`.)"""
    _blocking.close_idle()  # those connections are to the other tests' server
    monkeypatch.setenv("MODICUM_HOME", str(tmp_path))
    folder = tmp_path / "folder"
    folder.mkdir()
    server = start_server(tmp_path)
    try:
        shop.app.deploy()
        call = named("slow").spawn(str(folder), 1)
        eventually(lambda: list(folder.iterdir()))
        stop_all(server)
        server = start_server(tmp_path)
        (folder / "go").touch()
        assert call.get(timeout=60) == "one 1"
        assert named("version").remote() == "one"
        assert [app["name"] for app in status()["apps"]] == ["shop"]
        modicum.App.lookup("shop").stop()
        with pytest.raises(NotFoundError):
            named("version").remote()
    finally:
        stop_all(server)
