"""What an `imports()` block does here, and in containers of its image and of others."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from modicum import _context
from modicum.agent.loader import load
from modicum.image import Image

PROGRAM = """
import modicum
mine = modicum.Image.debian_slim("3.12").pip_install("six")
other = modicum.Image.debian_slim("3.12").pip_install("attrs")
app = modicum.App("a", image=mine)
with mine.imports():
    import no_such_module_at_all
@app.function()
def f(): ...
@app.function(image=other)
def g(): return 1
@app.function(image=mine)
def h(): ...
"""


def block(error: Exception) -> None:
    with Image.debian_slim("3.12").imports():
        raise error


def test_here_an_import_error_is_ignored() -> None:
    block(ModuleNotFoundError("torch"))


def test_here_any_other_error_is_a_warning() -> None:
    with pytest.warns(UserWarning, match=r"ignored in an `imports\(\)` block, .*ValueError\('half'\)"):
        block(ValueError("half"))


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_program_ends_it(error: type[BaseException]) -> None:
    with pytest.raises(error), Image.debian_slim("3.12").imports():
        raise error


@pytest.fixture
def in_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Callable[..., object]]:
    (tmp_path / "imports_program.py").write_text(PROGRAM)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(_context, "socket_directory", "/run/modicum")
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    monkeypatch.setitem(sys.modules, "imports_program", sys)
    del sys.modules["imports_program"]
    return lambda name: load({"module": "imports_program", "qualname": name}, None)


@pytest.mark.parametrize("name", ["f", "h"])
def test_in_its_own_container_it_is_raised(in_container: Callable[[str], Callable[..., object]], name: str) -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_module_at_all"):
        in_container(name)


def test_in_others_containers_it_is_ignored(in_container: Callable[[str], Callable[..., object]]) -> None:
    assert in_container("g")() == 1
