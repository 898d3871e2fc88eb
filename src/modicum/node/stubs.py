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
    """Remove those of `missing` that are still empty."""
    for path in missing:
        stub = upper / path
        try:
            status = os.lstat(stub)
            if stat.S_ISDIR(status.st_mode):
                os.rmdir(stub)
            elif stat.S_ISREG(status.st_mode) and status.st_size == 0:
                os.unlink(stub)
        except OSError:
            continue  # it was used, so it stays; or it never came to be
