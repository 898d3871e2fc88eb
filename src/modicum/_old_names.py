"""How older names are accepted: with one warning where they are used, unless they contradict the present ones.

A function that has had other parameters says so above its `def`; its signature knows the present ones alone:

    @accepts(Renamed("concurrency_limit", "max_containers"), Dropped("allow_cross_region_volumes"))
    def function(self, *, max_containers: int | None = None) -> None: ...

An old method or attribute calls `say("Function.web_url", "Function.get_web_url()")` and does what the present one does.
With `MODICUM_STRICT_NAMES=1` older names raise `DeprecationError`, as newer clients of Modal do.
"""

from __future__ import annotations

import sys

from modicum import _context
from modicum.exception import DeprecationError, InvalidError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import ModuleType
    from typing import Any, TypeVar

    _F = TypeVar("_F", bound=Callable[..., Any])

_PACKAGE = __file__[: -len("_old_names.py")]
_IMPORTING = "<frozen importlib._bootstrap"


def say(old: str, new: str) -> None:
    """Warn, at the user's own line, that `old` is now `new`. Raises `DeprecationError` where names are strict."""
    _warn(f"`{old}` is now `{new}`")


def _warn(what: str) -> None:
    if _context.socket_directory is not None and _context.current_input_id() is None:
        return  # a container imports the user's module: his own process has said it already
    import warnings

    from modicum import config

    if config.strict_names():
        raise DeprecationError(f"{what}; older names are refused, because MODICUM_STRICT_NAMES or its key is set")
    _show_by_default(warnings)
    warnings.warn(f"{what}; accepted for compatibility", DeprecationError, stacklevel=stack_depth())


def _show_by_default(warnings: ModuleType) -> None:
    """Come before the interpreter's own rule that hides deprecations outside of `__main__`, behind all others."""
    hiding = ("default", None, DeprecationWarning, "__main__", 0)
    ours = ("default", None, DeprecationError, None, 0)
    if hiding in warnings.filters and ours not in warnings.filters:
        warnings.filters.insert(warnings.filters.index(hiding), ours)


def stack_depth() -> int:
    """Return the `stacklevel` of a warning, for our caller, that belongs to the innermost frame that is not ours.

    The frames of a running import are nobody's; `warnings.warn` does not count them either.
    """
    frame, depth = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_code.co_filename.startswith((_PACKAGE, _IMPORTING)):
        depth += not frame.f_code.co_filename.startswith(_IMPORTING)
        frame = frame.f_back
    return depth


class Renamed:
    """A parameter that has another name now; `convert` makes the present value of an old one.

    `told` is what users write now, where that is no parameter of the same function.
    """

    def __init__(
        self, old: str, new: str, convert: Callable[[Any], Any] | None = None, told: str | None = None
    ) -> None:
        self.old = old
        self.new = new
        self.told = told or new
        self._convert = convert

    def settle(self, owner: str, value: Any, given: dict[str, Any]) -> None:
        """Put the value where it belongs. Raises `InvalidError` if the present name was given another."""
        say(self.old, self.told)
        if self._convert is not None:
            value = self._convert(value)
        if value is None:
            return
        present = given.get(self.new)
        if present is not None and present != value:
            raise InvalidError(
                f"{owner} was given {self.new}={present!r} and, under its older name, {self.old}={value!r}; "
                f"give {self.new} alone"
            )
        given[self.new] = value


class Dropped:
    """A parameter that has no effect any longer."""

    def __init__(self, old: str, why: str = "") -> None:
        self.old = old
        self._why = why

    def settle(self, owner: str, value: Any, given: dict[str, Any]) -> None:
        """Forget it."""
        because = f": {self._why}" if self._why else ""
        _warn(f"`{self.old}` has no effect any longer{because}")


class Moved:
    """A parameter that is no longer one: `apply` makes the result of what the function returned, and the value."""

    def __init__(self, old: str, told: str, apply: Callable[[Any, Any], Any]) -> None:
        self.old = old
        self.told = told
        self._apply = apply

    def settle(self, owner: str, value: Any, given: dict[str, Any]) -> Callable[[Any], Any]:
        """Return what is to be done with the result."""
        say(self.old, self.told)
        return lambda result: self._apply(result, value)


class Refused:
    """A parameter whose meaning cannot be kept. `hint` says what to do instead; `asks`, whether a value asks for it."""

    def __init__(self, old: str, hint: str, asks: Callable[[Any], bool] = bool) -> None:
        self.old = old
        self.hint = hint
        self._asks = asks

    def settle(self, owner: str, value: Any, given: dict[str, Any]) -> None:
        """Raises `InvalidError` unless the value asks for nothing."""
        if self._asks(value):
            raise InvalidError(f"{owner} no longer takes `{self.old}`: {self.hint}")
        _warn(f"`{self.old}` has no effect any longer")


if TYPE_CHECKING:
    Old = Renamed | Dropped | Moved | Refused


def accepts(*old: Old, name: str | None = None) -> Callable[[_F], _F]:
    """Decorate a function so that it takes older keywords too; one that nobody knows is a `TypeError` with a hint.

    `name` is what users call the function, by default its own.
    """
    by_name = {each.old: each for each in old}

    def decorate(function: _F) -> _F:
        code = function.__code__
        known = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        owner = name or function.__qualname__

        def settled(*args: Any, **kwargs: Any) -> Any:
            later = []
            for each in [each for each in kwargs if each not in known]:
                if each not in by_name:
                    raise TypeError(f"{owner} takes no parameter {each!r}{nearest(each, known)}")
                later.append(by_name[each].settle(owner, kwargs.pop(each), kwargs))
            result = function(*args, **kwargs)
            for apply in filter(None, later):
                result = apply(result)
            return result

        for attribute in ("__module__", "__name__", "__qualname__", "__doc__", "__annotations__"):
            setattr(settled, attribute, getattr(function, attribute))
        settled.__wrapped__ = function  # type: ignore[attr-defined]  # `inspect.signature` follows it
        return settled  # type: ignore[return-value]

    return decorate


def nearest(name: str, known: Iterable[str]) -> str:
    """Return "; did you mean …?" for the known name that is most like this one, or nothing."""
    import difflib

    found = difflib.get_close_matches(name, [each for each in known if each[0] != "_" and each != "self"], 1, 0.6)
    return f"; did you mean {found[0]!r}?" if found else ""


__all__ = ["Dropped", "Moved", "Refused", "Renamed", "accepts", "nearest", "say", "stack_depth"]
