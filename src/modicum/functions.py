"""Where functions and calls were imported from in earlier years: `from modal.functions import FunctionCall`."""

from __future__ import annotations

from modicum._old_names import say
from modicum.call import FunctionCall
from modicum.function import Function

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class _Gather:
    """`modal.functions.gather`"""

    def __call__(self, *function_calls: FunctionCall[Any]) -> Any:
        """Wait for all of these calls and return their values."""
        say("modal.functions.gather(…)", "modal.FunctionCall.gather(…)")
        return FunctionCall.gather(*function_calls)

    async def aio(self, *function_calls: FunctionCall[Any]) -> Any:
        """The same, as a coroutine."""
        say("modal.functions.gather.aio(…)", "modal.FunctionCall.gather.aio(…)")
        return await FunctionCall.gather.aio(*function_calls)


gather = _Gather()

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        from modicum._missing import missing

        raise missing("modal.functions", name, globals())


__all__ = ["Function", "FunctionCall", "gather"]
