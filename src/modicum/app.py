"""What an app is: functions that are deployed and run together."""

from __future__ import annotations

import re

from modicum import _context
from modicum.exception import InvalidError
from modicum.function import Function, Options
from modicum.image import Image

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any, ParamSpec, TypeVar, overload

    from modicum._running import Run

    P = ParamSpec("P")
    R = TypeVar("R")

_NAME = re.compile(r"[a-zA-Z0-9._-]{1,64}")


class App:
    """A group of functions under one name.

        app = modicum.App("my-app")

        @app.function()
        def double(x: int) -> int:
            return 2 * x

    `image` is the default image of its functions. Raises `InvalidError` for a name that is not 1 to 64 characters of
    letters, digits, `.`, `_` and `-`.
    """

    def __init__(self, name: str | None = None, *, image: Image | None = None) -> None:
        if name is not None and (not isinstance(name, str) or not _NAME.fullmatch(name)):
            raise InvalidError(f"{name!r} is no name for an app: 1 to 64 letters, digits, '.', '_' or '-'")
        _check_image(image)
        self.name = name
        self._image = image
        self._functions: dict[str, Function[Any, Any, Any]] = {}
        self._entrypoints: dict[str, LocalEntrypoint] = {}
        self._app_id: str | None = None

    @property
    def app_id(self) -> str | None:
        """The id (`ap-…`) under which the app runs, None while it does not."""
        return self._app_id if self._app_id is not None else _context.app

    @property
    def functions(self) -> dict[str, Function[Any, Any, Any]]:
        """The app's functions by name."""
        return dict(self._functions)

    @property
    def entrypoints(self) -> dict[str, LocalEntrypoint]:
        """The app's local entrypoints by name."""
        return dict(self._entrypoints)

    def function(
        self,
        *misplaced: object,
        image: Image | None = None,
        name: str | None = None,
        is_generator: bool | None = None,
        serialized: bool = False,
        min_containers: int | None = None,
        max_containers: int | None = None,
        scaledown_window: int | None = None,
        timeout: int = 300,
        startup_timeout: int | None = None,
    ) -> _FunctionDecorator:
        """Decorate a function so that it can run in containers.

        `image` is what its containers are made of (by default the app's, else `Image.debian_slim()`). Containers start
        as inputs come, at most `max_containers`, at least `min_containers` while the app runs, and end after
        `scaledown_window` seconds (2 to 3600, 60 if not given) without work. `timeout` limits each input's run and
        `startup_timeout` (by default the same) a container's start, in seconds. `serialized` ships the function itself
        in place of its module's file; `name` is its name in the app.
        """
        if misplaced:
            raise TypeError("write the decorator with parentheses, @app.function(), and its parameters by name")
        options = Options(min_containers, max_containers, scaledown_window, timeout, startup_timeout)
        _check_image(image)
        return _FunctionDecorator(self, options, image, name, is_generator, serialized)

    def local_entrypoint(
        self, *misplaced: object, name: str | None = None
    ) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Decorate the function that `modicum run` calls in your own process while the app runs."""
        if misplaced:
            raise TypeError("write the decorator with parentheses: @app.local_entrypoint()")

        def decorate(raw: Callable[P, R]) -> Callable[P, R]:
            tag = name or raw.__name__
            if tag in self._entrypoints:
                raise InvalidError(f"the app has a local entrypoint {tag!r} already")
            entrypoint = self._entrypoints[tag] = LocalEntrypoint(raw, tag, self)
            return entrypoint

        return decorate

    def run(self, *, name: str | None = None) -> Run:
        """Run the app while the block lasts: `with app.run():`, or `async with app.run():`.

        At its end all its containers are gone. Raises `InvalidError` if the app runs already or this is a container.
        """
        from modicum._running import Run  # a container runs no apps

        return Run(self, name or self.name or "app")

    def register(self, function: Function[Any, Any, Any]) -> None:
        """Add a function; one of the same name is replaced, with a warning."""
        if function.name in self._functions and _context.is_local():
            import warnings

            warnings.warn(
                f"the app has two functions named {function.name!r}; the later one replaces the earlier", stacklevel=3
            )
        self._functions[function.name] = function
        function.app = self

    def image_of(self, function: Function[Any, Any, Any]) -> Image:
        """Return the image that a function's containers are made of."""
        return function.image or self._image or Image.debian_slim()

    def set_running(self, app_id: str | None) -> None:
        """Note under which id the app runs now."""
        self._app_id = app_id


def _check_image(image: object) -> None:
    if image is None or isinstance(image, Image):
        return
    hint = "; call it: Image.debian_slim()" if callable(image) else ""
    raise InvalidError(f"image must be a modicum.Image, not {image!r}{hint}")


class LocalEntrypoint:
    """A function that runs in the user's own process; calling it is calling the function."""

    def __init__(self, raw: Callable[..., Any], name: str, app: App) -> None:
        self.raw = raw
        self.name = name
        self.app = app
        self.__doc__ = raw.__doc__
        self.__name__ = name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.raw(*args, **kwargs)


class _FunctionDecorator:
    """What `@app.function(…)` gives: applied to a function, it makes a `Function`."""

    def __init__(
        self,
        app: App,
        options: Options,
        image: Image | None,
        name: str | None,
        is_generator: bool | None,
        serialized: bool,
    ) -> None:
        self._app = app
        self._options = options
        self._image = image
        self._name = name
        self._is_generator = is_generator
        self._serialized = serialized

    if TYPE_CHECKING:

        @overload
        def __call__(self, raw: Callable[P, Coroutine[Any, Any, R]]) -> Function[P, R, Coroutine[Any, Any, R]]: ...
        @overload
        def __call__(self, raw: Callable[P, R]) -> Function[P, R, R]: ...

    def __call__(self, raw: Callable[..., Any]) -> Any:
        flags = getattr(getattr(raw, "__code__", None), "co_flags", None)
        if flags is None:
            raise InvalidError(f"@app.function() decorates a function, not {type(raw).__name__}")
        if not self._serialized and "<locals>" in raw.__qualname__:
            raise InvalidError(
                f"{raw.__qualname__!r} is defined inside a function, so a container cannot import it; move it to the "
                "module's top level or use @app.function(serialized=True)"
            )
        if not self._serialized and not raw.__qualname__.isidentifier():
            raise InvalidError(
                f"{raw.__qualname__!r} cannot be imported by name in a container: @app.function() decorates functions "
                "that are defined with `def` at the top level of a module"
            )
        is_generator = bool(flags & 0x220) if self._is_generator is None else self._is_generator
        function: Function[Any, Any, Any] = Function(
            raw,
            self._name or raw.__qualname__,
            self._options,
            self._image,
            is_generator=is_generator,
            is_async=bool(flags & 0x280),
            serialized=self._serialized,
        )
        self._app.register(function)
        return function


__all__ = ["App", "LocalEntrypoint"]
