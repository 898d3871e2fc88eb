"""A call that goes on without its caller: `FunctionCall`."""

from __future__ import annotations

from modicum import _operations
from modicum._both import both
from modicum._missing import Explained
from modicum._old_names import say
from modicum._types import Generic, R
from modicum.exception import InvalidError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from modicum._exchange import Operation


class _FromId:
    """`FunctionCall.from_id`"""

    def __call__(self, function_call_id: str, client: None = None) -> FunctionCall[Any]:
        """Return the call with this id. Asks nobody: an id that does not exist is noticed by `get`.

        Raises `InvalidError` if it is not the id of a call.
        """
        if not isinstance(function_call_id, str) or not function_call_id.startswith("fc-"):
            raise InvalidError(f"{function_call_id!r} is not the id of a function call; those begin with 'fc-'")
        return FunctionCall(function_call_id)

    async def aio(self, function_call_id: str, client: None = None) -> FunctionCall[Any]:
        """The same; there is nothing to wait for."""
        say("await FunctionCall.from_id.aio(…)", "FunctionCall.from_id(…)")
        return self(function_call_id)


class FunctionCall(Explained, Generic[R]):
    """A spawned call. Made by `Function.spawn`, or from its id in any process that reaches the server."""

    def __init__(self, object_id: str) -> None:
        self._id = object_id

    @property
    def object_id(self) -> str:
        """The call's id, `fc-…`."""
        return self._id

    from_id = _FromId()

    @both
    def hydrate(self, client: None = None) -> Operation[FunctionCall[R]]:
        """See that there is such a call. Raises `NotFoundError` if there is none."""
        yield from _operations.look_up(self._id)
        return self

    def resolve(self) -> FunctionCall[R]:
        """See that there is such a call."""
        say("FunctionCall.resolve()", "FunctionCall.hydrate()")
        return self.hydrate()

    @both
    def get(self, timeout: float | None = None, *, index: int = 0) -> Operation[R]:
        """Return the call's value, waiting up to `timeout` seconds for it (None: for ever, 0: look once).

        Raises what the function raised, the built-in `TimeoutError` while there is no output, `OutputExpiredError`
        when it is no longer kept and `NotFoundError` when there never was such a call. May be called again.
        """
        return _operations.get(self._id, index, timeout)

    def __repr__(self) -> str:
        return f"modicum.FunctionCall({self._id!r})"


__all__ = ["FunctionCall"]
