"""How an input ends otherwise than with a value: by an exception, a value that cannot travel, or an interrupt.

Nothing of this is loaded before some input ends so.
"""

from __future__ import annotations

import os

from modicum import _context
from modicum.wire.messages import EXCEPTION, INTERNAL
from modicum.wire.values import dump_exception, dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


_CODE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep

SUMMARY_CHARS = 200


def interrupted() -> BaseException:
    """Return what is raised in user code whose result nobody wants any longer."""
    from modicum.exception import InputCancellation

    return InputCancellation("the input was cancelled")


def failure(error: BaseException) -> tuple[str, bytes]:
    """Return how an input ended: with the user's exception, without our own frames, or by a fault of the platform."""
    from modicum.agent.blobs import BlobLost

    if isinstance(error, BlobLost):
        return INTERNAL, str(error).encode()
    if type(error).__name__ == "BdbQuit" and _context.interact is None:
        from modicum._interact import no_terminal

        error = no_terminal("pdb").with_traceback(error.__traceback__)
    log_error(error)
    return EXCEPTION, dump_exception(error)


def log_error(error: BaseException) -> None:
    """Print a traceback if the log is to have it: not of an input that was cancelled."""
    if _context.logs_errors and isinstance(error, (Exception, SystemExit)):
        show(error)


def show(error: BaseException) -> None:
    """Print a traceback without our own frames at its beginning."""
    import traceback

    where = error.__traceback__
    while where is not None and where.tb_frame.f_code.co_filename.startswith((_CODE, "<frozen importlib")):
        where = where.tb_next
    traceback.print_exception(type(error), error, where)


def summary(error: BaseException) -> str:
    """Return an exception's type and text in one line, cut where it is long."""
    import traceback

    line = " ".join("".join(traceback.format_exception_only(type(error), error)).split())
    return line if len(line) <= SUMMARY_CHARS else line[: SUMMARY_CHARS - 1] + "…"


def unsendable(function: Callable[..., Any], did: str, value: object, error: Exception) -> Exception:
    """Return the error for a value that cannot be sent to the caller."""
    from modicum.exception import SerializationError

    refused = SerializationError(
        f"what {function.__name__!r} {did}, a {type(value).__name__}, cannot be sent to its caller: "
        f"{type(error).__name__}: {error}; give it plain data"
    )
    refused.__cause__ = error
    return refused


def piece_of(function: Callable[..., Any], value: object) -> bytes:
    """Return what a generator yielded as bytes."""
    try:
        return dumps(value)
    except Exception as error:
        raise unsendable(function, "yielded", value, error) from error


def unloadable(error: Exception) -> Exception:
    """Return the error for arguments that cannot be made here."""
    from modicum.exception import DeserializationError

    return DeserializationError(
        f"the arguments of this call cannot be loaded in the container: {type(error).__name__}: {error}; what they are "
        "made of must be importable there: install the package in the function's image, or ship its source"
    )


def cancelled() -> bytes:
    """Return the output of an input that was cancelled before it began."""
    from modicum.exception import InputCancellation

    return dump_exception(InputCancellation("cancelled before it began"))
