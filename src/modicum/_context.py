"""Where this code runs: in the user's own process, or in a container for some input."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import ContextVar
    from typing import Any

socket_directory: str | None = None
"""The container's socket directory; None in the user's own process."""

app: str | None = None
functions: dict[str, dict[str, Any]] = {}
"""In a container: the id of its own app, and name → {"id", "module", "qualname"} of that app's functions."""

logs_errors = False
"""In a container: is what inputs raise printed, too? Who calls a deployed app may not look after it."""

interact: Callable[[], None] | None = None
"""In a container of an app that runs in interactive mode: gives user code the terminal of whoever runs it."""

restricted = False
"""In a container: may its code not use Modicum?"""

shown: dict[str, Callable[[int, float], bool]] = {}
"""For each app whose output this process shows: waits until it is shown up to a cursor, so many seconds; says if so."""

SHOWN_WITHIN_S = 2.0
"""A call does not wait longer than this for output to be shown; something is wrong with the terminal then."""

_key: str | None = None
_keys: ContextVar[str | None] | None = None
"""The input that this process runs; where it runs several, each thread's and task's own."""


def wait_shown(log: tuple[str, int], within_s: float = SHOWN_WITHIN_S) -> bool:
    """Wait until an app's output up to `log`, (app, cursor), is on the terminal; say if it is, or is not shown here."""
    wait = shown.get(log[0])
    return wait is None or wait(log[1], within_s)


def separate() -> None:
    """From now on each thread and task enters and leaves inputs of its own."""
    global _keys
    from contextvars import ContextVar

    _keys = ContextVar("modicum_input", default=None)


def enter(key: str) -> None:
    """From now on this process, or this thread or task, runs the input `key`."""
    global _key
    if _keys is None:
        _key = key
    else:
        _keys.set(key)


def leave() -> None:
    """No input runs any longer."""
    global _key
    if _keys is None:
        _key = None
    else:
        _keys.set(None)


def key() -> str | None:
    """Return the key (`fc-…:0`) of the input that is being processed, None outside of one."""
    return _key if _keys is None else _keys.get()


def check_access(doing: str) -> None:
    """Raise `PermissionDeniedError` in a container whose function has `restrict_modal_access`."""
    if restricted:
        from modicum.exception import PermissionDeniedError

        raise PermissionDeniedError(
            f"{doing} is not possible here: this container's function has restrict_modal_access=True, so its code "
            "cannot use Modicum"
        )


def is_local() -> bool:
    """Return True in your own process and False where a Function runs in its container.

    Child processes that a Function starts are local again.
    """
    return socket_directory is None


def current_input_id() -> str | None:
    """Return the id (`in-…`) of the input that is being processed, None outside of one."""
    running = key()
    if running is None:
        return None
    call, _, index = running.partition(":")
    return f"in-{call[3:]}-{index}"


def current_function_call_id() -> str | None:
    """Return the id (`fc-…`) of the call whose input is being processed, None outside of one."""
    running = key()
    return None if running is None else running.partition(":")[0]
