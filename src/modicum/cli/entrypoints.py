"""Which arguments does a function take on the command line? What its annotations say, as `--name value`."""

from __future__ import annotations

import datetime
import inspect
import sys
import types
import typing
from collections.abc import Callable
from typing import Any, Literal, Union

import click

from modicum.exception import InvalidError

Arguments = tuple[tuple[Any, ...], dict[str, Any]]
"""What a function is called with: its positional and its keyword arguments."""

ACCEPTED = "str, int, float, bool, datetime, Literal of str or int, and `X | None` of these"


class Moment(click.ParamType):
    """A date or a date and time, as ISO 8601 writes it."""

    name = "datetime"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime.datetime:
        """Return the moment that a text names."""
        if isinstance(value, datetime.datetime):
            return value
        try:
            return datetime.datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no date and time, such as 2026-01-31 or 2026-01-31T12:30:00", param, ctx)


class Number(click.Choice[str]):
    """One of some whole numbers."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number that a text names."""
        return int(super().convert(str(value), param, ctx))


_TYPES: dict[Any, click.ParamType] = {
    str: click.STRING,
    int: click.INT,
    float: click.FLOAT,
    datetime.datetime: Moment(),
}


def parse(raw: Callable[..., Any], texts: list[str], called: str) -> Arguments:
    """Return what the texts behind a reference mean as arguments of `raw`; `called` is how usage messages name it.

    Raises `InvalidError` if an annotation is one that no text can become, and `click.UsageError` for wrong texts. With
    `--help` among them it prints what there is to know and exits.
    """
    parameters = list(inspect.signature(raw).parameters.values())
    if [parameter.kind for parameter in parameters] == [inspect.Parameter.VAR_POSITIONAL]:
        return tuple(texts), {}
    options = [_option(raw, parameter) for parameter in parameters]
    command = click.Command(called, params=options, callback=dict, help=inspect.getdoc(raw))
    values = command.main(texts, prog_name=called, standalone_mode=False)
    if not isinstance(values, dict):
        sys.exit(values)  # it has shown its help
    unnamed = [p.name for p in parameters if p.kind is inspect.Parameter.POSITIONAL_ONLY]
    return tuple(values.pop(name) for name in unnamed), values


def _option(raw: Callable[..., Any], parameter: inspect.Parameter) -> click.Option:
    if parameter.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
        raise InvalidError(
            f"{raw.__name__!r} cannot be run from the command line: its parameter {str(parameter)!r} has no name to set; "
            "`*args` alone takes all that is written behind the reference, as it is"
        )
    flag = "--" + parameter.name.replace("_", "-")
    given: dict[str, Any] = (
        {"required": True}
        if parameter.default is parameter.empty
        else {"default": parameter.default, "show_default": parameter.default is not None}
    )
    annotation = _evaluated(raw, parameter)
    untyped_flag = annotation is parameter.empty and isinstance(parameter.default, bool)
    if untyped_flag or _without_none(annotation) is bool:
        return click.Option([f"{flag}/--no-{flag[2:]}", parameter.name], **given)
    return click.Option([flag, parameter.name], type=_type(raw, parameter, annotation), **given)


def _evaluated(raw: Callable[..., Any], parameter: inspect.Parameter) -> Any:
    """Return an annotation as the object that it is; `from __future__ import annotations` makes all of them text."""
    annotation = parameter.annotation
    if not isinstance(annotation, str):
        return annotation
    try:
        return eval(annotation, getattr(raw, "__globals__", {}))
    except Exception:  # noqa: BLE001 - it is the user's text, and names what exists for a type checker only
        return annotation


def _type(raw: Callable[..., Any], parameter: inspect.Parameter, annotation: Any) -> click.ParamType | None:
    if annotation is parameter.empty or annotation is Any:
        return None
    plain = _without_none(annotation)
    if typing.get_origin(plain) is Literal:
        choices = typing.get_args(plain)
        for kind, made in ((str, click.Choice), (int, Number)):
            if all(type(choice) is kind for choice in choices):
                return made([str(choice) for choice in choices])
    elif _is_hashable(plain) and plain in _TYPES:
        return _TYPES[plain]
    raise InvalidError(
        f"parameter {parameter.name!r} of {raw.__name__!r} has the annotation {_shown(parameter.annotation)}, which the "
        f"command line cannot make of a text; it can: {ACCEPTED}"
    )


def _without_none(annotation: Any) -> Any:
    """Return X of `Optional[X]`, `X | None` and `Union[X, None]`."""
    if typing.get_origin(annotation) in (Union, types.UnionType):
        others = [each for each in typing.get_args(annotation) if each is not type(None)]
        if len(others) == 1:
            return others[0]
    return annotation


def _is_hashable(value: object) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def _shown(annotation: Any) -> str:
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return f"`{text}`"
