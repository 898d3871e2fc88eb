"""How Python values become bytes and back: arguments, results, exceptions with their tracebacks.

Built-in values go through `pickle` alone, which is fast and always importable. Anything else goes through cloudpickle,
imported only then. The server never calls anything here.
"""

from __future__ import annotations

import io
import pickle
import sys
import types

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_OURS = (__file__[: -len("wire/values.py")], "<frozen importlib")
"""Where frames lie that tell the user nothing about his program."""


class _NotPlain(Exception):
    """The value holds something that is not built in."""


class _PlainPickler(pickle.Pickler):
    def reducer_override(self, obj: Any) -> Any:
        # Called for everything but exact built-in containers and scalars.
        raise _NotPlain


def dumps(value: object) -> bytes:
    """Return `value` as bytes. Raises whatever its own pickling raises."""
    buffer = io.BytesIO()
    try:
        _PlainPickler(buffer, 5).dump(value)
        return buffer.getvalue()
    except _NotPlain:
        import cloudpickle  # type: ignore[import-untyped,unused-ignore]

        return bytes(cloudpickle.dumps(value, protocol=5))


loads = pickle.loads


def dump_exception(error: BaseException) -> bytes:
    """Return an exception, its causes, notes and tracebacks (without our own frames) as bytes that always load."""
    chain = [error]
    numbers = {id(error): 0}
    records: list[dict[str, Any]] = []
    for each in chain:  # grows meanwhile: chains may be long, and may lead back to themselves
        record = _record(each)
        records.append(record)
        for name, other in (("cause", each.__cause__), ("context", each.__context__)):
            if other is None:
                continue
            if id(other) not in numbers:
                numbers[id(other)] = len(chain)
                chain.append(other)
            record[name] = numbers[id(other)]
    return pickle.dumps(records, 5)


def _record(error: BaseException) -> dict[str, Any]:
    kind = type(error)
    plain = kind.__module__ in ("builtins", "__main__")
    return {
        "type": kind.__qualname__ if plain else f"{kind.__module__}.{kind.__qualname__}",
        "text": _text_of(error),
        "notes": _notes_of(error),
        "frames": _frames(error.__traceback__),
        "pickled": _pickled(error),
        "suppress": error.__suppress_context__,
    }


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - a user's __str__ may fail; the type still tells something
        return "<no text: its __str__ failed>"


def _notes_of(error: BaseException) -> list[str]:
    try:
        return [str(note) for note in getattr(error, "__notes__", ())]
    except Exception:  # noqa: BLE001 - they are whatever the user has put there
        return []


def _pickled(error: BaseException) -> bytes | None:
    try:
        data = dumps(error)
        pickle.loads(data)  # many exceptions pickle but do not unpickle; find out here, where the text is at hand
        return data
    except Exception:  # noqa: BLE001
        return None


def _frames(traceback: types.TracebackType | None) -> list[tuple[str, int, str, str]]:
    import linecache

    frames = []
    while traceback is not None:
        code = traceback.tb_frame.f_code
        if code.co_filename.startswith(_OURS):
            traceback = traceback.tb_next
            continue
        line = linecache.getline(code.co_filename, traceback.tb_lineno, traceback.tb_frame.f_globals)
        frames.append((code.co_filename, traceback.tb_lineno, code.co_name, line))
        traceback = traceback.tb_next
    return frames


class Unloadable(Exception):
    """The exception of the other side cannot be made here; `text` is its whole traceback."""

    def __init__(self, summary: str, text: str, was_pickled: bool) -> None:
        super().__init__(summary)
        self.text = text
        self.was_pickled = was_pickled


def load_exception(data: bytes) -> BaseException:
    """Return the exception that `dump_exception` took, ready to be raised: with causes, notes and remote frames.

    What cannot be unpickled here comes as `Unloadable`, which has the remote traceback as text.
    """
    records = pickle.loads(data)
    errors = [_rebuild(record) for record in records]
    for error, record in zip(errors, records):
        if "cause" in record:
            error.__cause__ = errors[record["cause"]]
        if "context" in record:
            error.__context__ = errors[record["context"]]
        error.__suppress_context__ = record["suppress"]
    return errors[0]


def _rebuild(record: dict[str, Any]) -> BaseException:
    error: BaseException | None = None
    if record["pickled"] is not None:
        try:
            error = pickle.loads(record["pickled"])
        except Exception:  # noqa: BLE001 - its class, or what its __init__ needs, does not exist on this side
            error = None
    if not isinstance(error, BaseException):
        summary = f"{record['type']}: {record['text']}"
        error = Unloadable(summary, format_remote(record), record["pickled"] is not None)
    elif record["notes"] and not getattr(error, "__notes__", None):
        error.__notes__ = list(record["notes"])  # type: ignore[attr-defined,unused-ignore]
    return error.with_traceback(_traceback(record["frames"]))


def format_remote(record: dict[str, Any]) -> str:
    """Return the traceback of one exception of a chain as Python prints it."""
    lines = ["Traceback (most recent call last):\n"]
    for filename, lineno, name, line in record["frames"]:
        lines.append(f'  File "{filename}", line {lineno}, in {name}\n')
        if line.strip():
            lines.append(f"    {line.strip()}\n")
    lines.append(f"{record['type']}: {record['text']}\n")
    lines.extend(f"{note}\n" for note in record["notes"])
    return "".join(lines)


def _traceback(frames: list[tuple[str, int, str, str]]) -> types.TracebackType | None:
    """Build a traceback whose frames name the other side's files and lines, so that Python prints them as its own."""
    traceback: types.TracebackType | None = None
    for filename, lineno, name, line in reversed(frames):
        code = compile("frame = __import__('sys')._getframe()", filename, "exec").replace(co_name=name)
        if sys.version_info >= (3, 11):
            code = code.replace(co_qualname=name)
        scope: dict[str, Any] = {"__name__": name}
        exec(code, scope)
        traceback = types.TracebackType(traceback, scope["frame"], -1, lineno)
        _remember_line(filename, lineno, line)
    return traceback


def _remember_line(filename: str, lineno: int, line: str) -> None:
    """Let `traceback` show a source line of a file that does not exist on this side."""
    import linecache
    import os

    if not line or os.path.exists(filename):
        return
    entry = linecache.cache.get(filename)
    lines = list(entry[2]) if entry is not None and len(entry) == 4 else []  # type: ignore[misc,unused-ignore]
    lines.extend("\n" for _ in range(lineno - len(lines)))
    lines[lineno - 1] = line
    linecache.cache[filename] = (0, None, lines, filename)
