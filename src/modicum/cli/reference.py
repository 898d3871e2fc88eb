"""What a reference on the command line names: `file.py`, `file.py::name`, or a module with `-m`."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import traceback
from dataclasses import dataclass
from types import ModuleType

import click

from modicum.app import App
from modicum.exception import InvalidError, NotFoundError


@dataclass(frozen=True, slots=True)
class Reference:
    """An app that was found, and the name behind `::`."""

    app: App
    name: str | None
    where: str


def load(reference: str, as_module: bool) -> Reference:
    """Import what the reference names. Raises `NotFoundError` or `InvalidError` saying what is wrong with it."""
    where, _, name = reference.partition("::")
    module = _import_module(where) if as_module else _import_file(where)
    return Reference(_app_of(module, where), name or None, where)


def _import_file(where: str) -> ModuleType:
    path = os.path.abspath(where)
    if not os.path.isfile(path):
        raise NotFoundError(f"there is no file {where}; to name a module use `-m`")
    name = os.path.splitext(os.path.basename(path))[0]
    sys.path.insert(0, os.path.dirname(path))
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InvalidError(f"{where} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    _executing(where, lambda: spec.loader.exec_module(module))
    return module


def _import_module(where: str) -> ModuleType:
    sys.path.insert(0, os.getcwd())
    _executing(where, lambda: importlib.import_module(where))
    return sys.modules[where]


def _executing(where: str, action: object) -> None:
    try:
        action()  # type: ignore[operator]
    except (Exception, SystemExit) as error:
        shown = traceback.TracebackException.from_exception(error)
        ours = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        kept = [f for f in shown.stack if not f.filename.startswith((ours, "<frozen importlib"))]
        shown.stack = traceback.StackSummary.from_list(kept)
        click.echo("".join(shown.format()), err=True, nl=False)
        raise InvalidError(f"{where} cannot be imported: {type(error).__name__}: {error}") from error


def _app_of(module: ModuleType, where: str) -> App:
    apps = [value for value in vars(module).values() if isinstance(value, App)]
    distinct = list({id(app): app for app in apps}.values())
    named = getattr(module, "app", None)
    if isinstance(named, App):
        return named
    if len(distinct) == 1:
        return distinct[0]
    if not distinct:
        raise InvalidError(f"{where} defines no modicum.App; it needs one, such as `app = modicum.App()`")
    raise InvalidError(f"{where} defines {len(distinct)} apps and none is named `app`")
