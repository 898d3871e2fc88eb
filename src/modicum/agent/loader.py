"""How the agent finds the function that its container is for."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def load(spec: dict[str, Any], serialized: bytes | None) -> Callable[..., Any]:
    """Return the plain function that `spec` names. Raises what importing the user's module raises."""
    _prepare()
    if serialized is not None:
        from modicum.wire.values import loads

        return loads(serialized)  # type: ignore[no-any-return]
    found = _import(spec["module"], spec["qualname"])
    _raise_failed_imports(found)
    return getattr(found, "raw_function", found)  # type: ignore[no-any-return]


def find(module: str, qualname: str) -> Callable[..., Any]:
    """Return a function of the user's program for a step of a build."""
    _prepare()
    found = _import(module, qualname)
    return getattr(found, "raw_function", found)  # type: ignore[no-any-return]


def _prepare() -> None:
    from modicum import _alias

    _alias.install_as_modal()
    _prefer_newer_cloudpickle()


def _import(module: str, qualname: str) -> Any:
    import importlib

    found: Any = importlib.import_module(module)
    for part in qualname.split("."):
        found = getattr(found, part)
    return found


def _raise_failed_imports(function: Any) -> None:
    """Raise what an `imports()` block of this container's image let pass: here it had to succeed."""
    app = getattr(function, "app", None)
    image = app.image_of(function) if app is not None else None
    for error in image.failed_imports if image is not None else ():
        raise error


def _prefer_newer_cloudpickle() -> None:
    """The user's own cloudpickle comes first on the path; ours wins if it is newer."""
    ours = sys.path[-1]
    theirs = next((p for p in sys.path[:-1] if os.path.isdir(os.path.join(p, "cloudpickle"))), None)
    if theirs is None:
        return
    import cloudpickle

    used = _version(cloudpickle.__version__)
    sys.path.insert(0, ours)
    loaded = {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] == "cloudpickle"}
    import cloudpickle as bundled

    sys.path.pop(0)
    if _version(bundled.__version__) <= used:
        sys.modules.update(loaded)


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdigit())
