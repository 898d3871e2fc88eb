"""Which empty files and directories a runtime leaves in a container's upper directory as targets of its mounts.

When the upper directory becomes an image layer they must not stay in it: an empty /etc/resolv.conf breaks what
comes later.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path


def missing_targets(root: Path, targets: Iterable[str]) -> tuple[str, ...]:
    """Return the paths, relative to `root` and the deepest first, that a runtime must make to mount on `targets`."""
    missing: set[str] = set()
    for target in targets:
        path = ""
        for part in target.strip("/").split("/"):
            path = f"{path}/{part}".strip("/")
            try:
                status = os.lstat(root / path)
            except FileNotFoundError:
                missing.add(path)
                continue
            if stat.S_ISLNK(status.st_mode):
                break  # where it leads is the image's own affair
    return tuple(sorted(missing, key=lambda path: (-path.count("/"), path)))


def remove_stubs(upper: Path, missing: Iterable[str]) -> None:
    """Remove those of `missing` that are still empty. No link is followed: a hostile step may have put some there."""
    for path in missing:
        try:
            folder = _open_parent(upper, path)
        except OSError:
            continue  # it never came to be
        try:
            _remove_empty(folder, os.path.basename(path))
        except OSError:
            continue  # it was used, so it stays
        finally:
            os.close(folder)


def _open_parent(upper: Path, path: str) -> int:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    folder = os.open(upper, flags)
    for part in path.split("/")[:-1]:
        try:
            inside = os.open(part, flags, dir_fd=folder)
        finally:
            os.close(folder)
        folder = inside
    return folder


def _remove_empty(folder: int, name: str) -> None:
    status = os.lstat(name, dir_fd=folder)
    if stat.S_ISDIR(status.st_mode):
        os.rmdir(name, dir_fd=folder)
    elif stat.S_ISREG(status.st_mode) and status.st_size == 0:
        os.unlink(name, dir_fd=folder)
