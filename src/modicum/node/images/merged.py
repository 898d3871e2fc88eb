"""What is at a path of an image? Its layers looked through as an overlay would show them, without mounting one."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

LINKS_MAX = 40
"""As the kernel's own limit."""


class InTheWay(ValueError):
    """A directory is wanted where the image has something else, or a file where it has a directory."""


class Merged:
    """The tree that these layers make, the topmost first. No link in it leads out of it."""

    def __init__(self, layers: Sequence[Path]) -> None:
        self._root = [os.fspath(layer) for layer in layers]

    def folder(self, path: str) -> tuple[str, os.stat_result | None]:
        """Return where a directory really is, all links followed, and what it is like; None if it is not there.

        Paths are relative to the root. Raises `InTheWay` if part of it is no directory.
        """
        real: list[str] = []
        places: list[list[str]] = [self._root]
        waiting = path.split("/")[::-1]
        links = 0
        while waiting:
            name = waiting.pop()
            if name == "..":
                if real:
                    real.pop()
                    places.pop()
                continue
            if name in ("", "."):
                continue
            below, found = _child(places[-1], name)
            if found is not None and stat.S_ISLNK(found.st_mode):
                links += 1
                if links > LINKS_MAX:
                    raise InTheWay(f"the image's links at /{path} lead nowhere")
                target = os.readlink(below[0])
                if target.startswith("/"):
                    real, places = [], [self._root]
                waiting += target.split("/")[::-1]
            elif found is None or stat.S_ISDIR(found.st_mode):
                real.append(name)
                places.append(below)
            else:
                raise InTheWay(f"the image has a file at /{'/'.join([*real, name])}, where a directory is to be")
        return "/".join(real), os.lstat(places[-1][0]) if places[-1] else None  # nothing is in what is not there

    def subfolders(self, path: str) -> set[str]:
        """Return the names of the directories in the real directory `path`; links to directories are none."""
        places = self._root
        for part in path.split("/") if path else ():
            places, _ = _child(places, part)
        names = {entry.name for place in places for entry in os.scandir(place) if entry.is_dir(follow_symlinks=False)}
        found = {name: _child(places, name)[1] for name in names}
        return {name for name, state in found.items() if state is not None and stat.S_ISDIR(state.st_mode)}


def _child(places: list[str], name: str) -> tuple[list[str], os.stat_result | None]:
    """Return where an entry of a merged directory lies, the topmost first, and what it is; None if it is not there."""
    found: list[str] = []
    top: os.stat_result | None = None
    for place in places:
        path = f"{place}/{name}"
        try:
            state = os.lstat(path)
        except FileNotFoundError:
            continue
        if stat.S_ISCHR(state.st_mode) and state.st_rdev == 0:
            break  # a whiteout hides what is below
        if top is not None and not stat.S_ISDIR(state.st_mode):
            break  # and so does a directory hide a file
        found.append(path)
        top = top or state
        if not stat.S_ISDIR(state.st_mode) or _is_opaque(path):
            break
    return found, top


def _is_opaque(path: str) -> bool:
    try:
        return os.getxattr(path, "user.overlay.opaque", follow_symlinks=False) == b"y"
    except OSError:
        return False
