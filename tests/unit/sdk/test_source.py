"""Which files of a program go along, and that the same program makes the same set."""

from __future__ import annotations

import importlib
import os
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from modicum import _source
from modicum.exception import InvalidError

Load = Callable[..., Any]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Load]:
    """Write modules below a folder of the path; return the function `f` of one of them."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)

    def make(module: str, *files: str) -> Any:
        for name in files:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("def f() -> None: ...\n")
        return importlib.import_module(module).f

    yield make
    for name in set(sys.modules) - before:
        del sys.modules[name]


def names(source: _source.Source) -> list[str]:
    return [path for path, *_ in source.files.entries]


def test_a_single_file(load: Load) -> None:
    source = _source.of(load("lonely", "lonely.py", "neighbour.py"))
    assert source.module == "lonely"
    assert names(source) == ["root/lonely.py"]


def test_a_whole_package(load: Load, tmp_path: Path) -> None:
    function = load(
        "pack.sub.deep", "pack/__init__.py", "pack/sub/__init__.py", "pack/sub/deep.py", "pack/other.py", "beside.py"
    )
    (tmp_path / "pack" / "data.txt").write_text("data")
    (tmp_path / "pack" / ".hidden").mkdir()
    (tmp_path / "pack" / ".hidden" / "x").write_text("no")
    (tmp_path / "pack" / ".dotted").write_text("no")
    source = _source.of(function)
    assert source.module == "pack.sub.deep"
    assert names(source) == [
        "root/pack/__init__.py",
        "root/pack/data.txt",
        "root/pack/other.py",
        "root/pack/sub/__init__.py",
        "root/pack/sub/deep.py",
    ]


def test_the_package_itself_and_a_module_of_it_are_one_set(load: Load) -> None:
    files = ("pack/__init__.py", "pack/one.py")
    whole, part = _source.of(load("pack", *files)), _source.of(load("pack.one"))
    assert whole.files.id == part.files.id
    assert (whole.module, part.module) == ("pack", "pack.one")


def test_a_package_without_init(load: Load) -> None:
    source = _source.of(load("spaced.inner.mod", "spaced/inner/mod.py", "spaced/top.py"))
    assert names(source) == ["root/spaced/inner/mod.py", "root/spaced/top.py"]


def main_of(monkeypatch: pytest.MonkeyPatch, file: Path, name: str | None) -> Any:
    """Return a function of a `__main__` that was started from this file."""
    main = types.ModuleType("__main__")
    main.__file__ = str(file)
    main.__spec__ = None if name is None else importlib.machinery.ModuleSpec(name, None)
    monkeypatch.setitem(sys.modules, "__main__", main)
    return types.FunctionType((lambda: None).__code__, {"__name__": "__main__"})


def test_the_main_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "program.py").write_text("")
    source = _source.of(main_of(monkeypatch, tmp_path / "program.py", None))
    assert source.module == "program"
    assert names(source) == ["root/program.py"]


@pytest.mark.parametrize("module", ["pack.tool", "pack.__main__"])
def test_a_main_module_of_a_package(load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    load("pack", "pack/__init__.py", "pack/tool.py", "pack/__main__.py")
    source = _source.of(main_of(monkeypatch, tmp_path / f"{module.replace('.', '/')}.py", module))
    assert source.module == module
    assert names(source) == ["root/pack/__init__.py", "root/pack/__main__.py", "root/pack/tool.py"]


def test_no_file_at_all() -> None:
    function = types.FunctionType((lambda: None).__code__, {"__name__": "nowhere"}, "typed")
    with pytest.raises(InvalidError, match=r"'nowhere', which has no file.*serialized=True"):
        _source.of(function)


def test_same_content_same_set_whenever_it_was_written(load: Load, tmp_path: Path) -> None:
    function = load("pack", "pack/__init__.py", "pack/b.py", "pack/a.py")
    before = _source.of(function).files
    for path in (tmp_path / "pack").glob("*.py"):
        os.utime(path, (1, 1))
    assert _source.of(function).files.manifest == before.manifest
    (tmp_path / "pack" / "a.py").write_text("changed = 1\n")
    assert _source.of(function).files.id != before.id


def test_programs_stay_executable(load: Load, tmp_path: Path) -> None:
    function = load("pack", "pack/__init__.py", "pack/run.py")
    (tmp_path / "pack" / "run.py").chmod(0o700)
    assert [(path, executable) for path, executable, *_ in _source.of(function).files.entries] == [
        ("root/pack/__init__.py", False),
        ("root/pack/run.py", True),
    ]
