"""How a function of a program becomes one of an app, and which cannot."""

from __future__ import annotations

from modicum import options
from modicum.entrypoint import LocalEntrypoint
from modicum.exception import InvalidError
from modicum.function import Function

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any, ParamSpec, TypeVar, overload

    from modicum.app import App
    from modicum.partial_function import PartialFunction

    P = ParamSpec("P")
    R = TypeVar("R")


class FunctionDecorator:
    """What `@app.function(…)` gives: applied to a function, it makes a `Function`."""

    def __init__(self, app: App, settings: dict[str, Any]) -> None:
        self._app = app
        self._settings = settings
        self._options = options.Options(settings)

    if TYPE_CHECKING:

        @overload
        def __call__(self, raw: PartialFunction[P, R, Any]) -> Function[P, R, Any]: ...
        @overload
        def __call__(self, raw: Callable[P, Coroutine[Any, Any, R]]) -> Function[P, R, Coroutine[Any, Any, R]]: ...
        @overload
        def __call__(self, raw: Callable[P, R]) -> Function[P, R, R]: ...

    def __call__(self, raw: Any) -> Any:
        partial = None if hasattr(raw, "__code__") else _partial(raw)
        raw = raw if partial is None else partial.raw
        flags = self._check(raw)
        settings = self._settings
        is_generator = bool(flags & 0x220) if settings["is_generator"] is None else settings["is_generator"]
        if is_generator and settings["retries"] is not None:
            raise InvalidError(f"{raw.__qualname__!r} is a generator function: it cannot have retries; leave them out")
        if settings["schedule"] is not None:
            _check_scheduled(raw, is_generator)
        function: Function[Any, Any, Any] = Function(
            raw,
            settings["name"] or raw.__qualname__,
            self._options if partial is None else self._options.decorated(partial.concurrency, partial.batching),
            settings["image"],
            is_generator=is_generator,
            is_async=bool(flags & 0x280),
            serialized=settings["serialized"],
            include_source=settings["include_source"],
            app=self._app,
        )
        if partial is not None and partial.batching is not None:
            function.facts = {"batched": True}
        self._app.register(function)
        return function

    def _check(self, raw: Any) -> int:
        """Return the flags of a function's code. Raises `InvalidError` for what a container could not find again."""
        if isinstance(raw, Function):
            raise InvalidError(f"{raw.name!r} is decorated already; to have it in two apps use app.include()")
        if isinstance(raw, LocalEntrypoint):
            raise InvalidError(f"{raw.name!r} is a local entrypoint: it runs in your own process, not in a container")
        flags = getattr(getattr(raw, "__code__", None), "co_flags", None)
        if isinstance(raw, type):
            raise InvalidError(f"@app.function() decorates a function, not the class {raw.__name__!r}; use @app.cls()")
        if flags is None:
            raise InvalidError(f"@app.function() decorates a function, not {type(raw).__name__}")
        if self._settings["serialized"]:
            return int(flags)
        if "<locals>" in raw.__qualname__:
            raise InvalidError(
                f"{raw.__qualname__!r} is defined inside a function, so a container cannot import it; move it to the "
                "module's top level or use @app.function(serialized=True)"
            )
        if raw.__qualname__.replace(".", "").isidentifier() and "." in raw.__qualname__:
            raise InvalidError(
                f"{raw.__qualname__!r} is a method: decorate it with @modal.method(), and its class with @app.cls()"
            )
        if not raw.__qualname__.isidentifier():
            raise InvalidError(
                f"{raw.__qualname__!r} cannot be imported by name in a container: @app.function() decorates functions "
                "that are defined with `def` at the top level of a module"
            )
        return int(flags)


def _check_scheduled(raw: Any, is_generator: bool) -> None:
    from modicum.schedule import check_nullary

    check_nullary(raw)
    if is_generator:
        raise InvalidError(f"{raw.__qualname__!r} is a generator function: it cannot have a schedule, nobody reads it")


def _partial(raw: object) -> PartialFunction[Any, Any, Any] | None:
    """Return what other decorators say of a function, None if there are none. Raises `InvalidError` for a method's."""
    from modicum.partial_function import PartialFunction

    if not isinstance(raw, PartialFunction):
        return None
    if raw.roles:
        raise InvalidError(
            f"{raw.name!r} has @modal.{raw.roles[0]}, which is for the methods of a class with @app.cls(), not for "
            "functions"
        )
    return raw
