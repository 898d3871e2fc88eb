"""A call that goes on without its caller: `FunctionCall`."""

from __future__ import annotations

from modicum import _blocking, _results
from modicum._both import both, warn_in_loop
from modicum._missing import Explained
from modicum._old_names import say
from modicum._types import Generic, R, T
from modicum.exception import InvalidError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence
    from typing import Any

    from modicum._exchange import Operation
    from modicum.types import InputInfo


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


class _Gather:
    """`FunctionCall.gather`"""

    def __call__(self, *function_calls: FunctionCall[T]) -> Sequence[T]:
        """Wait for all of these calls and return their values, in the order of the calls.

        Raises what the first that fails raises, at once; the others go on.
        """
        warn_in_loop()
        return _blocking.run(_results.gather(_ids(function_calls)))

    async def aio(self, *function_calls: FunctionCall[T]) -> Sequence[T]:
        """The same, as a coroutine."""
        from modicum import _async

        return await _async.run(_results.gather(_ids(function_calls)))


def _ids(calls: tuple[object, ...]) -> list[str]:
    for call in calls:
        if not isinstance(call, FunctionCall):
            raise TypeError(
                f"FunctionCall.gather takes calls one by one, FunctionCall.gather(*calls), not a {type(call).__name__}"
            )
    return [call.object_id for call in calls if isinstance(call, FunctionCall)]


class _Iter(Generic[R]):
    """`call.iter`"""

    __slots__ = ("_call",)

    def __init__(self, call: str) -> None:
        self._call = call

    def __call__(self, *, start: int = 0, end: int | None = None) -> Iterator[R]:
        warn_in_loop()
        return _blocking.iterate(_results.iterate(self._call, start, end), self._call)

    def aio(self, *, start: int = 0, end: int | None = None) -> AsyncIterator[R]:
        """The same, as an async iterator."""
        from modicum import _async

        return _async.iterate(_results.iterate(self._call, start, end), self._call)


class FunctionCall(Explained, Generic[R]):
    """A spawned call. Made by `Function.spawn`, or from its id in any process that reaches the server."""

    def __init__(self, object_id: str) -> None:
        self._id = object_id

    @property
    def object_id(self) -> str:
        """The call's id, `fc-…`."""
        return self._id

    from_id = _FromId()
    gather = _Gather()

    @both
    def hydrate(self, client: None = None) -> Operation[FunctionCall[R]]:
        """See that there is such a call. Raises `NotFoundError` if there is none."""
        yield from _results.look_up(self._id)
        return self

    def resolve(self) -> FunctionCall[R]:
        """See that there is such a call."""
        say("FunctionCall.resolve()", "FunctionCall.hydrate()")
        return self.hydrate()

    @both
    def num_inputs(self) -> Operation[int]:
        """Return how many inputs the call has: 1 after `spawn`, as many as there were elements after a map."""
        facts = yield from _results.look_up(self._id)
        return int(facts["inputs"])

    @both
    def get(self, timeout: float | None = None, *, index: int = 0) -> Operation[R]:
        """Return the value of the call's input `index`, waiting up to `timeout` seconds (None: for ever, 0: look once).

        Raises what the function raised, `RemoteError` if the call was cancelled, the built-in `TimeoutError`, which
        says why the input waits, while there is no output, `OutputExpiredError` when it is no longer kept and
        `NotFoundError` when there never was such a call. May be called again.
        """
        if timeout is not None and not isinstance(timeout, (int, float)):
            raise InvalidError(f"timeout must be a number of seconds, or None, not {timeout!r}")
        if not isinstance(index, int) or index < 0:
            raise InvalidError(f"index must be a whole number from 0 up, not {index!r}")
        return _results.get(self._id, index, timeout)

    @property
    def iter(self) -> _Iter[R]:
        """Iterate over the values of the call's inputs from `start` to before `end`, in the order of the inputs.

        Waits for each. Raises `ValueError` if the call has no such inputs, and at its place what the function raised.
        """
        return _Iter(self._id)

    @both
    def cancel(self, terminate_containers: bool = False) -> Operation[None]:
        """End the call: what waits of it never runs, what runs is interrupted, and nothing of it is run again.

        `get` raises `RemoteError` then. With `terminate_containers` the containers that run it are killed, and what
        else they ran is run elsewhere.
        """
        return _results.cancel(self._id, terminate_containers)

    @both
    def get_call_graph(self) -> Operation[list[InputInfo]]:
        """Return the tree of the calls that this one is part of: its uppermost inputs, each with its `children`.

        Spawned calls are in it as long as they are kept, others while they run.
        """
        return _results.graph(self._id)

    def __repr__(self) -> str:
        return f"modicum.FunctionCall({self._id!r})"


__all__ = ["FunctionCall"]
