"""What can this stream show? Colour, and lines that change, only where a person looks at them."""

from __future__ import annotations

import os
import shutil

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO

BOLD, DIM, GREEN, RED, YELLOW = "1", "2", "32", "31", "33"


def is_live(stream: IO[str]) -> bool:
    """Return whether a line on it can be drawn again: it is a terminal that knows how."""
    try:
        return stream.isatty() and os.environ.get("TERM", "") not in ("", "dumb")
    except (AttributeError, ValueError):  # ValueError: it was closed
        return False


def has_colour(stream: IO[str]) -> bool:
    """Return whether colours are wanted on it; `NO_COLOR` says no."""
    return is_live(stream) and not os.environ.get("NO_COLOR")


def coloured(text: str, colour: str, stream: IO[str]) -> str:
    """Return a text in a colour, or as it is where there is none."""
    return f"\x1b[{colour}m{text}\x1b[0m" if has_colour(stream) else text


def can_print(text: str, stream: IO[str]) -> bool:
    """Return whether the stream's encoding has these characters."""
    try:
        text.encode(getattr(stream, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def width() -> int:
    """Return how many columns the terminal has."""
    return shutil.get_terminal_size().columns


def clipped(text: str, columns: int) -> str:
    """Return as much of a text as fits, ending in `…` where something is missing."""
    import unicodedata

    used = 0
    for place, character in enumerate(text):
        used += 2 if unicodedata.east_asian_width(character) in "WF" else 1
        if used > columns:
            kept = text[: max(place - 1, 0)]
            return f"{kept}…" if columns > 0 else ""
    return text
