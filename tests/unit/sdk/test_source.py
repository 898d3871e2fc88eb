"""Which files of a program are packed, and that the same program makes the same archive."""

from __future__ import annotations

import importlib
import io
import os
import sys
import tarfile
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


def names(source: _source.Source) -> dict[str, int]:
    with tarfile.open(fileobj=io.BytesIO(source.archive)) as archive:
        return {member.name: member.mode for member in archive}


def test_a_single_file(load: Load) -> None:
    source = _source.of(load("lonely", "lonely.py", "neighbour.py"))
    assert source.module == "lonely"
    assert names(source) == {"root": 0o700, "root/lonely.py": 0o644}


def test_a_whole_package(load: Load, tmp_path: Path) -> None:
    function = load(
        "pack.sub.deep", "pack/__init__.py", "pack/sub/__init__.py", "pack/sub/deep.py", "pack/other.py", "beside.py"
    )
    (tmp_path / "pack" / "data.txt").write_text("data")
    (tmp_path / "pack" / ".hidden").mkdir()
    (tmp_path / "pack" / ".hidden" / "x").write_text("no")
    source = _source.of(function)
    assert source.module == "pack.sub.deep"
    assert set(names(source)) == {
        "root",
        "root/pack",
        "root/pack/__init__.py",
        "root/pack/data.txt",
        "root/pack/other.py",
        "root/pack/sub",
        "root/pack/sub/__init__.py",
        "root/pack/sub/deep.py",
    }


def test_the_package_itself_and_a_module_of_it_are_one_archive(load: Load) -> None:
    files = ("pack/__init__.py", "pack/one.py")
    whole, part = _source.of(load("pack", *files)), _source.of(load("pack.one"))
    assert whole.archive == part.archive
    assert (whole.blob, whole.layer) == (part.blob, part.layer)
    assert (whole.module, part.module) == ("pack", "pack.one")


def test_a_package_without_init(load: Load) -> None:
    source = _source.of(load("spaced.inner.mod", "spaced/inner/mod.py", "spaced/top.py"))
    assert set(names(source)) == {
        "root",
        "root/spaced",
        "root/spaced/inner",
        "root/spaced/inner/mod.py",
        "root/spaced/top.py",
    }


def test_the_main_program(load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "program.py").write_text("")
    main = types.ModuleType("__main__")
    main.__file__ = str(tmp_path / "program.py")
    main.__spec__ = None
    monkeypatch.setitem(sys.modules, "__main__", main)
    function = types.FunctionType((lambda: None).__code__, {"__name__": "__main__"})
    source = _source.of(function)
    assert source.module == "program"
    assert set(names(source)) == {"root", "root/program.py"}


def test_a_main_module_of_a_package(load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load("pack.tool", "pack/__init__.py", "pack/tool.py")
    main = types.ModuleType("__main__")
    main.__file__ = str(tmp_path / "pack" / "tool.py")
    main.__spec__ = importlib.machinery.ModuleSpec("pack.tool", None)
    monkeypatch.setitem(sys.modules, "__main__", main)
    source = _source.of(types.FunctionType((lambda: None).__code__, {"__name__": "__main__"}))
    assert source.module == "pack.tool"
    assert "root/pack/tool.py" in names(source)


def test_no_file_at_all() -> None:
    function = types.FunctionType((lambda: None).__code__, {"__name__": "nowhere"}, "typed")
    with pytest.raises(InvalidError, match=r"'nowhere', which has no file.*serialized=True"):
        _source.of(function)


def test_same_content_same_archive_whenever_it_was_written(load: Load, tmp_path: Path) -> None:
    function = load("pack", "pack/__init__.py", "pack/b.py", "pack/a.py")
    before = _source.of(function)
    for path in (tmp_path / "pack").glob("*.py"):
        os.utime(path, (1, 1))
    after = _source.of(function)
    assert before.archive == after.archive
    assert before.blob == "src-" + before.layer.removeprefix("la-")
    (tmp_path / "pack" / "a.py").write_text("changed = 1\n")
    assert _source.of(function).blob != before.blob


def test_programs_stay_executable(load: Load, tmp_path: Path) -> None:
    function = load("pack", "pack/__init__.py", "pack/run.py")
    (tmp_path / "pack" / "run.py").chmod(0o700)
    assert names(_source.of(function))["root/pack/run.py"] == 0o755
