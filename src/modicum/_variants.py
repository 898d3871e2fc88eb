"""A function with settings of its own: it is named by them, and found at the server with its first call.

The server makes the same variant of the same settings, so that programs which ask for the same share its containers.
"""

from __future__ import annotations

import json
from base64 import b64encode

from modicum._exchange import ask
from modicum.exception import ExecutionError, InvalidError
from modicum.function import Function

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from modicum._exchange import Operation
    from modicum.secret import Secret

BOUND_MAX = 1000
"""So many variants are remembered, so that calling one again asks for nothing."""

_bound: dict[tuple[str, str], str] = {}
"""The id of a variant, by the id of its function and what it has of its own."""


class Variant(Function):  # type: ignore[type-arg]  # it is called as what it is a variant of
    """A function that differs from another by its settings, or a class's by its parameters. See `Function.variant`."""

    _base: Function[Any, Any, Any]
    _own: dict[str, Any]

    def __init__(self, base: Function[Any, Any, Any], settings: dict[str, Any], parameters: bytes = b"") -> None:
        settings = dict(settings)
        secrets = settings.pop("secrets", None)
        own: dict[str, Any] = {"options": settings, "parameters": b64encode(parameters).decode() or None}
        if isinstance(base, Variant):
            secrets = secrets or base._secrets
            own["options"] = {**base._own["options"], **settings}
            own["parameters"] = own["parameters"] or base._own["parameters"]
            base = base._base
        if base.is_generator and settings.get("retries") is not None:
            raise InvalidError(f"{base.name!r} is a generator function: it cannot have retries; leave them out")
        self.__dict__.update(base.__dict__)
        self.__dict__.pop("_find", None)
        self._base = base
        self._own = own
        self._secrets: list[Secret] = secrets or []
        self._object_id = None
        self._object_ids = []

    def _find(self, kind: str = "") -> Operation[str]:
        base = yield from self._base.ready(kind)
        self.is_generator, self.is_async = (
            self._base.is_generator,
            self._base.is_async,
        )  # one that was named is known now
        what = self._what()
        found = _bound.get((base, what))
        if found is None:
            own = yield from self._as_sent()
            answer, _ = yield from ask({"t": "function.bind", "function": base, **own})
            if answer.get("remarks"):
                from modicum import _remarks

                _remarks.tell((answer,))
            if len(_bound) >= BOUND_MAX:
                _bound.clear()
            found = _bound[base, what] = answer["function"]
        return found

    def _what(self) -> str:
        """Return what tells this variant from others of its function."""
        return json.dumps([self._own, [each.identity() for each in self._secrets]], sort_keys=True)

    def _as_sent(self) -> Operation[dict[str, Any]]:
        if not self._secrets:
            return self._own
        from modicum import secret

        ids = yield from secret.create(self._secrets)
        return {**self._own, "options": {**self._own["options"], "secrets": ids}}

    def ready(self, kind: str = "") -> Operation[str]:
        """Return the variant's id. It is another whenever the function itself is another, in each run of its app."""
        self._object_id = yield from self._find(kind)
        self.is_generator = self._base.is_generator
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
        settings = [f"{name}={value!r}" for name, value in self._own["options"].items()]
        return f"modicum.Function({', '.join([repr(self.name), *settings])})"
