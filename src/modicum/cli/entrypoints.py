"""Which arguments does a function take on the command line? What its annotations say, as `--name value`."""

from __future__ import annotations

import datetime as dt
import inspect
import sys
import types
import typing
from collections.abc import Callable
from typing import Any, Literal, Union

import click

from modicum._parameters import NOTHING, TYPES, Fields
from modicum.exception import InvalidError

Arguments = tuple[tuple[Any, ...], dict[str, Any]]
"""What a function is called with: its positional and its keyword arguments."""

ACCEPTED = "str, int, float, bool, datetime, Literal of str or int, and `X | None` of these"


class Moment(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # generic since 8.2
    """A date or a date and time, as ISO 8601 writes it."""

    name = "datetime"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dt.datetime:
        """Return the moment that a text names."""
        if isinstance(value, dt.datetime):
            return value
        try:
            return dt.datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no date and time, such as 2026-01-31 or 2026-01-31T12:30:00", param, ctx)


_TYPES: dict[Any, Any] = {
    str: click.STRING,
    int: click.INT,
    float: click.FLOAT,
    dt.datetime: Moment(),
}


def parse(raw: Callable[..., Any], texts: list[str], called: str, of_class: Fields | None = None) -> Arguments:
    """Return what the texts behind a reference mean as arguments of `raw`; `called` is how usage messages name it.

    The parameters of a method's class, `of_class`, are keyword arguments among them. Raises `InvalidError` if an
    annotation is one that no text can become, and `click.UsageError` for wrong texts. With `--help` among them it
    prints what there is to know and exits.
    """
    parameters = [*_of_class(of_class or {}), *inspect.signature(raw).parameters.values()]
    names = [parameter.name for parameter in parameters]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InvalidError(
            f"{called} cannot be run from the command line: its class and its method both have a parameter {twice!r}"
        )
    if [parameter.kind for parameter in parameters] == [inspect.Parameter.VAR_POSITIONAL]:
        return tuple(texts), {}
    options: list[click.Parameter] = [_option(raw, parameter) for parameter in parameters]
    command = click.Command(called, params=options, callback=_given, help=inspect.getdoc(raw))
    values = command.main(texts, prog_name=called, standalone_mode=False)
    if not isinstance(values, dict):
        sys.exit(values)  # it has shown its help
    unnamed = [parameter for parameter in parameters if parameter.kind is inspect.Parameter.POSITIONAL_ONLY]
    return tuple(values.pop(each.name, each.default) for each in unnamed), values


def _of_class(fields: Fields) -> list[inspect.Parameter]:
    return [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            annotation=TYPES[field.type],
            default=inspect.Parameter.empty if field.default is NOTHING else field.default,
        )
        for name, field in fields.items()
    ]


@click.pass_context
def _given(context: click.Context, /, **values: Any) -> dict[str, Any]:
    """Return what was written; for all else the function has its own defaults, of whatever type."""
    written = click.core.ParameterSource.COMMANDLINE
    return {name: value for name, value in values.items() if context.get_parameter_source(name) is written}


def _option(raw: Callable[..., Any], parameter: inspect.Parameter) -> click.Option:
    if parameter.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
        raise InvalidError(
            f"{raw.__name__!r} cannot be run from the command line: its parameter `{_stars(parameter)}` has no name to "
            "set; `*args` alone takes all that is written behind the reference, as it is"
        )
    flag = "--" + parameter.name.replace("_", "-")
    annotation = _evaluated(raw, parameter)
    facts: dict[str, Any] = {"required": parameter.default is parameter.empty}
    if parameter.default not in (parameter.empty, None):
        facts["help"] = f"[default: {parameter.default}]"
    untyped_flag = annotation is parameter.empty and isinstance(parameter.default, bool)
    if untyped_flag or _without_none(annotation) is bool:
        return click.Option([f"{flag}/--no-{flag[2:]}", parameter.name], default=None, **facts)
    if _literals(annotation, int):
        facts["callback"] = _whole  # older choices are of texts alone
    return click.Option([flag, parameter.name], type=_type(raw, parameter, annotation), **facts)


def _stars(parameter: inspect.Parameter) -> str:
    return f"{'*' if parameter.kind is parameter.VAR_POSITIONAL else '**'}{parameter.name}"


def _literals(annotation: Any, kind: type) -> list[str]:
    """Return the choices of a Literal that are all of one kind, as they are written; none of anything else."""
    plain = _without_none(annotation)
    choices = typing.get_args(plain) if typing.get_origin(plain) is Literal else ()
    return [str(choice) for choice in choices] if all(type(choice) is kind for choice in choices) else []


def _whole(context: click.Context, parameter: click.Parameter, value: Any) -> int | None:
    return None if value is None else int(value)


def _evaluated(raw: Callable[..., Any], parameter: inspect.Parameter) -> Any:
    """Return an annotation as the object that it is; `from __future__ import annotations` makes all of them text."""
    annotation = parameter.annotation
    try:
        for _ in range(2):  # one that was quoted already is text within text
            if isinstance(annotation, str):
                annotation = eval(annotation, getattr(raw, "__globals__", {}))
    except Exception:  # noqa: BLE001 - it is the user's text, and names what exists for a type checker only
        pass
    return annotation


def _type(raw: Callable[..., Any], parameter: inspect.Parameter, annotation: Any) -> Any:
    if annotation is parameter.empty or annotation is Any:
        kind = type(parameter.default)
        return _TYPES.get(kind)  # of untyped ones the default tells; without one they are texts
    plain = _without_none(annotation)
    choices = _literals(annotation, str) or _literals(annotation, int)
    if choices:
        return click.Choice(choices)
    if _is_hashable(plain) and plain in _TYPES:
        return _TYPES[plain]
    raise InvalidError(
        f"parameter {parameter.name!r} of {raw.__name__!r} has the annotation {_shown(parameter.annotation)}, which "
        f"no text on the command line becomes; what does: {ACCEPTED}"
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
