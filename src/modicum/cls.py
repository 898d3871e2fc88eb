"""What a class of an app is to its callers: `Model()` gives an object whose methods are functions for containers."""

from __future__ import annotations

from modicum import _lookup, _parameters
from modicum._both import both
from modicum._configurable import OLD_OPTIONS
from modicum._missing import explained
from modicum._old_names import Dropped, Renamed, accepts, say
from modicum._types import O, P, R
from modicum.exception import ExecutionError, InvalidError, NotFoundError
from modicum.function import Function
from modicum.partial_function import PartialFunction

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from typing import Any

    from modicum._exchange import Operation
    from modicum._shape import Shape
    from modicum.retries import Retries

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
    @accepts(Renamed("tag", "name"), Renamed("label", "name"), Dropped("namespace"), name="Cls.from_name")
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
        _lookup.check_names(app_name, name, version)
        _lookup.refuse_client("Cls.from_name", client)
        header = {"app": app_name, "name": f"{name}.*", "version": version}
        return cls(name, _lookup.named(f"{name}.*", header, environment_name))

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

    @accepts(*OLD_OPTIONS, name="with_options")
    def with_options(
        self,
        *,
        cpu: float | tuple[float, float] | None = None,
        memory: int | tuple[int, int] | None = None,
        gpu: str | None = None,
        env: dict[str, str | None] | None = None,
        secrets: Collection[Any] | None = None,
        volumes: dict[Any, Any] = {},  # noqa: B006 - it is only read
        retries: int | Retries | None = None,
        max_containers: int | None = None,
        buffer_containers: int | None = None,
        scaledown_window: int | None = None,
        timeout: int | None = None,
        region: str | Sequence[str] | None = None,
        cloud: str | None = None,
        routing_region: str | None = None,
    ) -> Cls:
        """Return the class with some settings replaced: as `Function.with_options`, with containers of its own."""
        given = {**locals()}
        del given["self"]
        return Cls(self._name, self._service.with_options(**given), self._shape)

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
        self._service = _service_of(cls, parameters)

    @property
    def update_autoscaler(self) -> Any:
        """Change how many containers there are for this object: as `Function.update_autoscaler`."""
        return self._service.update_autoscaler

    @property
    def keep_warm(self) -> Any:
        """Change how many containers there are at least, as `Function.keep_warm`."""
        return self._service.keep_warm

    def __getattr__(self, name: str) -> Any:
        cls: Cls | None = self.__dict__.get("_cls")
        if cls is None or (name.startswith("__") and cls._shape is None):
            raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}")
        if cls._shape is not None:
            partial = cls._shape.methods.get(name)
            return getattr(self._here().instance, name) if partial is None else self._method(name, partial)
        methods = _facts(cls._service).get("methods")
        if methods is not None and name not in methods:
            raise NotFoundError(_no_method(cls._name, name, methods))
        return self._method(name, None)

    def _method(self, name: str, partial: PartialFunction[Any, Any, Any] | None) -> Method[Any, Any, Any]:
        if name not in self._methods:
            self._methods[name] = Method(self, self._cls._name, name, partial)
        return self._methods[name]

    def _here(self) -> Local:
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


def _service_of(cls: Cls, given: dict[str, Any]) -> Service:
    """Return the function that serves the objects of a class that have these parameters."""
    if cls._shape is not None:
        return _with_parameters(cls, cls._shape.parameters, given)
    base = cls._service
    service: Service = Function(base.raw_function, base.name, base.options, None, None, None, serialized=False)

    def find() -> Operation[str]:
        yield from base.ready()
        found = _with_parameters(cls, _parameters.read(_facts(base)["parameters"]), given)
        return (yield from found.ready())

    service._find = find
    return service


def _with_parameters(cls: Cls, fields: _parameters.Fields, given: dict[str, Any]) -> Service:
    values = _parameters.bind(cls._name, fields, given)
    return cls._service.variant({}, _parameters.encode(values)) if fields else cls._service


def _facts(service: Service) -> dict[str, Any]:
    """Return what is known of a class; of one with other settings, what is known of it without."""
    facts: dict[str, Any] = getattr(service, "_base", service).facts
    return facts


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
            is_generator=partial.is_generator if partial is not None else None,
            is_async=partial.is_async if partial is not None else None,
            serialized=service.serialized,
            app=service.app,
        )
        self.method = name
        self._obj = obj

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
        if self.is_generator is None:
            self._learn(_facts(self._obj._cls._service)["methods"])
        return found

    def _learn(self, methods: dict[str, Any]) -> None:
        assert self.method is not None
        known = methods.get(self.method)
        if known is None:
            raise NotFoundError(_no_method(self._obj._cls._name, self.method, methods))
        self.is_generator, self.is_async = known["generator"], known["async"]

    def variant(self, settings: dict[str, Any], parameters: bytes = b"") -> Function[P, R, O]:
        """Raise `InvalidError`: a class's methods share its containers."""
        owner = self._obj._cls._name
        raise InvalidError(
            f"{self.name!r} is a method: its class's containers are for all methods; ask the class for others, "
            f"`{owner}.with_options(…)(…).{self.method}`"
        )

    def local(self, *args: P.args, **kwargs: P.kwargs) -> O:
        """Run the method right here; its object is made for it, once, and its `enter` hooks run."""
        local = self._obj._here()
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
