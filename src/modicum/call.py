"""A call that goes on without its caller: `FunctionCall`."""

from __future__ import annotations

from modicum import _operations
from modicum._both import both
from modicum._types import Generic, R
from modicum.exception import InvalidError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from modicum._exchange import Operation


class FunctionCall(Generic[R]):
    """A spawned call. Made by `Function.spawn`, or from its id in any process that reaches the server."""

    def __init__(self, object_id: str) -> None:
        self._id = object_id

    @property
    def object_id(self) -> str:
        """The call's id, `fc-…`."""
        return self._id

    @staticmethod
    def from_id(function_call_id: str) -> FunctionCall[object]:
        """Return the call with this id. Asks nobody: an id that does not exist is noticed by `get`.

        Raises `InvalidError` if it is not the id of a call.
        """
        if not function_call_id.startswith("fc-"):
            raise InvalidError(f"{function_call_id!r} is not the id of a function call; those begin with 'fc-'")
        return FunctionCall(function_call_id)

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
