"""How the agent finds the function that its container is for."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any

    from modicum.agent.link import Link


def load(spec: dict[str, Any], serialized: bytes | None) -> Callable[..., Any]:
    """Return the plain function that `spec` names. Raises what importing the user's module raises."""
    _prepare()
    if serialized is not None:
        from modicum.wire.values import loads

        return loads(serialized)  # type: ignore[no-any-return]
    try:
        module = _import(spec["module"])
    except BaseException as error:
        _note(error, spec)
        raise
    return _find(module, spec)


def load_class(spec: dict[str, Any], serialized: bytes | None) -> Any:
    """Return the `Cls` that `spec` names. Raises what importing the user's module raises."""
    from modicum.cls import Cls

    found = load(spec, serialized)
    if isinstance(found, Cls):
        return found
    # It was sent without its module, or is decorated elsewhere.
    from modicum._shape import Shape
    from modicum.function import Function

    kind: Any = found
    options: Any = None
    service: Function[Any, Any, Any] = Function(kind, spec["name"], options, None, False, False, serialized is not None)
    return Cls(kind.__name__, service, Shape(kind))


def find(module: str, qualname: str) -> Callable[..., Any]:
    """Return a function of the user's program for a step of a build."""
    _prepare()
    found = _within(_import(module), qualname)
    return getattr(found, "raw_function", found)  # type: ignore[no-any-return]


def whole(link: Link, first: bytes, size: int) -> bytes:
    """Return a serialized function whose first part has come."""
    code = first
    while len(code) < size:
        ((header, part),) = link.request((({"t": "agent.code", "offset": len(code)}, b""),))
        if not part:
            raise RuntimeError(f"the function's code did not come: {header}")
        code += part
    return code


def _prepare() -> None:
    from modicum import _alias

    _alias.install_as_modal()
    _prefer_newer_cloudpickle()


def _import(name: str) -> ModuleType:
    __import__(name)  # importlib.import_module would be a frame in the user's traceback
    return sys.modules[name]


def _within(module: ModuleType, qualname: str) -> Any:
    found: Any = module
    for part in qualname.split("."):
        found = getattr(found, part)
    return found


def _find(module: ModuleType, spec: dict[str, Any]) -> Callable[..., Any]:
    """Return the plain function in its module."""
    try:
        found = _within(module, spec["qualname"])
    except AttributeError:
        from modicum.exception import ExecutionError

        raise ExecutionError(
            f"the module {spec['module']!r} has no {spec['qualname']!r} when a container imports it, so "
            f"{spec.get('name')!r} cannot run there; define it at the module's top level, not below `if __name__ == "
            '"__main__":` or `if modal.is_local():`'
        ) from None
    if spec.get("class"):
        _raise_failed_imports(getattr(found, "_service", None))
        return found  # type: ignore[no-any-return]
    _raise_failed_imports(found)
    return getattr(found, "raw_function", found)  # type: ignore[no-any-return]


def _raise_failed_imports(function: Any) -> None:
    """Raise what an `imports()` block of this container's image let pass: here it had to succeed."""
    app = getattr(function, "app", None)
    image = app.image_of(function) if app is not None else None
    for error in image.failed_imports if image is not None else ():
        raise error


def _note(error: BaseException, spec: dict[str, Any]) -> None:
    """Say on an error of the user's module which function could not be loaded for it, and what may help."""
    here = "{}.{}".format(*sys.version_info)
    name, theirs = spec.get("name"), spec.get("python", here)
    text = f"The module {spec['module']!r} cannot be imported in a container, as its function {name!r} needs"
    if isinstance(error, SyntaxError) and here != theirs:
        text += (
            f"; Python is {here} there and {theirs} in your own process: write what both understand, or choose "
            f"the image's, such as Image.debian_slim(python_version={theirs!r})"
        )
    else:
        text += "; what runs when it is imported must be able to run there, too, or stand below `if modal.is_local():`"
    notes = [*getattr(error, "__notes__", ()), text]
    error.__notes__ = notes  # type: ignore[attr-defined,unused-ignore]  # Python 3.10 has no add_note


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
