"""What a reference on the command line names: `file.py`, `file.py::name`, or a module with `-m`."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

import click

from modicum import config
from modicum.app import App, LocalEntrypoint
from modicum.cli import tracebacks
from modicum.cli.errors import warn
from modicum.cls import Cls
from modicum.exception import InvalidError, NotFoundError
from modicum.function import Function

if TYPE_CHECKING:
    from modicum._shape import Shape


@dataclass(frozen=True, slots=True)
class Method:
    """A method of a class, whose object is still to be made."""

    cls: Cls
    owner: str
    method: str

    @property
    def name(self) -> str:
        """What it is called on the command line."""
        return f"{self.owner}.{self.method}"

    @property
    def shape(self) -> Shape:
        """What its class is made of."""
        shape = self.cls._shape
        assert shape is not None, "a class of an app that is imported here has its definition here"
        return shape


Target = LocalEntrypoint | Function[Any, Any, Any] | Method


@dataclass(frozen=True, slots=True)
class Reference:
    """An app that was found, and the name behind `::`."""

    app: App
    name: str | None
    where: str
    as_module: bool = False

    def command(self, name: str, verb: str = "run") -> str:
        """Return the command that runs what has this name."""
        before = "-m " if self.as_module else "-- " if self.where.startswith("-") else ""  # else it were an option
        return f"{config.command()} {verb} {before}{self.where}::{name}"


def load(reference: str, as_module: bool) -> Reference:
    """Import what the reference names. Raises `NotFoundError` or `InvalidError` saying what is wrong with it."""
    where, _, name = reference.partition("::")
    if not as_module and _is_module(where):
        as_module = True
        _warn_of_module(reference, where)
    module = _import_module(where) if as_module else _import_file(where)
    app, chosen = _app_of(module, where, name or None)
    return Reference(app, chosen, where, as_module)


def load_app(reference: str, as_module: bool) -> App:
    """Import the app that the reference names. Raises `NotFoundError` if what it names is no app."""
    found = load(reference, as_module)
    if found.name is not None:
        raise NotFoundError(
            f"{found.where} has no app {found.name!r}; leave `::{found.name}` out, an app goes as a whole"
        )
    return found.app


def _warn_of_module(reference: str, where: str) -> None:
    """Older commands named modules so. Raises `InvalidError` where older names are refused."""
    said = f"{where} is a module: write `{config.command()} run -m {reference}`"
    if config.strict_names():
        raise InvalidError(said)
    warn(f"{said}; accepted for compatibility")


def choose(found: Reference, verb: str = "run") -> Target:
    """Return what is to run: what the reference names, else the only entrypoint, else the only function or method.

    For a shell, another `verb`, entrypoints do not count: they run here.
    """
    with_entrypoints = verb == "run"
    entrypoints, callables = found.app.entrypoints if with_entrypoints else {}, _callables(found.app)
    targets: dict[str, Target] = {**callables, **entrypoints}
    if found.name in targets:
        return targets[found.name]
    if found.name is not None and found.name.partition(".")[0] in found.app.classes:
        owner, _, method = found.name.partition(".")
        callables = {name: each for name, each in callables.items() if name.startswith(f"{owner}.")}
        if method not in ("", "*"):
            methods = [name.partition(".")[2] for name in callables]
            raise NotFoundError(_absence(f"the class {owner!r} of {found.where} has no method", method, methods))
        targets = callables
    elif found.name is not None:
        raise NotFoundError(_absence(f"{found.where} has no function or entrypoint", found.name, targets))
    candidates = list(callables.values() if found.name is not None else (entrypoints or callables).values())
    if not candidates:
        raise InvalidError(f"{found.where} has no function and no local entrypoint to run")
    if len(candidates) > 1:
        known = "\n".join(f"  {found.command(name, verb)}" for name in [*entrypoints, *callables] if name in targets)
        raise InvalidError(f"{found.where} has more than one that could be run; say which:\n{known}")
    return candidates[0]


def _callables(app: App) -> dict[str, Target]:
    """Return an app's functions, and the methods of its classes, by name."""
    found: dict[str, Target] = {}
    for name, function in app.functions.items():
        owner, star, _ = name.partition(".*")
        if not star:
            found[name] = function
        elif owner in app.classes:
            for method in app.classes[owner]._service.facts["methods"]:
                found[f"{owner}.{method}"] = Method(app.classes[owner], owner, method)
    return found


def _absence(has_no: str, name: str, there: Iterable[str]) -> str:
    there = list(there)
    return f"{has_no} {name!r}; {_nearest(name, there)}it has {', '.join(there) or 'none'}"


def _nearest(name: str, names: Iterable[str]) -> str:
    import difflib

    close = difflib.get_close_matches(name, list(names), n=1)
    return f"did you mean {close[0]!r}? " if close else ""


def _is_module(where: str) -> bool:
    """Return whether this is no file, but a module that could be found: what `-m` is for."""
    if os.path.exists(where) or where.endswith(".py") or not all(part.isidentifier() for part in where.split(".")):
        return False
    top = where.partition(".")[0]
    return any(os.path.exists(os.path.join(os.getcwd(), each)) for each in (top, f"{top}.py"))


def _import_file(where: str) -> ModuleType:
    path = os.path.abspath(where)
    if not os.path.isfile(path):
        raise NotFoundError(_no_file(where, path))
    if not path.endswith(".py"):
        raise InvalidError(f"{where} is no Python file; its name does not end in .py")
    name = os.path.splitext(os.path.basename(path))[0]
    sys.path.insert(0, os.path.dirname(path))
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InvalidError(f"{where} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    loader = spec.loader
    _executing(where, lambda: loader.exec_module(module))
    return module


def _no_file(where: str, path: str) -> str:
    if os.path.isdir(path):
        return f"{where} is a directory; name a file in it, or a module with `-m`"
    try:
        names = [name for name in os.listdir(os.path.dirname(path)) if name.endswith(".py")]
    except OSError:
        names = []
    near = _nearest(os.path.basename(path), names).replace("? ", "?")
    return f"there is no file {where}; {near or 'to name a module use `-m`'}"


def _import_module(where: str) -> ModuleType:
    if where.endswith(".py") or os.sep in where:
        dotted = where.removesuffix(".py").strip(os.sep).replace(os.sep, ".")
        raise InvalidError(f"{where} is a file; with `-m` name a module, such as {dotted}, or leave `-m` out")
    sys.path.insert(0, os.getcwd())
    _executing(where, lambda: importlib.import_module(where))
    return sys.modules[where]


def _executing(where: str, action: Callable[[], object]) -> None:
    try:
        action()
    except (Exception, SystemExit) as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing is not None and (missing == where or where.startswith(f"{missing}.")):
            raise NotFoundError(f"there is no module {where} here; it is looked for in {os.getcwd()}") from None
        click.echo(tracebacks.shown(error), err=True, nl=False)
        raise InvalidError(f"{where} cannot be imported: {type(error).__name__}: {error}{_advice(error)}") from error


def _advice(error: BaseException) -> str:
    if isinstance(error, ImportError) and str(error).startswith("attempted relative import with no known parent"):
        return f"\nA file that is part of a package runs as a module: `{config.command()} run -m package.module`"
    if not isinstance(error, ModuleNotFoundError) or error.name is None:
        return ""
    package = error.name.partition(".")[0]
    return (
        f"\nYour program is imported here, too. Install {package!r} here or, if only containers need it, import it "
        "inside the function or below `with image.imports():`"
    )


def _app_of(module: ModuleType, where: str, name: str | None) -> tuple[App, str | None]:
    """Return the app of a module, and the name of what is to run in it; `::app` and `::app.name` choose an app."""
    apps = {key: value for key, value in vars(module).items() if isinstance(value, App)}
    if name is not None:
        first, _, rest = name.partition(".")
        if first in apps:
            return apps[first], rest or None
    for usual in ("app", "stub"):  # apps were called stubs once
        if usual in apps:
            return apps[usual], name
    distinct = list({id(app): app for app in apps.values()}.values())
    if len(distinct) == 1:
        return distinct[0], name
    if not distinct:
        raise InvalidError(f"{where} defines no modicum.App; it needs one, such as `app = modicum.App()`")
    raise InvalidError(
        f"{where} defines {len(distinct)} apps and none is named `app`; say which: {where}::{next(iter(apps))}"
    )
