"""Which GPUs does a node have, who holds each of them, and which are given for a wish?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from .events import Device, Wish


class Rack:
    """The GPUs of one node. Each is held by one container at most, as a whole, from its start until it has gone."""

    __slots__ = ("devices", "holders", "strangers")

    def __init__(self, devices: Iterable[Device] = ()) -> None:
        self.devices = tuple(devices)
        self.holders: dict[str, str] = {}  # device → container
        self.strangers: set[str] = set()  # containers that no function here knows, or not yet: they still hold theirs

    def describe(self) -> str:
        """Say which there are."""
        return _described(self.devices) or "no GPUs"

    def describe_free(self) -> str:
        """Say which are free."""
        return _described(self.free_with(())) or "none"

    def inherit(self, before: Rack) -> None:
        """The node that had those GPUs has these now. Who holds one that is gone still does, should it come back."""
        self.holders, self.strangers = before.holders, before.strangers

    def free_with(self, leaving: Collection[str]) -> list[Device]:
        """Those that are free once these containers have gone."""
        return [each for each in self.devices if each.id not in self.holders or self.holders[each.id] in leaving]

    def held_by(self, container: str) -> tuple[str, ...]:
        """Those that a container holds."""
        return tuple(device for device, holder in self.holders.items() if holder == container)

    def take(self, container: str, devices: Iterable[str]) -> None:
        """A container has these from now on."""
        self.strangers.discard(container)
        for device in devices:
            self.holders[device] = container

    def take_for_stranger(self, container: str, devices: Sequence[str]) -> None:
        """A container has these that runs on the node although no function here knows it."""
        if devices:
            self.take(container, devices)
            self.strangers.add(container)

    def release(self, container: str) -> bool:
        """The container is gone. Returns whether that frees any."""
        self.strangers.discard(container)
        freed = self.held_by(container)
        for device in freed:
            del self.holders[device]
        return bool(freed)

    def keep_strangers(self, present: Collection[str]) -> None:
        """Of the strangers only these are still there."""
        for container in self.strangers - set(present):
            self.release(container)


def _described(devices: Iterable[Device]) -> str:
    counts = Counter(each.type for each in devices)
    return ", ".join(f"{kind}:{count}" for kind, count in counts.items())


def granted(wish: Wish, free: Iterable[Device]) -> tuple[str, ...] | None:
    """The GPUs that fulfil a wish out of these; None if there are not enough.

    All are of one type. For a wish of any type, that with the least memory will do.
    """
    by_type: dict[str, list[Device]] = {}
    for device in free:
        if wish.type in (None, device.type):
            by_type.setdefault(device.type, []).append(device)
    enough = [devices for devices in by_type.values() if len(devices) >= wish.number]
    if not enough:
        return None
    chosen = min(enough, key=lambda devices: devices[0].memory_mib)
    return tuple(each.id for each in chosen[: wish.number])
