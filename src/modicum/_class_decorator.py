"""How a class becomes one of an app: what `@app.cls(…)` does with it."""

from __future__ import annotations

from modicum._shape import Shape, check
from modicum.cls import Cls
from modicum.exception import InvalidError
from modicum.function import Function
from modicum.options import Options
from modicum.partial_function import PartialFunction

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from modicum.app import App


class ClassDecorator:
    """What `@app.cls(…)` gives: applied to a class, it makes a `Cls`."""

    def __init__(self, app: App, settings: dict[str, Any]) -> None:
        self._app = app
        self._settings = settings
        self._options = Options(settings)

    def __call__(self, raw: Any) -> Any:
        partial = raw if isinstance(raw, PartialFunction) else PartialFunction(raw)
        kind: Any = partial.raw
        settings = self._settings
        _check_kind(kind, settings["serialized"])
        shape = Shape(kind)
        check(shape, settings["enable_memory_snapshot"])
        service: Function[Any, Any, Any] = Function(
            kind,
            f"{kind.__name__}.*",
            self._options.decorated(partial.concurrency, shape.batching),
            settings["image"],
            is_generator=False,
            is_async=False,
            serialized=settings["serialized"],
            include_source=settings["include_source"],
            app=self._app,
        )
        service.facts = shape.describe()
        cls = Cls(kind.__name__, service, shape)
        self._app.register(service)
        self._app.register_class(kind.__name__, cls)
        return cls


def _check_kind(kind: Any, serialized: bool) -> None:
    """Raise an error for what no container could find again."""
    if isinstance(kind, Cls):
        raise InvalidError(f"{kind._name!r} is decorated already; to have it in two apps use app.include()")
    if not isinstance(kind, type):
        raise TypeError(f"@app.cls() decorates a class, not {kind!r}")
    if serialized:
        return
    if "<locals>" in kind.__qualname__:
        raise InvalidError(
            f"{kind.__qualname__!r} is defined inside a function, so a container cannot import it; move it to the "
            "module's top level or use @app.cls(serialized=True)"
        )
    if not kind.__qualname__.isidentifier():
        raise InvalidError(f"{kind.__qualname__!r} is defined inside a class; move it to the module's top level")


__all__ = ["ClassDecorator"]
