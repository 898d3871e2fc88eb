"""How bytes are read that hostile code may have made: as values of built-in types, or not at all.

A pickle is a program. What plain values take of its instructions makes them and puts them together; what else there is
names things of modules and calls them. So the instructions are looked at before any of them is run.
"""

from __future__ import annotations

import io
import pickle

TYPE_CHECKING = False
if TYPE_CHECKING:
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
_LONG = b"\x8a\x8b"
_SKIP = bytes(next((size for size, names in _FIXED.items() if chr(code) in names), 255) for code in range(256))
_LENGTH = bytes(next((size for size, names in _COUNTED.items() if chr(code) in names), 0) for code in range(256))

DEPTH_MAX = 1000
"""No pickler makes a deeper tuple without help."""

HASHED_MAX = 1 << 26
"""So many parts all keys and members of sets may have together, beyond the bytes that there are: a tuple that has
another in it twice, which has another in it twice, is short, and takes for ever to be hashed. Nothing stops that.
"""

_Thing = tuple[int, int, str]
"""What is on the stack: how deep it is as a tuple, of how many parts its hash is made, and which instruction made it,
if that is something to be filled. Lists and sets hash nothing; what a frozenset was hashed to, it remembers.
"""

_SIMPLE: _Thing = (0, 1, "")
_MAKES: list[_Thing | None] = [
    (0, 1, chr(code))
    if chr(code) in "]}\x8f"
    else _SIMPLE
    if chr(code) in ")N\x88\x89KMJG\x8cCXB\x8d\x8e\x96"
    else None
    for code in range(256)
]
"""By instruction, what it puts on the stack without a look at what is there."""

_FILLS = {"a": "]", "e": "]", "s": "}", "u": "}", "\x90": "\x8f"}
"""What may be filled by an instruction: slices of lists take more memory than the bytes have."""


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
    """Raise `NotPlain` unless all instructions are plain ones, their arguments are there, and no hash is too much."""
    place, end, stack = 0, len(data), _Stack(len(data))
    push = stack.things.append
    try:
        while (code := data[place]) != _STOP:
            place += 1
            size = _SKIP[code]
            if size == 255:
                width = _LENGTH[code]
                if not width:
                    raise NotPlain("there is an object in it that is of no built-in type")
                size = width + int.from_bytes(data[place : place + width], "little")
            if place + size > end:
                raise NotPlain("it is cut short")
            if (made := _MAKES[code]) is not None:
                push(made)
            elif code in _LONG:
                push((0, size, ""))
            else:
                stack.take(chr(code), data[place : place + size])
            place += size
    except IndexError:
        raise NotPlain("it is cut short" if place >= end else "its instructions are in a wrong order") from None


class _Stack:
    """What an unpickler has on its stack and in its memo."""

    def __init__(self, size: int) -> None:
        self.things: list[_Thing] = []
        self._marks: list[int] = []
        self._memo: list[_Thing] = []
        self._to_hash = HASHED_MAX + size

    def take(self, name: str, argument: bytes | bytearray) -> None:
        """Follow an instruction. Raises `IndexError` if it cannot be where it is, and `NotPlain`."""
        if name == "(":
            self._marks.append(len(self.things))
        elif name in "\x85\x86\x87t":
            self._nest(self._marks.pop() if name == "t" else len(self.things) - ord(name) + 0x84)
        elif name == "R":
            self._nest(len(self.things) - 2)
        elif name == "\x94":
            self._memo.append(self.things[-1])
        elif name in "hj":
            self.things.append(self._memo[int.from_bytes(argument, "little")])
        elif name in _FILLS:
            self._fill(name)
        elif name == "\x91":
            first = self._marks.pop()
            self._hash(self.things[first:])
            self.things[first:] = [_SIMPLE]
        elif name == "\x93":
            self.things[-2:] = [_SIMPLE]
        elif name == "1" or (name == "0" and self._marks and self._marks[-1] == len(self.things)):
            del self.things[self._marks.pop() :]
        elif name == "0":
            self.things.pop()

    def _nest(self, first: int) -> None:
        if not 0 <= first <= len(self.things):
            raise IndexError
        parts = self.things[first:]
        depth = 1 + max((part[0] for part in parts), default=0)
        if depth > DEPTH_MAX:  # hashing it would overrun the stack
            raise NotPlain(f"a tuple in it is more than {DEPTH_MAX} deep")
        self.things[first:] = [(depth, 1 + sum(part[1] for part in parts), "")]

    def _fill(self, name: str) -> None:
        first = len(self.things) - {"a": 1, "s": 2}[name] if name in "as" else self._marks.pop()
        if not 0 < first <= len(self.things):
            raise IndexError
        if self.things[first - 1][2] != _FILLS[name]:
            raise NotPlain("something in it is filled like a list, a dict or a set, and is none")
        if name != "a" and name != "e":
            self._hash(self.things[first:] if name == "\x90" else self.things[first::2])
        del self.things[first:]

    def _hash(self, keys: list[_Thing]) -> None:
        self._to_hash -= sum(key[1] for key in keys)
        if self._to_hash < 0:
            raise NotPlain("what is in its keys and sets is there too often")


def text_of_exception(data: bytes | bytearray) -> tuple[str, str]:
    """Return type and text, and the whole traceback, of what `dump_exception` of `values.py` took.

    Nothing is made of it but text. Raises `NotPlain`.
    """
    records = loads(data)
    try:
        order = _chain(records)
        _measure([records[place] for place, _ in order])
        texts = [_traceback(records[place], link) for place, link in order]
        last = records[0]
        return f"{last['type']}: {last['text']}", "".join(texts)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError):
        raise NotPlain("it is no exception") from None


TEXT_CHARS_MAX = 16 << 20
"""No traceback is longer: what is in it once may be named any number of times."""


def _measure(records: list[Any]) -> None:
    """Raise `ValueError` unless records are of texts and numbers of lines, which make up a text that can be shown."""
    size = 0
    for record in records:
        lines = [line for _, line, _, _ in record["frames"]]
        parts = [part for filename, _, name, source in record["frames"] for part in (filename, name, source)]
        parts += [record["type"], record["text"], *record["notes"]]
        if not all(type(line) is int and 0 <= line < 1 << 31 for line in lines if line is not None):
            raise ValueError("no number of a line")
        size += sum(map(len, parts)) + 64 * len(parts)
        if size > TEXT_CHARS_MAX or not all(type(part) is str for part in parts):
            raise ValueError("no text")


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
