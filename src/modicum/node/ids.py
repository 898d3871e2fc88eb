"""Which user and group ids the node and its containers get on this machine."""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass
from pathlib import Path

ROOT_RANGE_START = 0x70000000
"""Where root's containers live when /etc/subuid says nothing: far above the ranges that useradd gives out."""

IDS = 65536


_NO_IDS_HERE = (
    "root's own user namespace has no ids for containers (it needs those from {} to {}); give the container around it "
    "more ids, or name a range that it has in /etc/subuid and /etc/subgid as root:START:65536"
)


class NoSubordinateIds(Exception):
    """The machine grants this user no ids for containers; the message says what to run."""


@dataclass(frozen=True, slots=True)
class Extent:
    """`count` ids from `inside` on are `outside` and the following ones on the host."""

    inside: int
    outside: int
    count: int


@dataclass(frozen=True, slots=True)
class IdMaps:
    """The maps of the node's user namespace."""

    uids: tuple[Extent, ...]
    gids: tuple[Extent, ...]
    privileged: bool
    """Real root made it: it writes the maps itself and stays outside them."""

    @property
    def root(self) -> tuple[int, int]:
        """The host's uid and gid of the node's root, who owns what the node writes."""
        return self.uids[0].outside, self.gids[0].outside


def plan_id_maps(uid: int, gid: int, user: str, subuid: str, subgid: str, here: tuple[str, str] = ("", "")) -> IdMaps:
    """Return the maps for this user, given the texts of /etc/subuid and /etc/subgid.

    `here` are the uid_map and gid_map that this process itself is under. Raises `NoSubordinateIds` for a user without a
    range of 65535 ids or more, and for a root whose own user namespace has too few.
    """
    uids = _range(subuid, user, uid)
    gids = _range(subgid, user, uid)
    if uid == 0:
        default = Extent(0, ROOT_RANGE_START, IDS)
        chosen = _whole(uids) or default, _whole(gids) or default
        for text, extent in zip(here, chosen):
            if text and not _covers(text, extent):
                raise NoSubordinateIds(_NO_IDS_HERE.format(extent.outside, extent.outside + extent.count - 1))
        return IdMaps((chosen[0],), (chosen[1],), privileged=True)
    if uids is None or gids is None:
        raise NoSubordinateIds(_advice(user, f"{subuid}\n{subgid}"))
    return IdMaps((Extent(0, uid, 1), _rest(uids)), (Extent(0, gid, 1), _rest(gids)), privileged=False)


def id_maps() -> IdMaps:
    """Return the maps for whoever runs this process. Raises `NoSubordinateIds`."""
    uid = os.geteuid()
    here = _read("/proc/self/uid_map"), _read("/proc/self/gid_map")
    return plan_id_maps(uid, os.getegid(), _user_name(uid), _read("/etc/subuid"), _read("/etc/subgid"), here)


def format_map(extents: tuple[Extent, ...]) -> str:
    """Return what /proc/PID/uid_map takes."""
    return "".join(f"{extent.inside} {extent.outside} {extent.count}\n" for extent in extents)


def _range(text: str, user: str, uid: int) -> tuple[int, int] | None:
    """Return the first range that is large enough, as its start and its length."""
    for line in text.splitlines():
        name, _, rest = line.strip().partition(":")
        start, _, count = rest.partition(":")
        if name in (user, str(uid)) and start.isdigit() and count.isdigit() and int(count) >= IDS - 1:
            return int(start), int(count)
    return None


def _whole(found: tuple[int, int] | None) -> Extent | None:
    return Extent(0, found[0], IDS) if found is not None and found[1] >= IDS else None


def _rest(found: tuple[int, int]) -> Extent:
    return Extent(1, found[0], IDS - 1)


def _covers(text: str, extent: Extent) -> bool:
    """Whether one line of a map, as it reads from inside, has all these ids."""
    lines = [[int(field) for field in line.split()] for line in text.splitlines()]
    return any(start <= extent.outside and extent.outside + extent.count <= start + count for start, _, count in lines)


def _advice(user: str, taken: str) -> str:
    start = max([100000, *(_end(line) for line in taken.splitlines())])
    first_last = f"{start}-{start + IDS - 1}"
    return (
        f"containers need subordinate ids, and /etc/subuid or /etc/subgid has none for {user}; have root run: "
        f"usermod --add-subuids {first_last} --add-subgids {first_last} {user}"
    )


def _end(line: str) -> int:
    fields = line.split(":")
    return int(fields[1]) + int(fields[2]) if len(fields) == 3 and fields[1].isdigit() and fields[2].isdigit() else 0


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
