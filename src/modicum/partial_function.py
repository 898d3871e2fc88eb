"""What the decorators below `@app.function` and `@app.cls` say of a function, a method or a class."""

from __future__ import annotations

from modicum._types import Generic, O, P, R
from modicum.exception import InvalidError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any, Concatenate, Protocol, Self, TypeVar, overload

    from modicum.function import Function

    F = TypeVar("F", bound=Callable[..., Any])
    V = TypeVar("V")

METHOD, ENTER, ENTER_SNAPSHOT, EXIT = "method", "enter", "enter(snap=True)", "exit"
"""What a method of a class is for."""

_GENERATORS, _COROUTINES, _VARIADIC = 0x220, 0x280, 0x0C
"""Flags of a function's code: it makes a generator, of either kind; it is async, of either kind; it has `*args`."""


class PartialFunction(Generic[P, R, O]):
    """A function, method or class of which decorators have said something. `@app.function` or `@app.cls` takes it."""

    def __init__(self, raw: Callable[..., Any]) -> None:
        self.raw = raw
        self.name: str = getattr(raw, "__name__", repr(raw))
        self.roles: list[str] = []
        self.is_generator = has_flags(raw, _GENERATORS)
        self.is_async = has_flags(raw, _COROUTINES)
        self.concurrency: dict[str, Any] | None = None
        self.batching: dict[str, Any] | None = None
        for attribute in ("__doc__", "__module__", "__name__", "__qualname__"):
            setattr(self, attribute, getattr(raw, attribute, None))

    @property
    def is_method(self) -> bool:
        """Whether it can be called from outside of its class."""
        return METHOD in self.roles or self.batching is not None

    @property
    def is_hook(self) -> bool:
        """Whether it runs at the beginning or the end of a container."""
        return any(role != METHOD for role in self.roles)

    def take_role(self, role: str) -> None:
        """Say what the method is for. Raises `InvalidError` if it has a role that does not go with it."""
        if role in self.roles:
            raise InvalidError(f"{self.name!r} has @modal.{role} twice")
        self.roles.append(role)
        self._check()

    def take_settings(self, what: str, settings: dict[str, Any]) -> None:
        """Say how inputs are run ("concurrency" or "batching"). Raises `InvalidError` if that is known already."""
        if getattr(self, what) is not None:
            raise InvalidError(f"the {what} of {self.name!r} is set twice: leave one of the two out")
        setattr(self, what, settings)
        self._check()

    def _check(self) -> None:
        if self.is_method and self.is_hook:
            raise InvalidError(
                f"{self.name!r} cannot be called and be a hook of its container's life as well: @modal.method and "
                "@modal.batched do not go together with @modal.enter and @modal.exit"
            )

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    if TYPE_CHECKING:

        @overload
        def __get__(self, instance: None, owner: type) -> Self: ...
        @overload
        def __get__(self, instance: object, owner: type) -> Function[P, R, O]: ...

    def __get__(self, instance: Any, owner: type) -> Any:
        """Return a class's method as the function that it is for callers; what is only a hook, as it was written."""
        if instance is None:
            return self
        function = getattr(instance, "__dict__", {}).get("_modicum_functions", {}).get(self.name)
        if function is not None and function.raw_function is self.raw:
            return function
        return self.raw.__get__(instance, owner)  # a hook, or `super().method`

    def __call__(self, *args: object, **kwargs: object) -> None:
        """Raise `InvalidError`: its class or function has no app."""
        raise InvalidError(
            f"{self.name!r} cannot be called yet: it has to be decorated with @app.function(), or its class with "
            "@app.cls()"
        )


def has_flags(raw: object, flags: int) -> bool:
    """Return whether the code of a function has any of these flags."""
    return bool(getattr(getattr(raw, "__code__", None), "co_flags", 0) & flags)


def is_async(raw: object) -> bool:
    """Return whether a function is async, a generator or not."""
    return has_flags(raw, _COROUTINES)


def check_batched(name: str, raw: Any, is_generator: bool) -> None:
    """Raise `InvalidError` if inputs of a function cannot be taken together."""
    if is_generator:
        raise InvalidError(f"{name!r} is a generator function, which cannot be @modal.batched: it returns no list")
    while hasattr(raw, "__wrapped__"):  # by a decorator of another library
        raw = raw.__wrapped__
    if has_flags(raw, _VARIADIC):
        raise InvalidError(f"{name!r} is @modal.batched: it cannot have *args or **kwargs, but parameters with names")
    if getattr(raw, "__defaults__", None) or getattr(raw, "__kwdefaults__", None):
        raise InvalidError(f"{name!r} is @modal.batched: its parameters, which become lists, cannot have defaults")


def _partial(decorator: str, raw: Any, of_class: bool = False) -> Any:
    """Return `raw` with what decorators below have said of it. Raises `InvalidError` for what cannot be decorated."""
    if isinstance(raw, PartialFunction):
        partial: PartialFunction[Any, Any, Any] = raw
        raw = raw.raw
    else:
        partial = PartialFunction(raw)
    taken = {"modicum.function": "@app.function()", "modicum.cls": "@app.cls()"}.get(type(raw).__module__)
    if taken is not None:
        raise InvalidError(f"@modal.{decorator} cannot stand above {taken}; swap the two")
    if isinstance(raw, type) and not of_class:
        raise InvalidError(f"@modal.{decorator} decorates a method, not the class {raw.__name__!r}")
    if isinstance(raw, (staticmethod, classmethod)) or not callable(raw):
        raise InvalidError(f"@modal.{decorator} decorates a method with `self` or a function, not {raw!r}")
    return partial


def _no_parentheses(decorator: str, misplaced: tuple[object, ...]) -> None:
    if misplaced:
        raise TypeError(f"write the decorator with parentheses, @modal.{decorator}(…), and its parameters by name")


if TYPE_CHECKING:

    class MethodDecorator(Protocol):
        """What `modal.method()` gives."""

        @overload
        def __call__(
            self, raw: Callable[Concatenate[Any, P], Coroutine[Any, Any, V]]
        ) -> PartialFunction[P, V, Coroutine[Any, Any, V]]: ...
        @overload
        def __call__(self, raw: Callable[Concatenate[Any, P], V]) -> PartialFunction[P, V, V]: ...


def method(*misplaced: object, is_generator: bool | None = None) -> MethodDecorator:
    """Decorate a method of an `@app.cls()` so that it can be called from outside: `Model().generate.remote(x)`.

    `is_generator` says whether it returns a generator, where that cannot be seen. Raises `InvalidError` for what is no
    method.
    """
    _no_parentheses("method", misplaced)

    def decorate(raw: Any) -> Any:
        partial = _partial("method", raw)
        if is_generator is not None:
            partial.is_generator = is_generator
        partial.take_role(METHOD)
        return partial

    return decorate


def enter(*misplaced: object, snap: bool = False) -> Callable[[F], F]:
    """Decorate a method that runs when a container has started, before its first input. It may be async.

    Those of base classes come first. With `snap=True` it comes before those without; it needs
    `@app.cls(enable_memory_snapshot=True)`.
    """
    _no_parentheses("enter", misplaced)
    hook: Callable[[F], F] = _hook("enter", ENTER_SNAPSHOT if snap else ENTER)
    return hook


def exit(*misplaced: object) -> Callable[[F], F]:  # noqa: A001 - it is Modal's name
    """Decorate a method that runs when a container is to end, after its last input. It may be async.

    All of a container's have 30 seconds in all.
    """
    _no_parentheses("exit", misplaced)
    hook: Callable[[F], F] = _hook("exit", EXIT)
    return hook


def _hook(decorator: str, role: str) -> Any:
    def decorate(raw: Any) -> Any:
        partial = _partial(decorator, raw)
        partial.take_role(role)
        return partial

    return decorate


def batched(
    *misplaced: object, max_batch_size: int, wait_ms: int
) -> Callable[[Callable[..., Any]], PartialFunction[..., Any, Any]]:
    """Decorate a function, or the one method of a class, that runs several inputs at once: its arguments are lists.

    It runs as soon as `max_batch_size` inputs (1 to 1000) have come or `wait_ms` milliseconds (0 to 600,000) have gone
    by since the first. It is called with single values; each parameter gets the list of them, and a list of as many
    results must be returned, in the same order. What it raises is raised for all of the batch.
    """
    _no_parentheses("batched", misplaced)
    from modicum.options import read_batching

    settings = read_batching(max_batch_size, wait_ms)

    def decorate(raw: Any) -> Any:
        partial = _partial("batched", raw)
        check_batched(partial.name, partial.raw, partial.is_generator)
        partial.take_settings("batching", settings)
        return partial

    return decorate


def concurrent(*misplaced: object, max_inputs: int | None = None, target_inputs: int | None = None) -> Callable[[F], F]:
    """Decorate a function or a class whose containers run several inputs at once, `max_inputs` at most.

    Async functions run as tasks of one event loop, others in threads. Containers are started for `target_inputs` in
    each (by default `max_inputs`). It stands below `@app.function()` or `@app.cls()`.
    """
    _no_parentheses("concurrent", misplaced)
    from modicum.options import read_concurrency

    settings = read_concurrency("@modal.concurrent", max_inputs, target_inputs)

    def decorate(raw: Any) -> Any:
        partial = _partial("concurrent", raw, of_class=True)
        partial.take_settings("concurrency", settings)
        return partial

    return decorate


__all__ = ["PartialFunction", "batched", "concurrent", "enter", "exit", "method"]
