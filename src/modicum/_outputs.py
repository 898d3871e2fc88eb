"""What has come of an input, and how it becomes a value or an exception."""

from __future__ import annotations

import traceback

from modicum import _blobs, _context
from modicum._exchange import ConnectionLost, Reconnect
from modicum.exception import ExecutionError, FunctionTimeoutError, InternalFailure, NotFoundError, RemoteError
from modicum.wire import values
from modicum.wire.messages import EXCEPTION, GENERATOR_DONE, INTERNAL, SUCCESS, TERMINATED, TIMEOUT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from modicum._exchange import Operation


class Output:
    """An output that has come. The bytes of a large one have to be fetched before it has a value."""

    __slots__ = ("_data", "_lost", "_plain", "_status", "blob", "index")

    def __init__(self, entry: Any, data: bytes) -> None:
        self.index, self._status, _, self.blob, *plain = entry
        self._plain = bool(plain)
        self._data: bytes | bytearray = data
        self._lost = False

    def fetch(self) -> Operation[bool]:
        """Fetch the bytes. Return False if they went with a server that was lost: the input has to run again."""
        if self.blob is None:
            return True
        try:
            self._data = yield from _blobs.get(self.blob)
        except ConnectionLost:
            self._lost = True
            raise
        except NotFoundError:
            if self._lost:
                return False
            raise
        return True

    def fetch_through(self) -> Operation[None]:
        """Fetch the bytes over as many connections as it takes. Raises `ConnectionLost` if they are no longer there."""
        there: bool | None = None
        while there is None:
            try:
                there = yield from self.fetch()
            except ConnectionLost:
                yield Reconnect()
        if not there:
            raise ConnectionLost

    def value(self) -> Any:
        """Return the value or raise what the output stands for."""
        return _value(self._status, self._data, self._plain)


def _value(status: str, data: bytes | bytearray, plain: bool) -> Any:
    if status in (SUCCESS, GENERATOR_DONE):
        return load(data, plain)
    if status == EXCEPTION:
        raise _plain_exception(data) if plain else _exception(data)
    text = bytes(data).decode(errors="replace")
    raise {TIMEOUT: FunctionTimeoutError, INTERNAL: InternalFailure, TERMINATED: RemoteError}[status](text)


def load(data: bytes | bytearray, plain: bool) -> Any:
    """Return a value. A plain one is of built-in types: whoever made it may be hostile, and unpickling runs code."""
    if not plain:
        return _load(data)
    from modicum.wire.plain import TYPES, NotPlain, loads

    try:
        return loads(data)
    except NotPlain as error:
        raise ExecutionError(
            f"what the function returned is not taken: {error}. Its code is not trusted (restrict_modal_access or "
            f"_experimental_restrict_output), so it may return values of {TYPES} alone"
        ) from None


def _load(data: bytes | bytearray) -> Any:
    try:
        return values.loads(data)
    except Exception as error:
        raise ExecutionError(
            f"the function returned a value that cannot be loaded here: {type(error).__name__}: {error}; "
            "are the packages that its type needs installed in this environment?"
        ) from error


def _exception(data: bytes | bytearray) -> BaseException:
    error = values.load_exception(bytes(data))
    if isinstance(error, values.Unloadable):
        return _unloadable(error)
    if isinstance(error, ModuleNotFoundError) and _context.is_local():
        from modicum import _missing_modules  # it looks through the whole path

        _missing_modules.advise(error)
    if isinstance(error, Exception):
        return error
    # Raised here, a SystemExit or KeyboardInterrupt of the function would end the caller without a word.
    text = "".join(traceback.format_exception(error))
    return RemoteError(f"the function ended with {type(error).__name__}:\n{text}")


def _unloadable(error: values.Unloadable) -> Exception:
    if error.was_pickled:
        return ExecutionError(f"the function raised an exception that cannot be loaded here:\n{error.text}")
    return RemoteError(f"the function raised an exception that cannot be pickled:\n{error.text}")


def _plain_exception(data: bytes | bytearray) -> RemoteError:
    """Return what the function raised, as text."""
    from modicum.wire.plain import NotPlain, text_of_exception

    try:
        summary, text = text_of_exception(data)
    except NotPlain as error:
        return RemoteError(f"the function raised an exception that cannot be told: {error}")
    return RemoteError(f"{summary}\n\n{text}")
