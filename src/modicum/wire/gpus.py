"""Which types of GPUs are there? Their names as programs ask for them, machines offer them and prices are given for."""

from __future__ import annotations

MEMORY_MIB = {
    "T4": 16_384,
    "L4": 24_576,
    "A10": 24_576,
    "A100-40GB": 40_960,
    "A100-80GB": 81_920,
    "L40S": 49_152,
    "RTX-PRO-6000": 98_304,
    "H100": 81_920,
    "H200": 144_384,
    "B200": 184_320,
    "B300": 276_480,
}
"""The types that Modal has, and their memory. A machine may have others, which are asked for by their names."""

ALIASES = {"A10G": "A10", "A100": "A100-40GB"}
"""Names under which a machine may declare what it has."""

ANY = "ANY"
"""Asks for a GPU of whatever type."""

NUMBER_MAX = 1024
"""No machine has more: it is a slip."""

NAME_LENGTH_MAX = 64
_NAME = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._!+")

_INSTEAD = {
    "A100": ("A100-40GB", "A100-80GB"),
    "A100!": ("A100-40GB",),
    "H100": ("H100", "H200"),
    "B200+": ("B200", "B300"),
}
"""What may be given for a name, the best first: as with Modal a better GPU will do, unless the name ends in `!`."""


def is_name(name: object) -> bool:
    """Whether this may be the name of a type as it is asked for: capital letters, digits, `-`, `.`, `_`, `!`, `+`."""
    return isinstance(name, str) and 0 < len(name) <= NAME_LENGTH_MAX and _NAME.issuperset(name)


def fulfilling(name: str) -> tuple[str | None, ...]:
    """Return the types of which one is given to who asks for `name`, the best first; None is any type."""
    if name == ANY:
        return (None,)
    plain = name.rstrip("!")
    return _INSTEAD.get(name, (ALIASES.get(plain, plain),))


def parse(text: str) -> list[tuple[str, int]]:
    """Return the types, and how many of each, that `H100:8,A100-80GB:2` declares. Raises `ValueError`."""
    declared = []
    for part in filter(None, (each.strip() for each in text.split(","))):
        name, _, number = part.upper().partition(":")
        name = ALIASES.get(name, name)
        if not is_name(name) or name == ANY or name[-1] in "!+":
            raise ValueError(f"{part!r} names no type of GPU: say TYPE or TYPE:NUMBER")
        if number and not (number.isascii() and number.isdigit() and 0 < int(number) <= NUMBER_MAX):
            raise ValueError(f"{part!r}: the number must be a whole one from 1 to {NUMBER_MAX}")
        declared.append((name, int(number or 1)))
    return declared
