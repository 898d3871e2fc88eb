"""Where functions and calls were imported from in earlier years: `from modal.functions import FunctionCall`."""

from __future__ import annotations

from modicum.call import FunctionCall
from modicum.function import Function

TYPE_CHECKING = False
if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        from modicum._missing import missing

        raise missing("modal.functions", name, globals())


__all__ = ["Function", "FunctionCall"]
