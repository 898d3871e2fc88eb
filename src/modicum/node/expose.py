"""Which host paths the node sees although a directory above them is closed to it.

The node runs under ids that own nothing on the host, so it cannot pass through a 0700 directory such as /root,
where the interpreter, this package or `$MODICUM_HOME` may live. In its private mount namespace the topmost closed
directory is covered by an empty tmpfs, and inside, at their own paths, only what the node needs is bound. Nothing
else of the closed directory becomes visible.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from .kernel import MS_BIND, MS_NODEV, MS_NOSUID, MS_REC, Kernel

_COPY_BYTES_MAX = 1 << 20


@dataclass(frozen=True, slots=True)
class Plan:
    """Directories to cover, the topmost first; subtrees to bring back; symbolic links on the way to them."""

    covered: tuple[str, ...]
    bound: tuple[str, ...]
    links: tuple[tuple[str, str], ...]


def plan(paths: Iterable[str], is_open: Callable[[str], bool]) -> Plan:
    """Plan how the node reaches each of `paths`; `is_open` says whether its ids may pass through a directory."""
    covered: list[str] = []
    bound: list[str] = []
    links: list[tuple[str, str]] = []
    for path in dict.fromkeys(os.path.normpath(path) for path in paths):
        real = os.path.realpath(path)
        closed = _topmost_closed(real, is_open)
        if closed is not None:
            covered.append(closed)
            bound.append(real)
        if path != real and _topmost_closed(path, is_open) is not None:
            links.append((path, real))
    return Plan(_outermost(covered), _outermost(bound), tuple(links))


def apply(plan: Plan, owner: tuple[int, int], kernel: Kernel) -> None:
    """Carry the plan out in a private mount namespace of its own. Call it as real root, before any user namespace.

    Small files that their owner alone may read (a pip.conf with a password) become copies that the node owns.
    """
    sources = [(path, os.open(path, os.O_PATH)) for path in plan.bound]
    for path in plan.covered:
        kernel.mount("modicum", path, "tmpfs", MS_NOSUID | MS_NODEV, "mode=755,size=16m")
    for path, source in sources:
        _bring_back(path, source, owner, kernel)
        os.close(source)
    for path, target in plan.links:
        _link(path, target)


def is_open_to(uid: int, gid: int) -> Callable[[str], bool]:
    """Return a test whether these ids, in no further group, may pass through a directory."""

    def test(path: str) -> bool:
        try:
            status = os.stat(path)
        except OSError:
            return True
        if status.st_uid == uid:
            return bool(status.st_mode & stat.S_IXUSR)
        if status.st_gid == gid:
            return bool(status.st_mode & stat.S_IXGRP)
        return bool(status.st_mode & stat.S_IXOTH)

    return test


def _topmost_closed(path: str, is_open: Callable[[str], bool]) -> str | None:
    parts = path.split("/")[1:-1]
    ancestors = ("/" + "/".join(parts[: depth + 1]) for depth in range(len(parts)))
    return next((ancestor for ancestor in ancestors if not is_open(ancestor)), None)


def _outermost(paths: Iterable[str]) -> tuple[str, ...]:
    kept: list[str] = []
    for path in sorted(set(paths)):
        if not any(path.startswith(other + "/") for other in kept):
            kept.append(path)
    return tuple(kept)


def _bring_back(path: str, source: int, owner: tuple[int, int], kernel: Kernel) -> None:
    os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
    status = os.fstat(source)
    if stat.S_ISDIR(status.st_mode):
        os.makedirs(path, 0o755, exist_ok=True)
    elif status.st_mode & stat.S_IROTH or status.st_size > _COPY_BYTES_MAX or not stat.S_ISREG(status.st_mode):
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o644))
    else:
        _copy(path, source, owner)
        return
    kernel.mount(f"/proc/self/fd/{source}", path, None, MS_BIND | MS_REC)


def _copy(path: str, source: int, owner: tuple[int, int]) -> None:
    with open(f"/proc/self/fd/{source}", "rb") as original:
        content = original.read()
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC, 0o400)
    with open(descriptor, "wb") as copy:
        copy.write(content)
        os.fchown(descriptor, *owner)


def _link(path: str, target: str) -> None:
    os.makedirs(os.path.dirname(path), 0o755, exist_ok=True)
    if not os.path.lexists(path):
        os.symlink(target, path)
