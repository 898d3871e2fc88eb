"""What references name, and what is said when they name nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from modicum.cli.reference import load, load_app
from modicum.exception import InvalidError, NotFoundError

Write = Callable[[str, str], str]
APP = "import modicum\napp = modicum.App('x')\n"


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Write a file; return its path. What tests import is forgotten again."""
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)

    def make(name: str, text: str) -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return str(path)

    yield make
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_a_file(write: Write) -> None:
    path = write("ref_one.py", APP)
    found = load(path, as_module=False)
    assert (found.app.name, found.name, found.where) == ("x", None, path)
    assert load(f"{path}::f", as_module=False).name == "f"
    assert load(f"{path}::", as_module=False).name is None


def test_a_file_sees_its_neighbours(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write("sub/ref_neighbour.py", "x = 5\n")
    path = write("sub/ref_two.py", f"import ref_neighbour\n{APP}assert ref_neighbour.x == 5\n")
    monkeypatch.chdir("/")
    assert load(path, as_module=False).app.name == "x"


def test_a_module(write: Write) -> None:
    write("ref_pack/__init__.py", "")
    write("ref_pack/mod.py", APP)
    found = load("ref_pack.mod::f", as_module=True)
    assert (found.app.name, found.name, found.where) == ("x", "f", "ref_pack.mod")


def test_the_app_named_app_wins(write: Write) -> None:
    path = write("ref_many.py", f"{APP}other = modicum.App('y')\n")
    assert load(path, as_module=False).app.name == "x"
    path = write("ref_alias.py", "import modicum\nmine = also = modicum.App('z')\n")
    assert load(path, as_module=False).app.name == "z"


def test_several_apps_and_none(write: Write) -> None:
    path = write("ref_two_apps.py", "import modicum\na = modicum.App('a')\nb = modicum.App('b')\n")
    with pytest.raises(InvalidError, match=r"defines 2 apps and none is named `app`; say which: .*ref_two_apps.py::a"):
        load(path, as_module=False)
    found = load(f"{path}::b.f", as_module=False)
    assert (found.app.name, found.name) == ("b", "f")
    assert load(f"{path}::a", as_module=False).app.name == "a"
    path = write("ref_none.py", "x = 1\n")
    with pytest.raises(InvalidError, match=r"defines no modicum.App; it needs one"):
        load(path, as_module=False)


def test_an_app_is_named_as_a_whole(write: Write) -> None:
    path = write("whole.py", "import modicum\na = modicum.App('x')\n@a.function()\ndef f(): ...\n")
    assert load_app(f"{path}::a", as_module=False).name == "x"
    with pytest.raises(NotFoundError, match=r"has no app 'f'; leave `::f` out"):
        load_app(f"{path}::f", as_module=False)


def test_no_file_and_no_module(write: Write, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"^there is no file nowhere.py; to name a module use `-m`$"):
        load("nowhere.py", as_module=False)
    write("my_app.py", APP)
    with pytest.raises(NotFoundError, match=r"there is no file my_apps.py; did you mean 'my_app.py'\?"):
        load("my_apps.py", as_module=False)
    with pytest.raises(NotFoundError, match=r"there is no module nowhere.mod here; it is looked for in "):
        load("nowhere.mod", as_module=True)
    with pytest.raises(
        InvalidError, match=r"^a/b.py is a file; with `-m` name a module, such as a.b, or leave `-m` out$"
    ):
        load("a/b.py", as_module=True)
    with pytest.raises(InvalidError, match=r"is no Python file; its name does not end in .py"):
        load(write("text.txt", ""), as_module=False)
    with pytest.raises(NotFoundError, match=r"is a directory; name a file in it, or a module with `-m`"):
        load(str(tmp_path), as_module=False)


def test_a_module_without_its_option(
    write: Write, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write("ref_old/__init__.py", "")
    write("ref_old/mod.py", APP)
    found = load("ref_old.mod::f", as_module=False)
    assert (found.app.name, found.command("f")) == ("x", "modicum run -m ref_old.mod::f")
    assert capsys.readouterr().err == (
        "Warning: ref_old.mod is a module: write `modicum run -m ref_old.mod::f`; accepted for compatibility\n"
    )
    monkeypatch.setenv("MODAL_STRICT_NAMES", "1")
    with pytest.raises(InvalidError, match=r"ref_old.mod is a module: write `modicum run -m ref_old.mod`"):
        load("ref_old.mod", as_module=False)


def test_a_missing_package(write: Write) -> None:
    path = write("ref_missing.py", "import no_such_thing.sub\n")
    with pytest.raises(InvalidError, match=r"(?s)Install 'no_such_thing' here or, .*inside the function or below"):
        load(path, as_module=False)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("raise LookupError('mine')", "LookupError: mine"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("def broken(:", "SyntaxError: "),
        ("import no_such_thing", "ModuleNotFoundError: No module named 'no_such_thing'"),
    ],
)
def test_a_file_that_fails(write: Write, capsys: pytest.CaptureFixture[str], line: str, reason: str) -> None:
    path = write("ref_fails.py", f"{line}\n")
    with pytest.raises(InvalidError, match=r"ref_fails.py cannot be imported"):
        load(path, as_module=False)
    shown = capsys.readouterr().err
    assert reason in shown
    assert path in shown
    assert "cli/reference.py" not in shown
    assert "importlib" not in shown


def test_a_part_of_a_package_that_is_named_as_a_file(write: Write) -> None:
    path = write("ref_part/mod.py", "from . import other\n")
    with pytest.raises(InvalidError, match=r"(?s)part of a package runs as a module: `modicum run -m package.module`"):
        load(path, as_module=False)
    path = write("ref_import.py", "from os import no_such_name\n")
    with pytest.raises(InvalidError, match=r"cannot import name 'no_such_name' from 'os' [^\n]*$"):
        load(path, as_module=False)


def test_apps_were_called_stubs_once(write: Write) -> None:
    path = write("ref_stub.py", "import modicum\nstub = modicum.App('s')\nother = modicum.App('o')\n")
    assert load(path, as_module=False).app.name == "s"
