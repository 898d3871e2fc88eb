"""What is said of a module that a container does not have."""

from __future__ import annotations

import traceback
from pathlib import Path

import pytest

from modicum import _missing


def advice(name: str) -> str:
    error = ModuleNotFoundError(f"No module named {name!r}", name=name)
    _missing.advise(error)
    _missing.advise(error)  # it is said once
    return "".join(traceback.format_exception_only(error)).partition("\n")[2].rstrip()


@pytest.fixture(autouse=True)
def own_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_module.py").write_text("")
    (tmp_path / "own_package").mkdir()
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.parametrize("name", ["own_module", "own_package"])
def test_own_code_that_was_not_sent(name: str) -> None:
    assert advice(name) == (
        f"The module '{name}' is here, but was not sent along: only the function's own module or package is. Add it to "
        f'the image: image.add_local_python_source("{name}")'
    )


def test_a_part_of_own_code() -> None:
    assert 'image.add_local_python_source("own_package")' in advice("own_package.part")


def test_a_package_that_is_installed_here_under_another_name() -> None:
    assert advice("_pytest") == (
        "The module '_pytest' is installed on this machine, but not in the image. Add it: image.pip_install(\"pytest\")"
    )


def test_a_module_that_is_nowhere() -> None:
    assert 'image.pip_install("no_such_module")' in advice("no_such_module")


def test_a_part_of_the_pythons_own() -> None:
    assert advice("json") == "The container's Python has no module 'json', which is part of this machine's."


@pytest.mark.parametrize("name", ["_pytest.no_such_part", "no_such_module.part", "json.no_such_part"])
def test_nothing_is_said_where_nothing_is_known(name: str) -> None:
    assert advice(name) == ""


def test_only_missing_modules_are_spoken_of() -> None:
    for error in (ImportError("x"), ValueError("x"), ModuleNotFoundError("x")):
        _missing.advise(error)
        assert not hasattr(error, "__notes__")
