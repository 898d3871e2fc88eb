"""How a function of the user's program becomes a build step: what is sent of it, and when it has to run again."""

from __future__ import annotations

import base64
import hashlib
import inspect
import pickle
from types import FunctionType, ModuleType

from modicum.exception import InvalidError
from modicum.wire.values import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from modicum._files import FileSet
    from modicum.image import Step

ARGUMENTS_BYTES_MAX = 512 * 1024
"""A step travels in one frame's header, of a MiB, and the arguments in it by Base64."""


def check(raw: object, timeout: object) -> FunctionType:
    """Return `raw`, which can be a build step. Raises `InvalidError` if it cannot."""
    if not isinstance(raw, FunctionType):
        raise InvalidError(f"run_function: the argument must be a function, not {type(raw).__name__}.")
    if raw.__name__ == "<lambda>":
        raise InvalidError("run_function: a lambda cannot be a build step; give it a name with `def`.")
    if not raw.__qualname__.isidentifier():
        raise InvalidError(
            f"run_function: {raw.__qualname__!r} cannot be imported by name in a container; define it with `def` at "
            "the top level of a module."
        )
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or timeout <= 0:
        raise InvalidError(f"run_function: `timeout` must be a number of seconds above 0, not {timeout!r}.")
    return raw


def step(
    raw: FunctionType,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    has_source: bool,
    uploads: dict[str, FileSet],
) -> Step:
    """Return the step that runs `raw(*args, **kwargs)`; add its program's files to `uploads`.

    How they get to the node is no part of what the step is: other changes to the program do not repeat it.
    """
    from modicum import _source

    arguments = _pickled(tuple(args), dict(kwargs or {}))
    source = _source.of(raw)
    shipped: Step = {"arguments": base64.b64encode(arguments).decode(), "module": source.module}
    if has_source:
        uploads[source.files.id] = source.files
        shipped["files"] = source.files.id
    key = hashlib.sha256(arguments)
    for part in _definition(raw, {raw}):
        key.update(part)
    return {"op": "run_function", "function": raw.__qualname__, "key": key.hexdigest()[:32], "shipped": shipped}


def _pickled(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
    try:
        data = dumps((args, kwargs))
    except Exception as error:
        raise InvalidError(f"run_function: the arguments cannot be pickled: {error}") from error
    if len(data) > ARGUMENTS_BYTES_MAX:
        raise InvalidError(
            f"run_function: the arguments are {len(data)} bytes when pickled, and can be {ARGUMENTS_BYTES_MAX}; put "
            "large ones into a file."
        )
    return data


def _definition(function: FunctionType, seen: set[FunctionType]) -> list[bytes]:
    """Return what a function is: its source, and what it finds under the global names that it uses."""
    parts = [_text(function)]
    for name in sorted(_names(function.__code__)):
        if name in function.__globals__:
            value = function.__globals__[name]
            parts.append(name.encode())
            if isinstance(value, FunctionType) and value.__module__ == function.__module__:
                if value not in seen:
                    parts += _definition(value, seen | {value})
            else:
                parts.append(_value(value))
    return parts


def _names(code: Any) -> set[str]:
    nested = [constant for constant in code.co_consts if hasattr(constant, "co_names")]
    return {*code.co_names, *(name for inner in nested for name in _names(inner))}


def _text(function: FunctionType) -> bytes:
    try:
        return inspect.getsource(function).encode()
    except (OSError, TypeError):
        return function.__code__.co_code


def _value(value: object) -> bytes:
    """Return something that is the same for the same value in every process."""
    if isinstance(value, (ModuleType, type, FunctionType)):
        return getattr(value, "__qualname__", value.__name__).encode()
    try:
        return pickle.dumps(value, protocol=4)
    except Exception:  # noqa: BLE001 - whatever the user's objects raise
        return type(value).__qualname__.encode()
