"""How several inputs become one run of a function: parameters become lists, and the list of results is cut up."""

from __future__ import annotations

import threading

from modicum.agent.endings import cancelled, failure
from modicum.agent.running import success
from modicum.wire.messages import EXCEPTION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from modicum.agent.loop import Agent, Input
    from modicum.agent.service import Target

    Arguments = tuple[list[Any], dict[str, Any]]


class Batch:
    """Inputs that run together. Each is answered once: at the end, or earlier if it does not fit or is cancelled."""

    def __init__(self, agent: Agent, target: Target, items: list[Input]) -> None:
        self._agent = agent
        self._target = target
        self._items = items
        self._lock = threading.Lock()
        self._open = {item[0]: item for item in items}

    @property
    def is_wanted(self) -> bool:
        """Whether anybody waits for a result."""
        return bool(self._open)

    def arguments(self) -> Arguments:
        """Return what the function is called with; inputs whose arguments do not fit it are answered now."""
        positional, by_name = _parameters(self._target.function)
        rows = []
        for item in list(self._items):
            try:
                args, kwargs = self._agent.arguments(item)
                rows.append(_row(self._target.function.__name__, positional + by_name, args, kwargs))
            except BaseException as error:  # noqa: BLE001
                self._items.remove(item)
                self._answer(item, *failure(error), 0.0, False)
        return [[row[n] for row in rows] for n in positional], {n: [row[n] for row in rows] for n in by_name}

    def cancel(self, key: str) -> bool:
        """Answer an input that nobody wants any longer; return whether there is still another one."""
        with self._lock:
            item = self._open.get(key)
        if item is not None:
            self._answer(item, EXCEPTION, cancelled(), 0.0, False)
        return self.is_wanted

    def end(self, values: object, run_s: float, printed: bool) -> None:
        """Give each input its result. All fail unless there is one for each."""
        if not isinstance(values, list) or len(values) != len(self._items):
            self.fail(_no_results(self._target.function.__name__, values, len(self._items)), run_s, printed)
            return
        for item, value in zip(self._items, values):
            self._answer(item, *success(self._target, value), run_s, printed)

    def fail(self, error: BaseException, run_s: float, printed: bool) -> None:
        """All inputs end with this error."""
        status, value = failure(error)
        for item in self._items:
            self._answer(item, status, value, run_s, printed)

    def _answer(self, item: Input, status: str, value: bytes, run_s: float, printed: bool) -> None:
        with self._lock:
            if self._open.pop(item[0], None) is None:
                return
        self._agent.finish(item[0], item[1], status, run_s, value, printed)


def _parameters(function: Any) -> tuple[list[str], list[str]]:
    """Return the names of a function's parameters: the positional ones, and those that only go by name."""
    is_bound = hasattr(function, "__self__")
    while hasattr(function, "__wrapped__"):  # by a decorator of another library
        function = function.__wrapped__
    code = function.__code__
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    return list(names[is_bound : code.co_argcount]), list(names[code.co_argcount :])


def _row(function: str, names: list[str], args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return one input's arguments by name. Raises `InvalidError` unless there is one for each parameter."""
    row = {**dict(zip(names, args)), **kwargs}
    if len(args) + len(kwargs) != len(names) or set(row) != set(names):
        from modicum.exception import InvalidError

        raise InvalidError(
            f"{function!r} runs inputs in batches and takes exactly {', '.join(names) or 'nothing'}; this call gave "
            f"{len(args)} by position and {', '.join(kwargs) or 'none'} by name"
        )
    return row


def _no_results(function: str, values: object, count: int) -> Exception:
    from modicum.exception import InvalidError

    gave = f"a list of {len(values)}" if isinstance(values, list) else f"a {type(values).__name__}"
    return InvalidError(f"{function!r} ran a batch of {count} and returned {gave}: it must return a list of {count}")
