"""`modicum run`: run an app's entrypoint here and its functions in containers."""

from __future__ import annotations

import dataclasses
import errno
import inspect
import os
import sys
from collections.abc import Callable
from typing import Any

import click

from modicum import config
from modicum._running import Run
from modicum.app import App, LocalEntrypoint
from modicum.cli import entrypoints, from_stdin, options, tracebacks
from modicum.cli.errors import wants_traceback
from modicum.cli.reference import Method, Reference, Target, choose, load
from modicum.exception import Error, InvalidError
from modicum.function import Function
from modicum.output import show_on


# Options stand before the reference: what comes behind it is the entrypoint's, whatever it is called.
@click.command(context_settings={"allow_interspersed_args": False})
@click.argument("reference", metavar="REF")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.option(
    "-w", "--write-result", metavar="FILE", help="Write the result, which must be str or bytes, to this file."
)
@click.option("-q", "--quiet", is_flag=True, help="Show only what the program itself prints.")
@click.option("-d", "--detach", is_flag=True, help="Let the app run on when this command ends or loses its terminal.")
@click.option("-i", "--interactive", is_flag=True, help="Let functions use this terminal: breakpoint(), pdb, input().")
@click.option("-n", "--name", metavar="NAME", help="Call the app so, in place of its own name.")
@click.option("-m", "module", is_flag=True, help="REF names a module (pkg.mod), not a file.")
@click.option("--timestamps", is_flag=True, help="Put the time before each line of output.")
@options.environment
def run(
    reference: str,
    arguments: tuple[str, ...],
    write_result: str | None,
    quiet: bool,
    detach: bool,
    interactive: bool,
    name: str | None,
    module: bool,
    timestamps: bool,
) -> None:
    """Run an app: its local entrypoint, or one of its functions in a container.

    REF is `file.py`, or `file.py::name` where there is more than one entrypoint or function; a method is
    `file.py::Class.method`. Behind it stand the arguments: `--x 5` for a parameter x, `--flag` or `--no-flag` for one
    that is a bool; for a method those of its class as well.

    \b
    modicum run my_app.py
    modicum run my_app.py::process --x 5
    modicum run my_app.py::Model.generate --prompt hello
    modicum run -m my_package.my_module --help
    cat my_app.py | modicum run -
    """
    if write_result is not None:
        _check_writable(write_result)
    found = _found(reference, module)
    target = choose(found)
    call = calling(target, list(arguments), found.command(target.name), detach)
    app_name = App(name).name if name is not None else found.app.name  # the App checks the name
    running = Run(found.app, app_name or "app", detach=detach, interactive=interactive)
    with _user_errors_shown(), show_on(quiet=quiet, timestamps=timestamps), running as app:
        if detach and not quiet:
            click.echo(f"Detached: it runs on without this command; `{_stopping(app)}` ends it", err=True)
        result = call()
        if write_result is not None:
            _write(result, write_result, target.name)


def _found(reference: str, module: bool) -> Reference:
    if not from_stdin.is_meant(reference):
        return load(reference, module)
    return dataclasses.replace(load(from_stdin.saved(reference, module), module), where=from_stdin.STDIN)


def _stopping(app: App) -> str:
    return f"{config.command()} app stop {app.app_id}"


def calling(target: Target, texts: list[str], called: str, detach: bool = False) -> Callable[[], Any]:
    """Return what calls an entrypoint here or a function in a container, with the arguments that the texts mean.

    A function that is detached is spawned: its input is stored, and lives on without us.
    """
    if isinstance(target, Method):
        return _calling_method(target, texts, called, detach)
    raw = target.raw if isinstance(target, LocalEntrypoint) else target.raw_function
    args, kwargs = entrypoints.parse(raw, texts, called)
    if isinstance(target, Function):
        return _remotely(target, args, kwargs, detach)
    if inspect.iscoroutinefunction(raw):
        import asyncio  # 40 ms, for those who need it

        return lambda: asyncio.run(raw(*args, **kwargs))
    return lambda: raw(*args, **kwargs)


def _calling_method(target: Method, texts: list[str], called: str, detach: bool) -> Callable[[], Any]:
    """Make the object with those of the arguments that are its class's."""
    method = target.shape.methods[target.method].raw.__get__(target)  # `self` is no argument on the command line
    args, kwargs = entrypoints.parse(method, texts, called, target.shape.parameters)
    parameters = {name: kwargs.pop(name) for name in target.shape.parameters if name in kwargs}
    return _remotely(getattr(target.cls(**parameters), target.method), args, kwargs, detach)


def _remotely(target: Function[Any, Any, Any], args: Any, kwargs: Any, detach: bool) -> Callable[[], Any]:
    if target.is_generator:
        raise InvalidError(
            f"{target.name!r} is a generator function, which cannot be run by name; write a local entrypoint that "
            f"iterates over `{target.name}.remote_gen(…)`"
        )
    if detach:
        return lambda: _printed(target.spawn(*args, **kwargs).get())
    return lambda: _printed(target.remote(*args, **kwargs))


def _printed(result: Any) -> Any:
    if result is not None:
        click.echo(repr(result))
    return result


def _check_writable(path: str) -> None:
    """Refuse, before anything runs for it, a file that cannot be written; none is made, nor a pipe opened, as yet."""
    folder = os.path.dirname(path) or "."
    if os.path.isdir(path) or path.endswith("/"):
        why = errno.EISDIR
    elif not os.path.isdir(folder):
        why = errno.ENOTDIR if os.path.exists(folder) else errno.ENOENT
    elif not os.access(path if os.path.exists(path) else folder, os.W_OK):
        why = errno.EACCES
    else:
        return
    raise _cannot_be_written(path, os.strerror(why))


def _cannot_be_written(path: str, why: str | None) -> InvalidError:
    return InvalidError(f"the result cannot be written to {path}: {why}")


def _write(result: Any, path: str, name: str) -> None:
    if not isinstance(result, str | bytes):
        raise InvalidError(f"{name!r} returned a {type(result).__name__}; --write-result takes str or bytes")
    try:
        with open(path, "wb") as file:
            file.write(result.encode() if isinstance(result, str) else result)
    except OSError as error:
        raise _cannot_be_written(path, error.strerror) from None


class _user_errors_shown:  # noqa: N801 - it is used as a function
    """Shows what the user's program raised as Python would, without our frames, and ends with 1."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if not isinstance(error, Exception) or isinstance(error, click.ClickException | BrokenPipeError):
            return  # click itself sees to the latter, which is no fault of the program's
        if wants_traceback():
            return
        if isinstance(error, Error) and not tracebacks.passed_through_user_code(error):
            return
        click.echo(tracebacks.shown(error), err=True, nl=False)
        sys.exit(1)
