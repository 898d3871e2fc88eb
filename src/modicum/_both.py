"""How a method that is written once as an operation gets a blocking form and an async one, `.aio`."""

from __future__ import annotations

import sys

from modicum import _blocking
from modicum._types import Generic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
    from inspect import Signature
    from typing import Any, Concatenate, ParamSpec, TypeVar, overload

    from modicum._exchange import Operation

    _P = ParamSpec("_P")
    _S = TypeVar("_S")
    _T = TypeVar("_T")
else:
    _P = _S = _T = None


class _Shown:
    """What looks from outside like the method that it is made of."""

    __slots__ = ()

    @property
    def __signature__(self) -> Signature:
        """What `inspect.signature` and `help` show."""
        from inspect import signature

        return signature(self._method)  # type: ignore[attr-defined]


class Both(_Shown, Generic[_P, _T]):
    """A bound method: call it to block, call its `aio` for a coroutine."""

    __slots__ = ("_method",)

    def __init__(self, operation: Callable[_P, Operation[_T]]) -> None:
        self._method = operation

    def __call__(self, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        warn_in_loop()
        return _blocking.run(self._method(*args, **kwargs))

    def aio(self, *args: _P.args, **kwargs: _P.kwargs) -> Coroutine[Any, Any, _T]:
        """The same, as a coroutine."""
        from modicum import _async

        return _async.run(self._method(*args, **kwargs))


class both(_Shown, Generic[_S, _P, _T]):  # noqa: N801 - it is used as a decorator
    """Decorates a method that returns an operation."""

    def __init__(self, method: Callable[Concatenate[_S, _P], Operation[_T]]) -> None:
        self._method = method
        self.__doc__ = method.__doc__

    if TYPE_CHECKING:

        @overload
        def __get__(self, instance: None, owner: type) -> both[_S, _P, _T]: ...
        @overload
        def __get__(self, instance: _S, owner: type) -> Both[_P, _T]: ...

    def __get__(self, instance: Any, owner: type) -> Any:
        return self if instance is None else Both(self._method.__get__(instance, owner))

    def __call__(self, instance: _S, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        bound: Both[_P, _T] = self.__get__(instance, type(instance))
        return bound(*args, **kwargs)

    def aio(self, instance: _S, *args: _P.args, **kwargs: _P.kwargs) -> Coroutine[Any, Any, _T]:
        """The same, as a coroutine."""
        bound: Both[_P, _T] = self.__get__(instance, type(instance))
        return bound.aio(*args, **kwargs)


class BothIter(_Shown, Generic[_P]):
    """A bound method that iterates: `for … in m()` blocks, `async for … in m.aio()` does not."""

    __slots__ = ("_method",)

    def __init__(self, operation: Callable[_P, Operation[None]]) -> None:
        self._method = operation

    def __call__(self, *args: _P.args, **kwargs: _P.kwargs) -> Iterator[Any]:
        warn_in_loop()
        return _blocking.iterate(self._method(*args, **kwargs), None)

    def aio(self, *args: _P.args, **kwargs: _P.kwargs) -> AsyncIterator[Any]:
        """The same, as an async iterator."""
        from modicum import _async

        return _async.iterate(self._method(*args, **kwargs), None)


class both_iter(_Shown, Generic[_S, _P]):  # noqa: N801 - it is used as a decorator
    """Decorates a method that returns an operation which gives items."""

    def __init__(self, method: Callable[Concatenate[_S, _P], Operation[None]]) -> None:
        self._method = method
        self.__doc__ = method.__doc__

    if TYPE_CHECKING:

        @overload
        def __get__(self, instance: None, owner: type) -> both_iter[_S, _P]: ...
        @overload
        def __get__(self, instance: _S, owner: type) -> BothIter[_P]: ...

    def __get__(self, instance: Any, owner: type) -> Any:
        return self if instance is None else BothIter(self._method.__get__(instance, owner))

    def __call__(self, instance: _S, *args: _P.args, **kwargs: _P.kwargs) -> Iterator[Any]:
        bound: BothIter[_P] = self.__get__(instance, type(instance))
        return bound(*args, **kwargs)

    def aio(self, instance: _S, *args: _P.args, **kwargs: _P.kwargs) -> AsyncIterator[Any]:
        """The same, as an async iterator."""
        bound: BothIter[_P] = self.__get__(instance, type(instance))
        return bound.aio(*args, **kwargs)


def in_loop() -> bool:
    """Return whether an event loop runs in this thread."""
    asyncio = sys.modules.get("asyncio")
    return asyncio is not None and asyncio._get_running_loop() is not None


def warn_in_loop() -> None:
    """Warn whoever blocks an event loop."""
    if in_loop():
        import warnings

        from modicum.exception import AsyncUsageWarning

        warnings.warn("this blocks the running event loop; use its `.aio` twin", AsyncUsageWarning, stacklevel=3)
