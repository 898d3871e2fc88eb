"""What a class for containers is made of: methods, hooks and parameters, its bases' included."""

from __future__ import annotations

from modicum import _parameters
from modicum.exception import InvalidError
from modicum.partial_function import ENTER, ENTER_SNAPSHOT, EXIT, PartialFunction

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Partial = PartialFunction[Any, Any, Any]


class Shape:
    """One class. Hooks and methods are in the order in which they are written, those of base classes first."""

    def __init__(self, kind: type) -> None:
        self.kind = kind
        partials = _partials(kind)
        self.partials = partials
        self.methods = {name: each for name, each in partials.items() if each.is_method}
        self.enters = [
            *(each for each in partials.values() if ENTER_SNAPSHOT in each.roles),
            *(each for each in partials.values() if ENTER in each.roles),
        ]
        self.exits = [each for each in partials.values() if EXIT in each.roles]
        self.parameters = _parameters.of_class(kind)

    @property
    def batching(self) -> dict[str, Any] | None:
        """How inputs of its method are taken together."""
        return next((each.batching for each in self.methods.values() if each.batching is not None), None)

    @property
    def has_snapshot_hooks(self) -> bool:
        """Whether some hook is to run before a snapshot."""
        return any(ENTER_SNAPSHOT in each.roles for each in self.enters)

    def make(self, values: dict[str, Any]) -> Any:
        """Return a new object of the class, with the values of its parameters; no hook has run."""
        kind: Any = self.kind
        instance = kind.__new__(kind)
        vars(instance).update(values)
        if _constructor(self.kind) is not None:
            instance.__init__()
        return instance

    def describe(self) -> dict[str, Any]:
        """Return what of it is sent."""
        methods = {
            name: {"generator": each.is_generator, "async": each.is_async} for name, each in self.methods.items()
        }
        described = {"class": True, "methods": methods, "parameters": _parameters.describe(self.parameters)}
        if self.exits:
            described["exits"] = True
        return described


def _partials(kind: type) -> dict[str, Partial]:
    found: dict[str, Partial] = {}
    for base in reversed(kind.__mro__):
        found.update({name: value for name, value in vars(base).items() if isinstance(value, PartialFunction)})
    return found


def check(shape: Shape, snapshots: bool) -> None:
    """Raise `InvalidError` for a class that cannot be one of an app."""
    name = shape.kind.__name__
    _check_constructor(shape.kind)
    if not shape.kind.__dictoffset__:
        raise InvalidError(f"{name!r} has __slots__ alone: its objects need a __dict__ for what Modicum notes in it")
    for method in ("__enter__", "__aenter__"):
        if hasattr(shape.kind, method):
            raise InvalidError(
                f"{name!r} has {method}, which no container calls: decorate a method with @modal.enter(), and the one "
                "that ends it with @modal.exit()"
            )
    batched = [each.name for each in shape.methods.values() if each.batching is not None]
    if batched and len(shape.methods) > 1:
        raise InvalidError(f"{name!r} has the @modal.batched method {batched[0]!r}: it can have no other methods")
    if shape.has_snapshot_hooks and not snapshots:
        raise InvalidError(f"{name!r} has @modal.enter(snap=True), which needs @app.cls(enable_memory_snapshot=True)")
    for each in shape.enters:
        code = getattr(each.raw, "__code__", None)
        if code is not None and code.co_argcount - len(each.raw.__defaults__ or ()) > 1:
            raise InvalidError(
                f"the hook {each.name!r} of {name!r} can have no parameters but `self`: objects get theirs as "
                "`name: str = modal.parameter()` in the class"
            )
    for each in shape.partials.values():
        if each.concurrency is not None:
            raise InvalidError(
                f"@modal.concurrent stands on the method {each.name!r}: decorate the class {name!r} with it, below "
                "@app.cls()"
            )


def _check_constructor(kind: type) -> None:
    constructor = _constructor(kind)
    if constructor is None:
        return
    code = getattr(constructor, "__code__", None)
    if code is None or code.co_argcount + code.co_kwonlyargcount > 1 or code.co_flags & 0x0C:
        raise InvalidError(
            f"{kind.__name__!r} has an __init__ with arguments, which a container could not give it: declare them as "
            f"`name: str = modal.parameter()` in the class, and do in a method with @modal.enter() what is to be done"
        )
    from modicum._old_names import say

    say(f"{kind.__name__}.__init__", "@modal.enter()")


def _constructor(kind: type) -> Callable[..., None] | None:
    """Return a class's own `__init__`, None if it has none."""
    constructor: Callable[..., None] = kind.__init__  # type: ignore[misc]
    return None if constructor is object.__init__ else constructor


__all__ = ["Shape", "check"]
