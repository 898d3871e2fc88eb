"""`import modal` gives this package, whatever else is installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

INSTALL = "import modicum; modicum.install_as_modal(); modicum.install_as_modal(); "


def run(code: str, path: Path | None = None) -> str:
    """Run code in a fresh interpreter, with `path` ahead of all else; return what it prints."""
    prelude = f"import sys; sys.path.insert(0, {str(path)!r}); " if path else "import sys; "
    command = [sys.executable, "-W", "error", "-c", f"{prelude}{INSTALL}{code}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_modules_are_the_very_same() -> None:
    code = (
        "import modal, modal.exception, modicum.exception; from modal import App; from modal.function import Function; "
        "assert modal is modicum and modal.exception is modicum.exception and App is modicum.App; "
        "assert Function is modicum.Function; "
        "specs = modal.__spec__, modal.exception.__spec__; "
        "print(modal.__name__, *(spec.name for spec in specs), specs[0].origin == modal.__file__)"
    )
    assert run(code) == "modicum modicum modicum.exception True"


def test_installing_twice_is_installing_once() -> None:
    assert run("print(sum(getattr(f, '__name__', '') == '_Alias' for f in sys.meta_path))") == "1"


@pytest.mark.parametrize("statement", ["import modal.nothing", "from modal.nothing import x"])
def test_a_module_that_there_is_not(statement: str) -> None:
    code = f"\ntry:\n    {statement}\nexcept ModuleNotFoundError as error:\n    print(error, '|', error.name)"
    assert run(code) == "No module named 'modal.nothing' | modal.nothing"


def test_a_real_modal_is_not_looked_at(tmp_path: Path) -> None:
    (tmp_path / "modal").mkdir()
    (tmp_path / "modal" / "__init__.py").write_text("raise SystemExit('the real one')\n")
    (tmp_path / "modal" / "only_there.py").write_text("")
    code = (
        "import modal; print(modal is modicum)\ntry:\n    import modal.only_there\nexcept ImportError:\n    print('no')"
    )
    assert run(code, tmp_path) == "True\nno"


def test_names_that_only_begin_alike_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "modality.py").write_text("x = 5\n")
    assert run("import modality; print(modality.x)", tmp_path) == "5"
