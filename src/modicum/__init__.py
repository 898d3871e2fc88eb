"""Modicum: serverless Python on machines of your own.

Names are imported when they are first used: the agent, which starts with every container, needs few of them.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from modicum import exception
    from modicum._alias import install_as_modal
    from modicum._context import current_function_call_id, current_input_id, is_local
    from modicum.app import App
    from modicum.call import FunctionCall
    from modicum.exception import Error
    from modicum.file_pattern_matcher import FilePatternMatcher
    from modicum.function import Function
    from modicum.image import Image

__version__ = "0.1.0.dev0"

_HOMES = {
    "App": "app",
    "Error": "exception",
    "Function": "function",
    "FunctionCall": "call",
    "FilePatternMatcher": "file_pattern_matcher",
    "Image": "image",
    "current_function_call_id": "_context",
    "current_input_id": "_context",
    "exception": "exception",
    "install_as_modal": "_alias",
    "is_local": "_context",
}
"""Which module each public name lives in."""

__all__ = [
    "App",
    "Error",
    "FilePatternMatcher",
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


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'modicum' has no attribute {name!r}")
    import importlib

    module = importlib.import_module(f"modicum.{home}")
    value = module if home == name else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
