"""What may be said in `gpu=…`? As Modal's client takes it, and as it is sent: a list of types and numbers, ranked."""

from __future__ import annotations

from modicum.exception import InvalidError
from modicum.wire.gpus import NUMBER_MAX, is_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def read(name: str, value: Any) -> list[dict[str, Any]] | None:
    """Return the GPUs that are asked for, the best first, as they are sent. Raises `InvalidError`."""
    if value is True:  # as in 2022
        from modicum._old_names import say

        say(f"{name}=True", f'{name}="any"')
        value = "any"
    if value is None or value is False or (isinstance(value, (list, tuple)) and not value):
        return None
    ranked = value if isinstance(value, (list, tuple)) else [value]
    return [_read_one(each) for each in ranked]


def _read_one(value: Any) -> dict[str, Any]:
    if not isinstance(value, str):
        raise InvalidError(f"Invalid GPU config: {value!r}. Value must be a string or `None`")
    kind, colon, number = value.partition(":")
    try:
        count = int(number) if colon else 1
    except ValueError:
        raise InvalidError(f"Invalid GPU count: {number}. Value must be an integer.") from None
    if not 1 <= count <= NUMBER_MAX:
        raise InvalidError(f"Invalid GPU count: {number}. Value must be from 1 to {NUMBER_MAX}.")
    kind = kind.strip().upper()
    if not is_name(kind):
        raise InvalidError(f'Invalid GPU config: {value!r}. Say a type, or a type and a count, as in "H100:8".')
    return {"type": kind, "count": count}
