"""Modicum: serverless Python on machines of your own."""

from __future__ import annotations

from modicum import exception
from modicum._alias import install_as_modal
from modicum._context import current_function_call_id, current_input_id, is_local
from modicum.app import App
from modicum.call import FunctionCall
from modicum.exception import Error
from modicum.function import Function
from modicum.image import Image

__version__ = "0.1.0.dev0"

__all__ = [
    "App",
    "Error",
    "Function",
    "FunctionCall",
    "Image",
    "__version__",
    "current_function_call_id",
    "current_input_id",
    "exception",
    "install_as_modal",
    "is_local",
]
