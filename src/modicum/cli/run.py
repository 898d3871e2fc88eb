"""`modicum run`: run an app's entrypoint here and its functions in containers."""

from __future__ import annotations

import asyncio
import inspect
import sys
import traceback
from collections.abc import Callable
from typing import Any

import click

from modicum._running import Run
from modicum.app import App, LocalEntrypoint
from modicum.cli.reference import Reference, load
from modicum.exception import Error, InvalidError
from modicum.function import Function
from modicum.output import LinePrinter


@click.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
@click.argument("reference", metavar="FILE[::NAME]")
@click.option("-q", "--quiet", is_flag=True, help="Do not show how images are built.")
@click.option("-m", "--module", is_flag=True, help="The reference names a module (pkg.mod), not a file.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def run(reference: str, quiet: bool, module: bool, arguments: tuple[str, ...]) -> None:
    """Run an app: its local entrypoint, or its function NAME in a container.

    \b
    modicum run my_app.py
    modicum run my_app.py::process --x 5
    """
    app, target = _choose(load(reference, module))
    call = _calling(target, list(arguments))
    printer = LinePrinter(quiet)
    try:
        with Run(app, app.name or "app", printer):
            call()
    except Error:
        raise
    except Exception:  # noqa: BLE001
        printer.close()
        _print_user_traceback()
        sys.exit(1)
    finally:
        printer.close()


def _choose(found: Reference) -> tuple[App, LocalEntrypoint | Function[Any, Any, Any]]:
    """Return what is to run: what the reference names, else the only entrypoint, else the only function."""
    app = found.app
    if found.name is not None:
        target = app.entrypoints.get(found.name) or app.functions.get(found.name)
        if target is None:
            raise InvalidError(f"{found.where} has no function or entrypoint {found.name!r}; it has {_names(app)}")
        return app, target
    candidates: list[Any] = list(app.entrypoints.values()) or list(app.functions.values())
    if len(candidates) != 1:
        raise InvalidError(f"say which one to run, such as {found.where}::NAME; {found.where} has {_names(app)}")
    return app, candidates[0]


def _names(app: App) -> str:
    names = [*app.entrypoints, *app.functions]
    return ", ".join(names) if names else "none"


def _calling(target: LocalEntrypoint | Function[Any, Any, Any], arguments: list[str]) -> Callable[[], None]:
    raw = target.raw if isinstance(target, LocalEntrypoint) else target.raw_function
    kwargs = _parse(raw, arguments)
    if isinstance(target, Function):
        if target.is_generator:
            raise InvalidError(f"{target.name!r} is a generator function; call it from a local entrypoint")
        remote = target.remote

        def call_function() -> None:
            result = remote(**kwargs)
            if result is not None:
                click.echo(repr(result))

        return call_function

    def call_entrypoint() -> None:
        if inspect.iscoroutinefunction(raw):
            asyncio.run(raw(**kwargs))
        else:
            raw(**kwargs)

    return call_entrypoint


_TYPES: dict[Any, Any] = {int: int, "int": int, float: float, "float": float, str: str, "str": str}


def _parse(raw: Callable[..., Any], arguments: list[str]) -> dict[str, Any]:
    """Parse `--name value` for each of a function's parameters, by their annotations."""
    options: list[click.Parameter] = []
    for parameter in inspect.signature(raw).parameters.values():
        flag = "--" + parameter.name.replace("_", "-")
        needed: dict[str, Any] = (
            {"required": True} if parameter.default is parameter.empty else {"default": parameter.default}
        )
        if parameter.annotation in (bool, "bool"):
            both = f"{flag}/--no-{flag[2:]}"
            options.append(click.Option([both, parameter.name], **needed))
            continue
        kind = _TYPES.get(parameter.annotation)
        if kind is None and parameter.annotation is not parameter.empty:
            raise InvalidError(f"parameter {parameter.name!r} has the unparseable annotation {parameter.annotation!r}")
        options.append(click.Option([flag, parameter.name], type=kind, **needed))
    command = click.Command(raw.__name__, params=options, callback=dict, help=raw.__doc__)
    values = command.main(arguments, prog_name=raw.__name__, standalone_mode=False)
    if not isinstance(values, dict):
        sys.exit(values)  # it has shown its help
    return values


def _print_user_traceback() -> None:
    """Print the current exception without the frames of Modicum itself."""
    kind, error, trace = sys.exc_info()
    assert kind is not None and error is not None
    ours = __file__[: -len("cli/run.py")]
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(ours):
        trace = trace.tb_next
    shown = traceback.TracebackException(kind, error, trace)
    for summary in _chain(shown):
        kept = [frame for frame in summary.stack if not frame.filename.startswith(ours)]
        summary.stack = traceback.StackSummary.from_list(kept)
    click.echo("".join(shown.format()), err=True, nl=False)


def _chain(shown: traceback.TracebackException) -> list[traceback.TracebackException]:
    found: list[traceback.TracebackException] = []
    todo = [shown]
    while todo:
        each = todo.pop()
        found.append(each)
        todo.extend(link for link in (each.__cause__, each.__context__) if link is not None)
    return found
