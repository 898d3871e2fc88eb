"""Older names: one warning where they are used, errors where they contradict, a strict mode."""

from __future__ import annotations

import inspect
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from modicum import _context
from modicum._old_names import Dropped, Refused, Renamed, accepts, nearest, say
from modicum.exception import DeprecationError, InvalidError


@accepts(
    Renamed("concurrency_limit", "max_containers"),
    Renamed("secret", "secrets", lambda one: [one]),
    Dropped("namespace"),
    Refused("interactive", "use `modicum run -i`"),
)
def make(name: str = "", *, max_containers: int | None = None, secrets: object = ()) -> tuple[object, ...]:
    """Make something."""
    return name, max_containers, secrets


def test_an_older_name_works_and_warns_at_the_line_that_uses_it() -> None:
    with pytest.warns(DeprecationError, match="^`concurrency_limit` is now `max_containers`; accepted for") as caught:
        assert make("a", concurrency_limit=3) == ("a", 3, ())  # type: ignore[call-arg]
    assert caught[0].filename == __file__
    assert issubclass(DeprecationError, UserWarning) and issubclass(DeprecationError, DeprecationWarning)


def test_present_names_do_not_warn() -> None:
    assert make(max_containers=3) == ("", 3, ())


def test_a_value_may_have_to_be_converted() -> None:
    with pytest.warns(DeprecationError, match="`secret` is now `secrets`"):
        assert make(secret=5) == ("", None, [5])  # type: ignore[call-arg]


def test_none_under_an_older_name_asks_for_nothing() -> None:
    with pytest.warns(DeprecationError):
        assert make(concurrency_limit=None, max_containers=2) == ("", 2, ())  # type: ignore[call-arg]


def test_both_names_may_agree_but_not_differ() -> None:
    with pytest.warns(DeprecationError):
        assert make(concurrency_limit=3, max_containers=3) == ("", 3, ())  # type: ignore[call-arg]
    expected = (
        "make was given max_containers=4 and, under its older name, concurrency_limit=3; give max_containers alone"
    )
    with pytest.warns(DeprecationError), pytest.raises(InvalidError, match=expected):
        make(concurrency_limit=3, max_containers=4)  # type: ignore[call-arg]


def test_what_has_no_effect_and_what_cannot_be_kept() -> None:
    with pytest.warns(DeprecationError, match="`namespace` has no effect any longer; accepted"):
        make(namespace=1)  # type: ignore[call-arg]
    with pytest.raises(InvalidError, match="make no longer takes `interactive`: use `modicum run -i`"):
        make(interactive=True)  # type: ignore[call-arg]
    with pytest.warns(DeprecationError):
        make(interactive=False)  # type: ignore[call-arg]


def test_an_unknown_keyword_names_the_nearest() -> None:
    with pytest.raises(TypeError, match="make takes no parameter 'max_container'; did you mean 'max_containers'"):
        make(max_container=3)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"make takes no parameter 'xyz'$"):
        make(xyz=3)  # type: ignore[call-arg]


def test_the_signature_has_the_present_names_alone() -> None:
    assert list(inspect.signature(make).parameters) == ["name", "max_containers", "secrets"]
    assert (make.__name__, make.__doc__) == ("make", "Make something.")


def test_strict_names_raise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODICUM_STRICT_NAMES", "1")
    with pytest.raises(DeprecationError, match="`a` is now `b`; older names are refused, because MODICUM_STRICT_NAMES"):
        say("a", "b")
    monkeypatch.setenv("MODICUM_STRICT_NAMES", "0")
    with pytest.warns(DeprecationError):
        say("a", "b")


def test_a_container_that_imports_the_program_does_not_say_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_context, "socket_directory", "/run/modicum")
    say("a", "b")
    _context.enter("fc-1:0")
    with pytest.warns(DeprecationError):
        say("a", "b")
    _context.leave()


_PROGRAM = """
from modicum._old_names import say
for _ in range(3):
    say("one", "two")
say("one", "two")
"""


def output_of(folder: Path, *flags: str) -> str:
    (folder / "program.py").write_text(_PROGRAM)
    command = [sys.executable, *flags, "-c", "import program"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False).stderr


def test_shown_by_default_once_for_each_call_site_in_any_module(tmp_path: Path) -> None:
    shown = output_of(tmp_path)
    assert shown.count("DeprecationError: `one` is now `two`") == 2
    assert "program.py:4" in shown and "program.py:5" in shown


def test_hidden_where_the_user_says_so(tmp_path: Path) -> None:
    assert output_of(tmp_path, "-W", "ignore::DeprecationWarning") == ""
    assert "DeprecationError" in output_of(tmp_path, "-W", "error").splitlines()[-1]


def test_others_rules_stay_ahead() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        say("a", "b")
    assert caught == []


def test_nearest() -> None:
    assert nearest("Volme", ["Volume", "Image"]) == "; did you mean 'Volume'?"
    assert nearest("zzz", ["Volume", "Image"]) == ""


def test_the_module_of_functions_needs_no_import() -> None:
    program = "import modicum; print(modicum.functions.gather is modicum.functions.gather)"
    assert subprocess.check_output([sys.executable, "-c", program], text=True) == "True\n"
