"""How an input runs on a thread of its own, and how it is interrupted there."""

from __future__ import annotations

import threading

from modicum.agent.endings import failure, interrupted, piece_of, unsendable
from modicum.wire.messages import GENERATOR_DONE, SUCCESS
from modicum.wire.values import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from modicum.agent.loop import Agent, Input
    from modicum.agent.service import Target


class Interruptible:
    """Runs user code on the calling thread, so that another can raise `InputCancellation` in it and nowhere else."""

    def __init__(self, key: str) -> None:
        self.key = key
        self._lock = threading.Lock()
        self._thread: int | None = None
        self._was_interrupted = False

    def run(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Return what `function` returns. Raises what it raises, and `InputCancellation`."""
        try:
            try:
                with self._lock:
                    if self._was_interrupted:
                        raise interrupted()
                    self._thread = threading.get_ident()
                return function(*args, **kwargs)
            finally:
                self._close()
        except BaseException:
            self._close()  # again, if it was the interrupt that came while we closed: there is only one
            raise

    def interrupt(self) -> None:
        """Raise it there now, or at once in what is run next."""
        with self._lock:
            if self._was_interrupted:
                return
            self._was_interrupted = True
            if self._thread is not None:
                _raise_in(self._thread)

    def _close(self) -> None:
        with self._lock:
            if self._thread is not None and self._was_interrupted:
                _raise_nothing_in(self._thread)
            self._thread = None


def _raise_in(thread: int) -> None:
    import ctypes

    from modicum.exception import InputCancellation

    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(InputCancellation))


def _raise_nothing_in(thread: int) -> None:
    """Take back what has been set to be raised and was not yet."""
    import ctypes

    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), None)


def run_one(agent: Agent, target: Target, item: Input, place: Interruptible) -> tuple[str, bytes]:
    """Run an input on this thread; return how it ended."""
    try:
        args, kwargs = agent.arguments(item)
        if target.is_generator:
            return GENERATOR_DONE, dumps(_generate(agent, target, item[0], place, args, kwargs))
        value = place.run(target.function, *args, **kwargs)
    except BaseException as error:  # noqa: BLE001
        return failure(error)
    return success(target, value)


def success(target: Target, value: object) -> tuple[str, bytes]:
    """Return how an input ended that has a value."""
    try:
        return SUCCESS, dumps(value)
    except Exception as error:  # noqa: BLE001 - whatever its own pickling raises
        return failure(unsendable(target.function, "returned", value, error))


def _generate(agent: Agent, target: Target, key: str, place: Interruptible, args: Any, kwargs: Any) -> int:
    pieces = agent.open_pieces(key)
    items = place.run(lambda: iter(target.function(*args, **kwargs)))
    count = 0
    end = object()
    while (value := place.run(next, items, end)) is not end:
        pieces.send(piece_of(target.function, value))
        count += 1
    return count
