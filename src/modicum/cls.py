"""What a class of an app is to its callers: `Model()` gives an object whose methods are functions for containers."""

from __future__ import annotations

from modicum import _parameters
from modicum._both import both
from modicum._missing import explained
from modicum._old_names import say
from modicum._types import O, P, R
from modicum.exception import ExecutionError, InvalidError, NotFoundError
from modicum.function import Function
from modicum.partial_function import PartialFunction

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from modicum._exchange import Operation
    from modicum._shape import Shape

    Service = Function[Any, Any, Any]


def parameter(*, default: Any = _parameters.NOTHING, init: bool = True) -> Any:
    """Declare a parameter of a class: `name: str = modal.parameter()`.

    It is given by name when the class is called, `Model(name="small")`; it is a str, an int, a bool or bytes. Each set
    of values has containers of its own. With `init=False` it is no parameter: it declares an attribute's type alone.
    """
    return _parameters.Parameter(default, init)


@explained
class Cls:
    """A class whose methods run in containers. Made by `@app.cls()`; to a type checker it is the class itself."""

    def __init__(self, name: str, service: Service, shape: Shape | None = None) -> None:
        self._name = name
        self._service = service
        self._shape = shape
        self.__module__ = service.__module__
        self.__doc__ = service.__doc__

    @property
    def object_id(self) -> str:
        """The id of the one function that serves all methods. Raises `ExecutionError` while its app does not run."""
        return self._service.object_id

    @classmethod
    def from_name(
        cls,
        app_name: str,
        name: str,
        *,
        version: int | None = None,
        environment_name: str | None = None,
        client: None = None,
    ) -> Cls:
        """Return a class of a deployed app. The server is asked when it is first used.

        What is missing then raises `NotFoundError`.
        """
        return cls(name, Function.from_name(app_name, f"{name}.*", version=version, environment_name=environment_name))

    @classmethod
    def lookup(cls, app_name: str, name: str, **places: Any) -> Cls:
        """Return a class of a deployed app. Raises `NotFoundError` if there is none."""
        say("Cls.lookup(…)", "Cls.from_name(…)")
        found = cls.from_name(app_name, name, **places)
        found.hydrate()
        return found

    @both
    def hydrate(self, client: None = None) -> Operation[Cls]:
        """See that the class can be used. Raises `ExecutionError` while its app does not run, else `NotFoundError`."""
        yield from self._service.ready()
        return self

    def with_options(self, **settings: Any) -> Cls:
        """Return the class with other options: as `Function.with_options`, with containers of its own."""
        return Cls(self._name, self._service.with_options(**settings), self._shape)

    def with_concurrency(self, *, max_inputs: int, target_inputs: int | None = None) -> Cls:
        """Return the class with so many inputs at once in each container, as `modal.concurrent` says it."""
        service = self._service.with_concurrency(max_inputs=max_inputs, target_inputs=target_inputs)
        return Cls(self._name, service, self._shape)

    def with_batching(self, *, max_batch_size: int, wait_ms: int) -> Cls:
        """Return the class with other batches, as `modal.batched` says it."""
        service = self._service.with_batching(max_batch_size=max_batch_size, wait_ms=wait_ms)
        return Cls(self._name, service, self._shape)

    def __call__(self, *args: object, **parameters: Any) -> Obj:
        """Return an object of the class, for use here and in containers. Parameters are given by name.

        Raises `InvalidError` for a parameter that is missing, unknown or of another type.
        """
        if args:
            raise InvalidError(f"{self._name!r} takes its parameters by name: {self._name}(name=…)")
        if self._shape is not None:
            _parameters.bind(self._name, self._shape.parameters, parameters)
        return Obj(self, parameters)

    def __mro_entries__(self, bases: tuple[object, ...]) -> tuple[type, ...]:
        """Let a class inherit from it."""
        if self._shape is None:
            raise InvalidError(f"the class {self._name!r} is only named here: nothing can inherit from it")
        return (self._shape.kind,)

    def __getattr__(self, name: str) -> Any:
        shape: Shape | None = self.__dict__.get("_shape")
        if shape is not None:
            value = getattr(shape.kind, name)
            if not isinstance(value, PartialFunction) or not value.is_method:
                return value
        elif name.startswith("__"):
            raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}")
        return _Unbound(self._name, name)

    def __getstate__(self) -> dict[str, Any]:
        return dict(self.__dict__)

    def __repr__(self) -> str:
        return f"modicum.Cls({self._name!r})"


class _Unbound:
    """A method, asked of the class instead of an object."""

    def __init__(self, owner: str, name: str) -> None:
        self._where = owner, name

    def __getattr__(self, name: str) -> Any:
        owner, method = self.__dict__["_where"]
        raise AttributeError(
            f"{owner}.{method} is a method and needs an object: call the class first, `{owner}().{method}.{name}(…)`"
        )

    def __call__(self, *args: object, **kwargs: object) -> None:
        self.remote  # noqa: B018 - it raises


class Obj:
    """An object of a class of an app. Its methods are functions; all else is of an object here, made if need be."""

    def __init__(self, cls: Cls, parameters: dict[str, Any]) -> None:
        self._cls = cls
        self._parameters = parameters
        self._methods: dict[str, Method[Any, Any, Any]] = {}
        self._local: Local | None = None
        self._service = cls._service if _is_plain(cls) else _service_of(cls, parameters)

    @property
    def update_autoscaler(self) -> Any:
        """Change how many containers there are for this object: as `Function.update_autoscaler`."""
        return self._service.update_autoscaler

    def __getattr__(self, name: str) -> Any:
        cls: Cls | None = self.__dict__.get("_cls")
        if cls is None or (name.startswith("__") and cls._shape is None):
            raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}")
        if cls._shape is not None:
            partial = cls._shape.methods.get(name)
            return getattr(self.local().instance, name) if partial is None else self._method(name, partial)
        methods = cls._service.facts.get("methods")
        if methods is not None and name not in methods:
            raise NotFoundError(_no_method(cls._name, name, methods))
        return self._method(name, None)

    def _method(self, name: str, partial: PartialFunction[Any, Any, Any] | None) -> Method[Any, Any, Any]:
        if name not in self._methods:
            self._methods[name] = Method(self, self._cls._name, name, partial)
        return self._methods[name]

    def local(self) -> Local:
        """Return the object right here. Raises `ExecutionError` if the class is only named."""
        shape = self._cls._shape
        if shape is None:
            raise ExecutionError(_elsewhere(self._cls._name))
        if self._local is None:
            values = _parameters.bind(self._cls._name, shape.parameters, self._parameters)
            self._local = Local(shape, values, {name: getattr(self, name) for name in shape.methods})
        return self._local

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_methods": {}, "_local": None}

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in self._parameters.items())
        return f"{self._cls._name}({given})"


def _is_plain(cls: Cls) -> bool:
    """Return whether all objects of a class share the containers of the class itself, as far as is known."""
    return cls._shape is not None and not cls._shape.parameters


def _service_of(cls: Cls, given: dict[str, Any]) -> Service:
    """Return the function that serves the objects of a class that have these parameters."""
    base = cls._service
    service: Service = Function(base.raw_function, base.name, base.options, base.image, False, False, base.serialized)
    service.app = base.app

    def find() -> Operation[str]:
        parent = yield from base.ready()
        fields = cls._shape.parameters if cls._shape is not None else _parameters.read(base.facts["parameters"])
        values = _parameters.bind(cls._name, fields, given)
        if not fields:
            return parent
        return (yield from base.variant({}, _parameters.encode(values)).ready())

    service._find = find
    return service


class Local:
    """An object of the user's class in this process, with what it needs before its methods run."""

    def __init__(self, shape: Shape, values: dict[str, Any], functions: dict[str, Service]) -> None:
        self.instance = shape.make(values)
        self.entered = False
        self.shape = shape
        vars(self.instance)["_modicum_functions"] = functions

    def enter(self) -> None:
        """Run the hooks that come before all inputs, once. Raises `InvalidError` for async ones in a running loop."""
        if self.entered:
            return
        self.entered = True
        for hook in self.shape.enters:
            result = hook.raw(self.instance)
            if hook.is_async:
                _run_here(result, hook.name)

    async def enter_async(self) -> None:
        """The same for async methods."""
        if self.entered:
            return
        self.entered = True
        for hook in self.shape.enters:
            result = hook.raw(self.instance)
            if hook.is_async:
                await result


def _run_here(coroutine: Any, name: str) -> None:
    from modicum._both import in_loop

    if in_loop():
        coroutine.close()
        raise InvalidError(
            f"the hook {name!r} is async and an event loop runs: call an async method first, and await it"
        )
    import asyncio

    asyncio.run(coroutine)


class Method(Function[P, R, O]):
    """A method of an object, as a function."""

    def __init__(self, obj: Obj, owner: str, name: str, partial: PartialFunction[P, R, O] | None) -> None:
        service = obj._service
        super().__init__(
            partial.raw if partial is not None else _absent(owner),
            f"{owner}.{name}",
            service.options,
            service.image,
            is_generator=partial is not None and partial.is_generator,
            is_async=partial is not None and partial.is_async,
            serialized=service.serialized,
            app=service.app,
        )
        self.method = name
        self._obj = obj
        self._is_known = partial is not None

    @property
    def object_id(self) -> str:
        """The id of the function that serves its object."""
        return self._obj._service.object_id

    @property
    def target(self) -> Function[P, R, O]:
        """The method as what is called. Raises `ExecutionError` if its class is not only named and does not run."""
        if self._obj._cls._service._find is None:
            _ = self._obj._cls._service.object_id
        return self

    def _ready(self) -> Operation[str]:
        """Return the id of the function that serves its object, asking the server for it if need be."""
        found = yield from self._obj._service.ready()
        if not self._is_known:
            self._learn(self._obj._cls._service.facts["methods"])
        return found

    def _learn(self, methods: dict[str, Any]) -> None:
        assert self.method is not None
        known = methods.get(self.method)
        if known is None:
            raise NotFoundError(_no_method(self._obj._cls._name, self.method, methods))
        self.is_generator, self.is_async, self._is_known = known["generator"], known["async"], True

    def local(self, *args: P.args, **kwargs: P.kwargs) -> O:
        """Run the method right here; its object is made for it, once, and its `enter` hooks run."""
        local = self._obj.local()
        method: Any = self.raw_function.__get__(local.instance)
        if not self.is_async:
            local.enter()
            return method(*args, **kwargs)  # type: ignore[no-any-return]
        run: Any = _iterate if self.is_generator else _await
        return run(local, method, args, kwargs)  # type: ignore[no-any-return]


async def _await(local: Local, method: Any, args: Any, kwargs: Any) -> Any:
    await local.enter_async()
    return await method(*args, **kwargs)


async def _iterate(local: Local, method: Any, args: Any, kwargs: Any) -> Any:
    await local.enter_async()
    async for item in method(*args, **kwargs):
        yield item


def _absent(owner: str) -> Callable[..., Any]:
    def elsewhere(*args: object, **kwargs: object) -> None:
        raise ExecutionError(_elsewhere(owner))

    return elsewhere


def _elsewhere(owner: str) -> str:
    return f"the class {owner!r} is only named here, its code is not there: call its methods with `.remote(…)`"


def _no_method(owner: str, name: str, methods: Any) -> str:
    from modicum._old_names import nearest

    has = ", ".join(map(repr, methods)) or "none"
    return (
        f"the class {owner!r} has no method {name!r}{nearest(name, methods)}; it has {has}, and attributes stay there"
    )


__all__ = ["Cls", "Obj", "parameter"]
