"""Modicum: serverless Python on machines of your own.

Names are imported when they are first used: the agent, which starts with every container, needs few of them.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from modicum import exception, types
    from modicum._alias import install_as_modal
    from modicum._context import current_function_call_id, current_input_id, is_local
    from modicum._interact import interact
    from modicum.app import App
    from modicum.call import FunctionCall
    from modicum.cls import Cls, parameter
    from modicum.dict import Dict
    from modicum.exception import Error
    from modicum.file_pattern_matcher import FilePatternMatcher
    from modicum.function import Function
    from modicum.image import Image
    from modicum.output import enable_output
    from modicum.partial_function import batched, concurrent, enter, exit, method  # noqa: A004 - it is Modal's name
    from modicum.queue import Queue
    from modicum.retries import Retries
    from modicum.schedule import Cron, Period
    from modicum.secret import Secret

__version__ = "0.1.0.dev0"

_HOMES = {
    "App": "app",
    "Cls": "cls",
    "Cron": "schedule",
    "Dict": "dict",
    "Error": "exception",
    "Function": "function",
    "FunctionCall": "call",
    "FilePatternMatcher": "file_pattern_matcher",
    "Image": "image",
    "Period": "schedule",
    "Queue": "queue",
    "Retries": "retries",
    "Secret": "secret",
    "batched": "partial_function",
    "concurrent": "partial_function",
    "current_function_call_id": "_context",
    "current_input_id": "_context",
    "enable_output": "output",
    "enter": "partial_function",
    "exception": "exception",
    "exit": "partial_function",
    "install_as_modal": "_alias",
    "interact": "_interact",
    "is_local": "_context",
    "method": "partial_function",
    "parameter": "cls",
    "types": "types",
}
"""Which module each public name lives in."""

__all__ = [
    "App",
    "Cls",
    "Cron",
    "Dict",
    "Error",
    "FilePatternMatcher",
    "Function",
    "FunctionCall",
    "Image",
    "Period",
    "Queue",
    "Retries",
    "Secret",
    "__version__",
    "batched",
    "concurrent",
    "current_function_call_id",
    "current_input_id",
    "enable_output",
    "enter",
    "exception",
    "exit",
    "install_as_modal",
    "interact",
    "is_local",
    "method",
    "parameter",
    "types",
]


if not TYPE_CHECKING:  # a type checker sees that other names are not there

    def __getattr__(name: str) -> object:
        home = _HOMES.get(name)
        if home is None:
            return _absent(name)
        import importlib

        module = importlib.import_module(f"modicum.{home}")
        value = module if home == name else getattr(module, name)
        globals()[name] = value
        return value

    def _absent(name: str) -> object:
        """Return what an older name stands for. Raises an error that says what there is to say of the name."""
        if name == "Stub":
            from modicum._old_names import say
            from modicum.app import App

            say("modal.Stub", "modal.App")
            return App
        if name in ("functions", "gpu"):  # `modal.functions.gather` needed no import of its own
            import importlib

            return importlib.import_module(f"modicum.{name}")
        if name.startswith("_"):  # the import system asks for submodules so before it looks for their files
            raise AttributeError(f"module 'modicum' has no attribute {name!r}")
        from modicum._missing import from_module

        raise from_module("modal", name, __all__)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
