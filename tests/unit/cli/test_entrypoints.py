"""What texts on the command line become, by the annotations of the function that gets them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any, Literal, Optional

import click
import pytest

from modicum.cli.entrypoints import parse
from modicum.exception import InvalidError

Later = dt.datetime


def parsed(function: Callable[..., Any], *texts: str) -> Any:
    """Return the arguments by name; none of these functions takes any by place."""
    args, kwargs = parse(function, list(texts), "modicum run x.py::f")
    assert args == ()
    return kwargs


def everything(a: int, b: float, c: str, d, e: bool, f: int = 5, g: bool = True, long_name: str = "x") -> None:  # type: ignore[no-untyped-def]
    """Take all that there is.

    And say more.
    """


ENOUGH = ("--a", "1", "--b", "2.5", "--c", "3", "--d", "4", "--e")


def test_what_annotations_say() -> None:
    assert parsed(everything, *ENOUGH, "--no-g", "--long-name", "y") == {
        "a": 1, "b": 2.5, "c": "3", "d": "4", "e": True, "g": False, "long_name": "y",
    }  # fmt: skip


def test_defaults_are_the_functions_own() -> None:
    marker = object()

    def function(x: int = marker, y: str = 7) -> None: ...  # type: ignore[assignment]

    assert parsed(function) == {}
    assert parsed(lambda: None) == {}


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-31", dt.datetime(2026, 1, 31)),  # noqa: DTZ001
        ("2026-01-31T12:30", dt.datetime(2026, 1, 31, 12, 30)),  # noqa: DTZ001
        ("2026-01-31 12:30:01", dt.datetime(2026, 1, 31, 12, 30, 1)),  # noqa: DTZ001
        ("2026-01-31T12:30:00+00:00", dt.datetime(2026, 1, 31, 12, 30, tzinfo=dt.timezone.utc)),  # noqa: UP017
    ],
)
def test_moments(text: str, moment: dt.datetime) -> None:
    def function(when: dt.datetime, also: Later | None = None) -> None: ...

    assert parsed(function, "--when", text) == {"when": moment}
    assert parsed(function, "--when", text, "--also", text)["also"] == moment


def test_optional_ones_and_choices() -> None:
    def function(
        a: Optional[int] = None,  # noqa: UP045
        b: "float | None" = None,  # noqa: UP037
        c: bool | None = None,
        d: Literal["fast", "slow"] = "fast",
        e: Literal[1, 2] | None = 1,
    ) -> None: ...

    assert parsed(function, "--a", "1", "--b", "2", "--no-c", "--d", "slow", "--e", "2") == {
        "a": 1, "b": 2.0, "c": False, "d": "slow", "e": 2,
    }  # fmt: skip
    with pytest.raises(click.UsageError, match="'3' is not one of '1', '2'"):
        parsed(function, "--e", "3")


def test_untyped_ones_are_what_their_defaults_are() -> None:
    def function(a, b=5, c=False, d=None, e=1.5) -> None: ...  # type: ignore[no-untyped-def]

    assert parsed(function, "--a", "1", "--b", "2", "--c", "--d", "3", "--e", "4") == {
        "a": "1", "b": 2, "c": True, "d": "3", "e": 4.0,
    }  # fmt: skip


def test_the_texts_as_they_are() -> None:
    def function(*args: str) -> None: ...

    assert parse(function, ["--x", "1", "--", "-y", "--help"], "f") == (("--x", "1", "--", "-y", "--help"), {})


def test_parameters_without_a_name() -> None:
    def function(a: int, b: int = 7, /, c: int = 0) -> None: ...

    assert parse(function, ["--a", "1", "--c", "2"], "f") == ((1, 7), {"c": 2})

    def rest(a: int, *xs: str) -> None: ...

    with pytest.raises(InvalidError, match=r"'rest' cannot be run .*parameter `\*xs` has no name to set"):
        parse(rest, [], "f")

    def named(**options: str) -> None: ...

    with pytest.raises(InvalidError, match=r"parameter `\*\*options` has no name to set"):
        parse(named, [], "f")


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (["--a", "x"], "'x' is not a valid integer"),
        (["--unknown", "1"], "No such option"),
        ([], "Missing option '--a'"),
        (["extra"], "Missing option '--a'"),
        ([*ENOUGH, "extra"], "Got unexpected extra argument"),
    ],
)
def test_wrong_texts(given: list[str], reason: str) -> None:
    with pytest.raises(click.UsageError) as caught:
        parsed(everything, *given)
    assert reason in caught.value.format_message()


def test_a_wrong_moment() -> None:
    def function(when: dt.datetime) -> None: ...

    with pytest.raises(click.UsageError, match="'noon' is no date and time, such as 2026-01-31 or"):
        parsed(function, "--when", "noon")


class Custom: ...


@pytest.mark.parametrize(
    ("annotation", "shown"),
    [
        (list[int], r"`list\[int\]`"),
        ("list[str]", r"`list\[str\]`"),
        ("Missing", "`Missing`"),
        (int | str, r"`int \| str`"),
        (Custom, "Custom`"),
        (Literal["a", 1], "Literal"),
        ([], r"`\[\]`"),
    ],
)
def test_annotations_that_no_text_becomes(annotation: Any, shown: str) -> None:
    def function(x) -> None: ...  # type: ignore[no-untyped-def]

    function.__annotations__["x"] = annotation
    with pytest.raises(
        InvalidError, match=f"parameter 'x' of 'function' has the annotation .*{shown}.*, which no text"
    ):
        parsed(function, "--x", "1")


def test_help_tells_and_runs_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parsed(everything, "--help")
    assert caught.value.code == 0
    told = capsys.readouterr().out
    for text in (
        "Usage: modicum run x.py::f",
        "Take all that there is.",
        "And say more.",
        "--e / --no-e",
        "[default: 5]",
    ):
        assert text in told
