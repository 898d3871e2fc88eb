"""What a name stands for: the app of that name, the function of it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from modicum.server.records import App
from modicum.wire.channel import RemoteFailure

ENVIRONMENT = "main"
NAMED_MAX = 20
"""A sentence names so many at most."""


def no_app(name: str, known: Iterable[str]) -> RemoteFailure:
    """Return the error for an app that is not deployed."""
    names = sorted(known)
    others = f"deployed are {_listed(names)}" if names else "none is deployed"
    message = f"there is no deployed app {name!r} in the environment {ENVIRONMENT!r}; {nearest(name, names)}{others}"
    return RemoteFailure("not_found", message)


def no_function(app: App, name: str, known: Iterable[str], version: int | None = None) -> RemoteFailure:
    """Return the error for a function that an app does not have. `Model.*` is the class `Model`."""
    kind, asked = ("class", name.removesuffix(".*")) if name.endswith(".*") else ("function", name)
    functions = sorted(each for each in known if not each.endswith(".*"))
    classes = sorted(each.removesuffix(".*") for each in known if each.endswith(".*"))
    alike = classes if kind == "class" else functions
    has = [f"its {plural} are {_listed(names)}" for plural, names in _both(functions, classes) if names]
    which = f"version {version} of the app {app.name!r}" if version is not None else f"the app {app.name!r}"
    where = f"{which} in the environment {ENVIRONMENT!r}"
    rest = "; ".join(has) or "it has no functions"
    return RemoteFailure("not_found", f"{where} has no {kind} {asked!r}; {nearest(asked, alike)}{rest}")


def _both(functions: list[str], classes: list[str]) -> tuple[tuple[str, list[str]], tuple[str, list[str]]]:
    return ("functions", functions), ("classes", classes)


def nearest(name: str, names: Iterable[str]) -> str:
    """Return "did you mean …? " for the name that is most like this one, or nothing."""
    found = difflib.get_close_matches(name, list(names), 1, 0.6)
    return f"did you mean {found[0]!r}? " if found else ""


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - NAMED_MAX} more" if len(names) > NAMED_MAX else ""
    return ", ".join(names[:NAMED_MAX]) + more
