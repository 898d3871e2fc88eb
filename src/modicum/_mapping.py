"""How a function is called on many inputs: `map`, `starmap`, `for_each`, `spawn_map`."""

from __future__ import annotations

from modicum import _blocking, _operations
from modicum._both import in_loop
from modicum._old_names import Dropped, accepts
from modicum._types import Generic, R
from modicum.call import FunctionCall
from modicum.exception import InvalidError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
    from typing import Any

    from modicum.function import Function


class Way:
    """One way of calling a function."""

    __slots__ = ("_function",)

    def __init__(self, function: Function[Any, Any, Any]) -> None:
        self._function = function


_BOXES = Dropped("wrap_returned_exceptions", "exceptions are returned as they are")


class Map(Way, Generic[R]):
    """`f.map` and `f.starmap`"""

    __slots__ = ("_spread",)

    def __init__(self, function: Function[Any, Any, Any], spread: bool) -> None:
        super().__init__(function)
        self._spread = spread

    @accepts(_BOXES, name="map")
    def __call__(
        self,
        *input_iterators: Iterable[Any],
        kwargs: dict[str, Any] = {},  # noqa: B006 - it is only read
        order_outputs: bool = True,
        return_exceptions: bool = False,
    ) -> Iterator[R]:
        if in_loop():
            raise InvalidError(
                f"`{self._function.name}.map` would block the running event loop: use "
                f"`async for … in {self._function.name}.map.aio(…)`"
            )
        call = _operations.new_call()
        values = iter(self._one(input_iterators)) if self._spread else zip(*input_iterators)
        operation = self._operation(call, kwargs, order_outputs, return_exceptions)
        return _Values(_blocking.iterate(operation, call, iter(values)), self._function.name)

    @accepts(_BOXES, name="map.aio")
    def aio(
        self,
        *input_iterators: Iterable[Any] | AsyncIterable[Any],
        kwargs: dict[str, Any] = {},  # noqa: B006 - it is only read
        order_outputs: bool = True,
        return_exceptions: bool = False,
    ) -> AsyncIterator[R]:
        """The same, as an async iterator; the iterables may be async ones."""
        from modicum import _async

        call = _operations.new_call()
        values = _async.elements(self._one(input_iterators)) if self._spread else _async.zip_any(input_iterators)
        operation = self._operation(call, kwargs, order_outputs, return_exceptions)
        return _async.iterate(operation, call, values)

    def _operation(self, call: str, kwargs: dict[str, Any], order_outputs: bool, return_exceptions: bool) -> Any:
        function = self._function

        def encode(arguments: Any) -> bytes:
            return function.encode(tuple(arguments), kwargs)

        return _operations.map_(function.target, call, encode, order_outputs, return_exceptions)

    def _one(self, iterators: tuple[Any, ...]) -> Any:
        if len(iterators) != 1:
            raise TypeError(f"starmap takes one iterable of argument tuples, not {len(iterators)}")
        return iterators[0]


class _Values:
    """A map's values, as an iterator. Nothing runs before the first is asked for; dropping it before that is a slip."""

    __slots__ = ("_name", "_values")

    def __init__(self, values: Iterator[Any], name: str) -> None:
        self._values = values
        self._name: str | None = name

    def __iter__(self) -> _Values:
        return self

    def __next__(self) -> Any:
        self._name = None
        return next(self._values)

    def close(self) -> None:
        """Give up: what has not run yet is cancelled."""
        self._name = None
        self._values.close()  # type: ignore[attr-defined]  # it is a generator

    def __del__(self) -> None:
        if self._name is not None:
            import warnings

            warnings.warn(
                f"the results of a map of {self._name!r} were never looked at, so nothing ran; iterate over them, or "
                "use for_each or spawn",
                stacklevel=2,
            )


class SpawnMapCall(Way, Generic[R]):
    """`f.experimental_spawn_map`"""

    def __call__(
        self,
        *input_iterators: Iterable[Any],
        kwargs: dict[str, Any] = {},  # noqa: B006 - it is only read
    ) -> FunctionCall[R]:
        if in_loop():
            raise InvalidError(
                f"`{self._function.name}.spawn_map` would block the running event loop: use "
                f"`await {self._function.name}.spawn_map.aio(…)`"
            )
        call = _operations.new_call()
        for _ in _blocking.iterate(self._operation(call, kwargs), call, zip(*input_iterators)):
            pass
        return FunctionCall(call)

    async def aio(
        self,
        *input_iterators: Iterable[Any] | AsyncIterable[Any],
        kwargs: dict[str, Any] = {},  # noqa: B006 - it is only read
    ) -> FunctionCall[R]:
        """The same, as a coroutine; the iterables may be async ones."""
        from modicum import _async

        call = _operations.new_call()
        async for _ in _async.iterate(self._operation(call, kwargs), call, _async.zip_any(input_iterators)):
            pass
        return FunctionCall(call)

    def _operation(self, call: str, kwargs: dict[str, Any]) -> Any:
        function = self._function
        return _operations.spawn_map(function.target, call, lambda values: function.encode(tuple(values), kwargs))


class SpawnMap(Way):
    """`f.spawn_map`"""

    def __call__(
        self,
        *input_iterators: Iterable[Any],
        kwargs: dict[str, Any] = {},  # noqa: B006 - it is only read
    ) -> None:
        SpawnMapCall(self._function)(*input_iterators, kwargs=kwargs)

    async def aio(
        self,
        *input_iterators: Iterable[Any] | AsyncIterable[Any],
        kwargs: dict[str, Any] = {},  # noqa: B006 - it is only read
    ) -> None:
        """The same, as a coroutine."""
        await SpawnMapCall(self._function).aio(*input_iterators, kwargs=kwargs)


class ForEach(Way):
    """`f.for_each`"""

    def __call__(
        self,
        *input_iterators: Iterable[Any],
        kwargs: dict[str, Any] = {},  # noqa: B006 - it is only read
        ignore_exceptions: bool = False,
    ) -> None:
        results: Iterator[Any] = Map(self._function, spread=False)(
            *input_iterators, kwargs=kwargs, order_outputs=False, return_exceptions=ignore_exceptions
        )
        for _ in results:
            pass

    async def aio(
        self,
        *input_iterators: Iterable[Any] | AsyncIterable[Any],
        kwargs: dict[str, Any] = {},  # noqa: B006 - it is only read
        ignore_exceptions: bool = False,
    ) -> None:
        """The same, as a coroutine."""
        results: AsyncIterator[Any] = Map(self._function, spread=False).aio(
            *input_iterators, kwargs=kwargs, order_outputs=False, return_exceptions=ignore_exceptions
        )
        async for _ in results:
            pass
