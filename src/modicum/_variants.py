"""A function with settings of its own: it is named by them, and found at the server with its first call.

The server makes the same variant of the same settings, so that programs which ask for the same share its containers.
"""

from __future__ import annotations

import json

from modicum._exchange import ConnectionLost, Reconnect, Request
from modicum.exception import ExecutionError, InvalidError
from modicum.function import Function

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from modicum._exchange import Operation
    from modicum.wire.frames import Header

BOUND_MAX = 1000
"""So many variants are remembered, so that calling one again asks for nothing."""

_bound: dict[tuple[str, str, str | None], Header] = {}


def bind(base: str, settings: dict[str, Any], parameters: str | None = None) -> Operation[Header]:
    """Return what the server says of a function's variant: `function` (its id), `spec` and `options`.

    `parameters` are those of a class, base64. One that was asked for before is known: its id is made of what it is.
    """
    what = base, json.dumps(settings, sort_keys=True), parameters
    found = _bound.get(what)
    if found is None:
        header = {"t": "function.bind", "function": base, "options": settings, "parameters": parameters}
        ((found, _),) = yield from ask(header)
        if len(_bound) >= BOUND_MAX:
            _bound.clear()
        _bound[what] = found
    return found


def ask(header: Header) -> Operation[Any]:
    """Return the answer to a question that may be asked again."""
    while True:
        try:
            return (yield Request((header, b"")))
        except ConnectionLost:
            yield Reconnect()


class Variant(Function):  # type: ignore[type-arg]  # it is called as what it is a variant of
    """A function that differs from another by its settings alone. Made by `with_options` and its like."""

    _base: Function[Any, Any, Any]
    _settings: dict[str, Any]

    def __init__(self, base: Function[Any, Any, Any], settings: dict[str, Any]) -> None:
        if isinstance(base, Variant):
            settings = {**base._settings, **settings}
            base = base._base
        if base.is_generator and settings.get("retries") is not None:
            raise InvalidError(f"{base.name!r} is a generator function: it cannot have retries; leave them out")
        self.__dict__.update(base.__dict__)
        self.__dict__.pop("_find", None)
        self._base = base
        self._settings = settings
        self._object_id = None
        self._object_ids = []

    def _find(self) -> Operation[str]:
        found = yield from bind((yield from self._base.ready()), self._settings)
        return found["function"]  # type: ignore[no-any-return]

    def ready(self) -> Operation[str]:
        """Return the variant's id. It is another whenever the function itself is another, in each run of its app."""
        self._object_id = yield from self._find()
        return self._object_id

    @property
    def object_id(self) -> str:
        """The variant's id, `fu-…`. Raises `ExecutionError` before it was called or hydrated."""
        if self._object_id is None:
            raise ExecutionError(
                f"this variant of {self.name!r} has no id yet: it gets one with its first call, or by .hydrate()"
            )
        return self._object_id

    def __repr__(self) -> str:
        return f"modicum.Function({self.name!r}, {', '.join(f'{n}={v!r}' for n, v in self._settings.items())})"
