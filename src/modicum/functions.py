"""Where functions and calls were imported from in earlier years: `from modal.functions import FunctionCall`."""

from __future__ import annotations

from modicum.call import FunctionCall
from modicum.function import Function

__all__ = ["Function", "FunctionCall"]
