"""Which GPUs may a function be given, and does anybody know the types that it names?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from modicum.server.core.events import Device, Wish
from modicum.wire import gpus
from modicum.wire.channel import RemoteFailure
from modicum.wire.frames import Header


def wishes(options: Mapping[str, Any]) -> tuple[Wish, ...]:
    """Return what a function's options ask for, the best first: for each name whatever may be given for it."""
    asked = [(each["count"], kind) for each in options.get("gpu") or () for kind in gpus.fulfilling(each["type"])]
    return tuple(dict.fromkeys(Wish(kind, count) for count, kind in asked))


def check_known(name: str, asked: Any, facts: Iterable[Header]) -> None:
    """Raise `RemoteFailure` for a type that neither Modal nor any of these nodes has. Without a node nobody can say."""
    nodes = list(facts)
    offered = {device.type for each in nodes for device in devices_of(each)}
    for wish in asked or ():
        fitting = gpus.fulfilling(wish["type"])
        if nodes and not any(kind is None or kind in gpus.MEMORY_MIB or kind in offered for kind in fitting):
            own = ", ".join(sorted(offered)) or "no GPU"
            raise RemoteFailure(
                "invalid",
                f"{name!r} asks for the GPU type {wish['type']!r}, which is none of {', '.join(gpus.MEMORY_MIB)}; "
                f'your machines have {own}. For whichever is there say gpu="any"',
            )


def devices_of(facts: Header) -> tuple[Device, ...]:
    """Return the GPUs that a node has told. Raises `KeyError` or `ValueError` for what makes no sense."""
    return tuple(_device(each) for each in facts.get("gpus") or ())


def _device(told: Mapping[str, Any]) -> Device:
    device = Device(told["id"], told["type"], told["memory_mib"])
    if not isinstance(device.id, str) or not gpus.is_name(device.type) or not isinstance(device.memory_mib, int):
        raise ValueError(f"{dict(told)!r} is no GPU")
    return device


def number_by_type(facts: Header, ids: Iterable[str]) -> dict[str, int]:
    """Return how many of each type these GPUs of a node are."""
    types = {each.id: each.type for each in devices_of(facts)}
    counts: dict[str, int] = {}
    for each in ids:
        if each in types:
            counts[types[each]] = counts.get(types[each], 0) + 1
    return counts
