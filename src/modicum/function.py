"""What a function is to its caller: `remote`, `map`, `spawn` and the other ways to call it.

The first of the five rooms of `f.remote(x)`: `remote` serialises `x`, and `_operations.py` sends it as one frame. From
here the call goes to `server/api/calls.py`.
"""

from __future__ import annotations

from modicum import _blocking, _context, _lookup, _operations
from modicum._both import both, warn_in_loop
from modicum._configurable import Configurable
from modicum._mapping import ForEach, Map, SpawnMap, SpawnMapCall, Way
from modicum._missing import explained
from modicum._old_names import say
from modicum._types import Generic, O, P, R, T
from modicum.call import FunctionCall
from modicum.exception import ExecutionError, InvalidError, SerializationError
from modicum.wire import values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
    from typing import Any

    from modicum._exchange import Operation
    from modicum.app import App
    from modicum.image import Image
    from modicum.options import Options


@explained
class Function(Configurable[P, R, O]):
    """A Python function that runs in containers. Made by `@app.function()`."""

    def __init__(
        self,
        raw: Callable[P, O],
        name: str,
        options: Options,
        image: Image | None,
        is_generator: bool | None,
        is_async: bool | None,
        serialized: bool,
        include_source: bool | None = None,
        app: App | None = None,
    ) -> None:
        self.raw_function = raw
        self.name = name
        self.options = options
        self.image = image
        self.is_generator = is_generator  # None while it is only named
        self.is_async = is_async
        self.serialized = serialized
        self.include_source = include_source
        self.app = app
        self.method: str | None = None  # which of a class's methods it is
        self.facts: dict[str, Any] = {}  # what else its containers and callers need to know: a class's methods, …
        self._find: Callable[[], Operation[str]] | None = None  # how to learn its id, if it is only named
        self._object_id: str | None = None
        self._object_ids: list[str] = []
        self.__doc__ = raw.__doc__
        self.__name__ = getattr(raw, "__name__", name)
        self.__module__ = raw.__module__

    @property
    def object_id(self) -> str:
        """The function's id, `fu-…`. Raises `ExecutionError` while its app does not run."""
        if self._object_id is not None:
            return self._object_id
        if self._find is not None:
            return self._named_id(self._find)
        if _context.socket_directory is not None:
            self._object_id = self._id_here()
            return self._object_id
        from modicum import config

        raise ExecutionError(
            f"the function {self.name!r} cannot be called: its app is not running. Call it under "
            f"`{config.command()} run`, or within `with app.run():`"
        )

    def _named_id(self, find: object) -> str:
        known: str | None = getattr(find, "object_id", None)
        if known is None:
            raise ExecutionError(f"the function {self.name!r} has not been looked up yet; `.hydrate()` does that")
        return known

    def _id_here(self) -> str:
        """Return the id in this container, which may call functions of its own app. Names alone would find others'."""
        _context.check_access(f"a call of {self.name!r}")
        known = _context.functions.get(self.name)
        if known is None:
            raise ExecutionError(
                f"the function {self.name!r} cannot be called here: a container calls functions of its own app, and "
                "this one's has none of that name; give it them with `app.include(other_app)`"
            )
        theirs = known.get("module", ""), known.get("qualname", "")
        if theirs[0] and theirs != (self.raw_function.__module__, self.raw_function.__qualname__):
            raise ExecutionError(
                f"the function {self.name!r} of {self.app!r} cannot be called here: this container's own app has "
                f"another of that name, {'.'.join(theirs)}; name it otherwise, @app.function(name=…), and include it"
            )
        return str(known["id"])

    @property
    def includes_source(self) -> bool:
        """Whether the function's source goes into its containers by itself."""
        if self.include_source is not None:
            return self.include_source
        return self.app is None or self.app.include_source

    def hydrate_with(self, object_id: str) -> None:
        """Give the function the id under which the server knows it while an app runs that has it."""
        self._object_ids.append(object_id)
        self._object_id = object_id

    def dehydrate(self, object_id: str) -> None:
        """That app has ended; another that has the function may still run."""
        if object_id in self._object_ids:
            self._object_ids.remove(object_id)
        self._object_id = self._object_ids[-1] if self._object_ids else None

    @property
    def target(self) -> Function[P, R, O]:
        """The function as what is called. Raises `ExecutionError` if it is not only named and its app does not run."""
        if self._find is None:
            _ = self.object_id
        return self

    def ready(self, kind: str = "") -> Operation[str]:
        """Return the function's id, asking the server for it if the function is only named.

        Raises `InvalidError` if it turns out that it is not called in this way.
        """
        object_id = yield from self._ready()
        if kind and self.is_generator is not None and self.is_generator != (kind == "gen"):
            way = {"sync": "remote", "gen": "remote_gen"}.get(kind, kind)
            raise self._wrong_way(way)
        return object_id

    def _ready(self) -> Operation[str]:
        if self._object_id is None and self._find is not None:
            self._object_id = yield from self._find()
        return self.object_id

    def _wrong_way(self, used: str) -> InvalidError:
        if used == "remote_gen":
            return InvalidError(f"{self.name!r} is not a generator function; call `{self.name}.remote(…)`")
        return InvalidError(f"{self.name!r} is a generator function: use `.remote_gen(…)` in place of `.{used}(…)`")

    @both
    def hydrate(self, client: None = None) -> Operation[Function[P, R, O]]:
        """See that the function can be called. Raises `ExecutionError` while its app does not run."""
        yield from self.ready()
        return self

    def get_raw_f(self) -> Callable[P, O]:
        """Return the function as it was before it was decorated."""
        return self.raw_function

    from_name = staticmethod(_lookup.from_name)
    from_id = staticmethod(_lookup.from_id)

    def __getstate__(self) -> dict[str, Any]:
        """A function that travels leaves its app behind, and all that hangs on it."""
        return {**self.__dict__, "app": None, "_object_id": None, "_object_ids": []}

    def __repr__(self) -> str:
        return f"modicum.Function({self.name!r})"

    def __call__(self, *args: object, **kwargs: object) -> None:
        """Raise `TypeError`: it must be said where a function is to run."""
        raise TypeError(
            f"{self.name!r} is a modicum.Function: call `{self.name}.remote(…)` to run it in a container or "
            f"`{self.name}.local(…)` to run it right here"
        )

    def local(self, *args: P.args, **kwargs: P.kwargs) -> O:
        """Run the function right here, as if it were not decorated."""
        return self.raw_function(*args, **kwargs)

    @property
    def remote(self) -> Remote[P, R]:
        """Run the function in a container and return its value: `f.remote(x)`, or `await f.remote.aio(x)`.

        Raises what the function raises, with its remote traceback.
        """
        self._refuse_generator("remote")
        return Remote(self)

    @property
    def remote_gen(self: Function[P, Iterable[T] | AsyncIterable[T], O]) -> RemoteGen[P, T]:
        """Run the generator function in a container and iterate over what it yields, while it runs.

        The container is never more than 8 MiB ahead of the caller.
        """
        if self.is_generator is False:
            raise self._wrong_way("remote_gen")
        return RemoteGen(self)

    @property
    def spawn(self) -> Spawn[P, R]:
        """Start the function without waiting; returns a `FunctionCall` once the input is stored durably."""
        self._refuse_generator("spawn")
        return Spawn(self)

    @property
    def spawn_map(self) -> SpawnMap:
        """Start the function on each element without waiting; returns once all inputs are stored durably.

        Takes its arguments as `map` does.
        """
        self._refuse_generator("spawn_map")
        return SpawnMap(self)

    @property
    def experimental_spawn_map(self) -> SpawnMapCall[R]:
        """As `spawn_map`, but returns a `FunctionCall`, whose `get(index=…)` and `iter()` give the values."""
        self._refuse_generator("experimental_spawn_map")
        return SpawnMapCall(self)

    @property
    def map(self) -> Map[R]:
        """Run the function on each element: `f.map(xs)`, or `f.map(xs, ys)` for two arguments, as `zip` pairs them.

        Yields the values in the order of the inputs (`order_outputs=False`: as they come). The iterables are read
        lazily, at most 1000 inputs ahead of the values taken. `kwargs` are passed to every call. An exception is
        raised at its place, or yielded with `return_exceptions=True`.
        """
        self._refuse_generator("map")
        return Map(self, spread=False)

    @property
    def starmap(self) -> Map[R]:
        """As `map`, for one iterable of argument tuples."""
        self._refuse_generator("starmap")
        return Map(self, spread=True)

    @property
    def for_each(self) -> ForEach:
        """Run the function on each element and wait for all, dropping the values.

        The first exception is raised, unless `ignore_exceptions=True`.
        """
        self._refuse_generator("for_each")
        return ForEach(self)

    def _refuse_generator(self, used: str) -> None:
        if self.is_generator:
            raise self._wrong_way(used)

    @both
    def get_web_url(self) -> Operation[str | None]:
        """Return the address of a web function: None, this is none."""
        return None
        yield

    # -- older names ---------------------------------------------------------------------------------------

    @property
    def web_url(self) -> str | None:
        """The address of a web function."""
        say("Function.web_url", "Function.get_web_url()")
        return self.get_web_url()

    def resolve(self) -> Function[P, R, O]:
        """See that the function can be called."""
        say("Function.resolve()", "Function.hydrate()")
        return self.hydrate()

    lookup = staticmethod(_lookup.lookup)

    # ------------------------------------------------------------------------------------------------------

    def encode(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
        """Return arguments as bytes. Raises `SerializationError` naming the one that cannot be sent."""
        try:
            return values.dumps((args, kwargs))
        except Exception as error:
            raise self._unsendable(args, kwargs, error) from error

    def _unsendable(self, args: tuple[Any, ...], kwargs: dict[str, Any], error: Exception) -> SerializationError:
        code = self.raw_function.__code__ if hasattr(self.raw_function, "__code__") else None
        names = code.co_varnames[: code.co_argcount] if code is not None else ()
        named = [(names[n] if n < len(names) else f"number {n + 1}", value) for n, value in enumerate(args)]
        which = "an argument"
        for name, value in [*named, *kwargs.items()]:
            try:
                values.dumps(value)
            except Exception:  # noqa: BLE001 - whatever its own pickling raises: this is the one
                which = f"the argument {name!r}, a {type(value).__name__},"
                break
        return SerializationError(
            f"{which} of {self.name!r} cannot be sent to a container: {type(error).__name__}: {error}; pass plain data "
            "and make in the function what cannot be pickled"
        )


class Remote(Way, Generic[P, R]):
    """`f.remote`"""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        warn_in_loop()
        function, call = self._function, _operations.new_call()
        operation = _operations.remote(function.target, call, function.encode(args, kwargs))
        return _blocking.run(operation, call)  # type: ignore[no-any-return]

    async def aio(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """The same, as a coroutine."""
        from modicum import _async

        function, call = self._function, _operations.new_call()
        operation = _operations.remote(function.target, call, function.encode(args, kwargs))
        return await _async.run(operation, call)


class RemoteGen(Way, Generic[P, R]):
    """`f.remote_gen`"""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Iterator[R]:
        warn_in_loop()
        function, call = self._function, _operations.new_call()
        operation = _operations.generate(function.target, call, function.encode(args, kwargs))
        return _blocking.iterate(operation, call)

    def aio(self, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[R]:
        """The same, as an async iterator."""
        from modicum import _async

        function, call = self._function, _operations.new_call()
        operation = _operations.generate(function.target, call, function.encode(args, kwargs))
        return _async.iterate(operation, call)


class Spawn(Way, Generic[P, R]):
    """`f.spawn`"""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> FunctionCall[R]:
        warn_in_loop()
        function, call = self._function, _operations.new_call()
        _blocking.run(_operations.spawn(function.target, call, function.encode(args, kwargs)))
        return FunctionCall(call)

    async def aio(self, *args: P.args, **kwargs: P.kwargs) -> FunctionCall[R]:
        """The same, as a coroutine."""
        from modicum import _async

        function, call = self._function, _operations.new_call()
        await _async.run(_operations.spawn(function.target, call, function.encode(args, kwargs)))
        return FunctionCall(call)


__all__ = ["Function"]
