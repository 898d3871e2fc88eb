"""Which files `modicum serve` looks at: those of the app, and what comes beside them where that is part of it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from modicum.cli.reference import load
from modicum.cli.watched import Watched, from_json, watched

APP = """
import modicum
import beside
from {package} import inner

app = modicum.App("x", image=modicum.Image.debian_slim("3.12").add_local_dir("data", "/data"))

@app.function()
def f(): ...
"""


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A program in a folder of its own; what it imports is forgotten again."""
    monkeypatch.setattr(sys, "path", sys.path[:])
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)
    (tmp_path / "data").mkdir()
    (tmp_path / "watched_package").mkdir()
    files = {
        "watched_app.py": APP.format(package="watched_package"),
        "beside.py": "",
        "other.py": "",
        "data/table.csv": "1,2",
        "watched_package/__init__.py": "",
        "watched_package/inner.py": "",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_what_an_app_is_made_of(program: Path) -> None:
    found = watched(load("watched_app.py", as_module=False).app)
    names = {os.path.relpath(file, program) for file in found.files}
    assert names == {
        "watched_app.py", "beside.py", "data/table.csv", "watched_package/__init__.py", "watched_package/inner.py",
    }  # fmt: skip
    assert found.counts(str(program / "data" / "new.csv")), "it would be sent, too"
    assert not found.counts(str(program / "other.py"))
    assert not found.counts(str(program / "data" / "table.csv.swp"))
    assert set(found.places()) == {str(program), str(program / "data"), str(program / "watched_package")}


def test_it_goes_from_process_to_process() -> None:
    found = Watched(frozenset({"/a/b.py", "/a/c.py"}), frozenset({"/a/d"}))
    assert from_json(json.loads(json.dumps(found.as_json()))) == found


def test_when_files_were_written(tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    found = Watched(frozenset({str(file), str(tmp_path / "gone.py")}), frozenset())
    file.write_text("1")
    before = found.stamps()
    assert list(before) == [str(file)]
    os.utime(file, ns=(1, 1))
    assert found.stamps() != before
