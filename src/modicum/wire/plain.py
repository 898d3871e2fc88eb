"""How bytes are read that hostile code may have made: as values of built-in types, or not at all.

A pickle is a program. What plain values take of its instructions makes them and puts them together; what else there is
names things of modules and calls them. So the instructions are looked at before any of them is run.
"""

from __future__ import annotations

import io
import pickle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

TYPES = "None, bool, int, float, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset, range and slice"
"""What a plain value is made of."""

_CALLABLE = {"complex": complex, "range": range, "slice": slice}
"""What alone may be called: a pickle has no other way to say them."""

_FIXED = {
    0: "()]}N\x88\x89\x85\x86\x87\x8f\x90\x91\x93\x94aestuR01",
    1: "K\x80h",
    2: "M",
    4: "Jj",
    8: "G\x95",
}
"""Instructions by how many bytes of argument they have; GLOBAL, BUILD, NEWOBJ and their kin are not among them."""

_COUNTED = {1: "\x8cC\x8a", 4: "XB\x8b", 8: "\x8d\x8e\x96"}
"""Instructions whose argument follows its own length, by how many bytes that has."""

_STOP = ord(".")
_SKIP = bytes(next((size for size, names in _FIXED.items() if chr(code) in names), 255) for code in range(256))
_LENGTH = bytes(next((size for size, names in _COUNTED.items() if chr(code) in names), 0) for code in range(256))

DEPTH_MAX = 1000
"""No pickler makes a deeper tuple without help."""

_NESTING = (b"\x85", b"\x86", b"\x87", b"t", b"R")
"""What puts things into a tuple, or into a slice or a range, which are hashed like one."""

_SIMPLE = frozenset(map(ord, ")]}N\x88\x89\x8fKMJG\x8cC\x8aXB\x8b\x8d\x8e\x96"))
"""What makes something that holds nothing yet."""


class NotPlain(Exception):
    """There is more in it than values of built-in types; the message says what."""


def loads(data: bytes | bytearray) -> Any:
    """Return the value. Raises `NotPlain`."""
    _look_through(data)
    try:
        return _Unpickler(io.BytesIO(data)).load()
    except NotPlain:
        raise
    except Exception as error:  # noqa: BLE001 - whatever instructions in a wrong order lead to
        raise NotPlain(f"its bytes make no value: {type(error).__name__}") from None


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        found = _CALLABLE.get(name) if module == "builtins" else None
        if found is None:
            raise NotPlain(f"there is a {f'{module}.{name}'[:200]} in it")
        return found


def _look_through(data: bytes | bytearray) -> None:
    """Raise `NotPlain` unless all instructions are plain ones, their arguments are there, and no tuple is too deep."""
    if sum(map(data.count, _NESTING)) > DEPTH_MAX:  # letters of texts among them
        _check_depth(data)
    else:
        for _ in _instructions(data):
            pass


def _instructions(data: bytes | bytearray) -> Iterator[tuple[int, bytes | bytearray]]:
    """Yield each instruction before the last with what follows it, where that has a fixed size."""
    place, end = 0, len(data)
    try:
        while (code := data[place]) != _STOP:
            place += 1
            size = _SKIP[code]
            if size != 255:
                yield code, data[place : place + size]
                place += size
            elif width := _LENGTH[code]:
                place += width + int.from_bytes(data[place : place + width], "little")
                yield code, b""
            else:
                raise NotPlain("there is an object in it that is of no built-in type")
            if place > end:
                raise IndexError
    except IndexError:
        raise NotPlain("it is cut short") from None


def _check_depth(data: bytes | bytearray) -> None:
    """Raise `NotPlain` for a tuple so deep that hashing it would overrun the stack: nothing stops that."""
    depths = _Depths()
    for code, argument in _instructions(data):
        if code in _SIMPLE:
            depths.stack.append(0)
            continue
        try:
            depths.take(chr(code), argument)
        except IndexError:
            raise NotPlain("its instructions are in a wrong order") from None


class _Depths:
    """What an unpickler has on its stack and in its memo, as how deep each tuple is. Lists and sets hash nothing."""

    def __init__(self) -> None:
        self.stack: list[int] = []
        self._marks: list[int] = []
        self._memo: list[int] = []

    def take(self, name: str, argument: bytes | bytearray) -> None:
        """Follow an instruction. Raises `IndexError` if it cannot be where it is."""
        if name == "(":
            self._marks.append(len(self.stack))
        elif name in "\x85\x86\x87t":
            self._nest(self._marks.pop() if name == "t" else len(self.stack) - ord(name) + 0x84)
        elif name == "R":
            self._nest(len(self.stack) - 2)
        elif name == "\x94":
            self._memo.append(self.stack[-1])
        elif name in "hj":
            self.stack.append(self._memo[int.from_bytes(argument, "little")])
        elif name in "aeus\x900\x31":
            self._drop(name)
        elif name in "\x91\x93":
            del self.stack[self._marks.pop() if name == "\x91" else -2 :]
            self.stack.append(0)

    def _nest(self, first: int) -> None:
        if not 0 <= first <= len(self.stack):
            raise IndexError
        depth = 1 + max(self.stack[first:], default=0)
        if depth > DEPTH_MAX:
            raise NotPlain(f"a tuple in it is more than {DEPTH_MAX} deep")
        self.stack[first:] = [depth]

    def _drop(self, name: str) -> None:
        if name == "0" and self._marks and self._marks[-1] == len(self.stack):
            self._marks.pop()
        elif name in "a0s":
            for _ in range(2 if name == "s" else 1):
                self.stack.pop()
        else:
            del self.stack[self._marks.pop() :]


def text_of_exception(data: bytes | bytearray) -> tuple[str, str]:
    """Return type and text, and the whole traceback, of what `dump_exception` of `values.py` took.

    Nothing is made of it but text. Raises `NotPlain`.
    """
    records = loads(data)
    try:
        order = _chain(records)
        texts = [_traceback(records[place], link) for place, link in order]
        last = records[0]
        return f"{last['type']}: {last['text']}", "".join(texts)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError):
        raise NotPlain("it is no exception") from None


_CAUSE = "\nThe above exception was the direct cause of the following exception:\n\n"
_CONTEXT = "\nDuring handling of the above exception, another exception occurred:\n\n"


def _chain(records: Any) -> list[tuple[int, str]]:
    """Return the exceptions as Python prints them, what led to another before it, and what stands behind each."""
    order: list[tuple[int, str]] = []
    place, link, seen = 0, "", set()
    while place not in seen:
        seen.add(place)
        order.append((place, link))
        record = records[place]
        if "cause" in record:
            place, link = record["cause"], _CAUSE
        elif "context" in record and not record["suppress"]:
            place, link = record["context"], _CONTEXT
    return order[::-1]


def _traceback(record: Any, behind: str) -> str:
    from modicum.wire.values import format_remote

    return format_remote(record) + behind
