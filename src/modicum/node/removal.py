"""How a directory is removed without ever crossing a mount.

A recursive delete that follows a bind mount destroys what is mounted there, the host's /dev for one. So everything
here works on open directory descriptors and enters a directory only if it belongs to the same *mount* as the top:
device numbers would not tell a bind mount of the same file system.
"""

from __future__ import annotations

import os
import stat


class MountInside(OSError):
    """The tree holds a mount; it was left alone from there on."""


def remove_tree(path: str | os.PathLike[str]) -> None:
    """Remove `path` and all below it; nothing happens if it does not exist. Raises `MountInside` at a mount point."""
    parent, name = os.path.split(os.path.abspath(path))
    try:
        folder = os.open(parent, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return
    try:
        _remove(folder, name, _mount_id(folder))
    finally:
        os.close(folder)


def remove_children(path: str | os.PathLike[str]) -> list[OSError]:
    """Remove everything in the directory `path`, which stays. Returns what could not be removed."""
    failures: list[OSError] = []
    try:
        names = os.listdir(path)
    except FileNotFoundError:
        return failures
    for name in names:
        try:
            remove_tree(os.path.join(path, name))
        except OSError as failure:
            failures.append(failure)
    return failures


def _remove(folder: int, name: str, mount: int) -> None:
    try:
        mode = os.lstat(name, dir_fd=folder).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(mode):
        os.unlink(name, dir_fd=folder)
        return
    _empty(_enter(folder, name, mount), mount)
    os.rmdir(name, dir_fd=folder)


def _empty(here: int, mount: int) -> None:
    """Empty the directory open as `here`, which is closed.

    One descriptor and no recursion, however deep the tree is: hostile code may have made it.
    """
    path: list[str] = []
    waiting = [_unlink_files(here)]
    try:
        while waiting:
            if waiting[-1]:
                path.append(waiting[-1].pop())
                here = _step(here, _enter(here, path[-1], mount))
                waiting.append(_unlink_files(here))
            else:
                waiting.pop()
                if path:
                    here = _step(here, os.open("..", os.O_RDONLY | os.O_DIRECTORY, dir_fd=here))
                    os.rmdir(path.pop(), dir_fd=here)
    finally:
        os.close(here)


def _step(left: int, entered: int) -> int:
    os.close(left)
    return entered


def _unlink_files(here: int) -> list[str]:
    """Unlink all that is no directory; return the names of the directories."""
    with os.scandir(here) as entries:
        found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_directory in found:
        if not is_directory:
            os.unlink(name, dir_fd=here)
    return [name for name, is_directory in found if is_directory]


def _enter(folder: int, name: str, mount: int) -> int:
    inside = _open_directory(folder, name)
    if _mount_id(inside) != mount:
        os.close(inside)
        raise MountInside(f"{name!r} is a mount point; not removed")
    return inside


def _open_directory(folder: int, name: str) -> int:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
    try:
        return os.open(name, flags, dir_fd=folder)
    except PermissionError:  # overlay makes its own work directory with mode 0
        os.chmod(name, 0o700, dir_fd=folder)
        return os.open(name, flags, dir_fd=folder)


def _mount_id(descriptor: int) -> int:
    with open(f"/proc/self/fdinfo/{descriptor}", encoding="ascii") as info:
        for line in info:
            if line.startswith("mnt_id:"):
                return int(line.split()[1])
    raise OSError(f"/proc/self/fdinfo/{descriptor} names no mount")
