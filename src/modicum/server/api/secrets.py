"""How secrets come to be. What is wrong with one is said without its values: errors are logged."""

from __future__ import annotations

import json

from modicum.server.parts import Parts
from modicum.wire.channel import Answer, Channel, RemoteFailure
from modicum.wire.frames import Header
from modicum.wire.messages import SECRET_BYTES_MAX, VARIABLE_BYTES_MAX


async def create(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """Keep a secret; the same one again is the same."""
    return {"secret": await parts.secrets.keep(variables(payload))}


def variables(payload: bytes) -> dict[str, str]:
    """Return what a payload holds. Raises `RemoteFailure`, never with a value in its text."""
    wrong = "a secret is a JSON object of names and texts, each of which a process can be given"
    try:
        found = json.loads(payload) if len(payload) <= SECRET_BYTES_MAX else None
        if not isinstance(found, dict) or not all(_is_variable(name, value) for name, value in found.items()):
            raise ValueError
    except (ValueError, RecursionError):
        raise RemoteFailure("invalid", wrong) from None
    return found


def _is_variable(name: str, value: object) -> bool:
    if not isinstance(value, str) or not (name.isascii() and name.isidentifier()) or "\0" in value:
        return False
    return len(name) + 1 + len(value.encode()) <= VARIABLE_BYTES_MAX


HANDLERS = {"secret.create": create}
