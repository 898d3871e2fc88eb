"""Which of this machine's files go into containers, and under which names: read and hashed, never held in memory."""

from __future__ import annotations

import errno
import hashlib
import os
import stat

from modicum.exception import InvalidError
from modicum.wire import filesets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from modicum.wire.filesets import Entry

    Pair = tuple[str, str]
    """A path in the container, relative to its root, and the local file."""

_READ_BYTES = 1 << 20
_LEFT_OUT_SHOWN = 5


class FileSet:
    """A set of files as they were when they were read. Raises `BadManifest` if there cannot be such a one."""

    __slots__ = ("entries", "id", "local", "manifest")

    def __init__(self, entries: Iterable[Entry], local: dict[str, str]) -> None:
        self.entries = sorted(entries)
        filesets.check(self.entries)
        self.manifest = filesets.encode(self.entries)
        self.id = filesets.set_id(self.manifest)
        self.local = local
        """Digest → path of a local file that had this content."""


def read(pairs: Iterable[Pair], purpose: str) -> FileSet:
    """Read files and return them as a set; the last one of a name counts.

    `purpose` names them to people. Raises `InvalidError` for one that cannot be read. What neither is a file nor leads
    to one is left out, with a warning, and so is what has vanished since it was listed.
    """
    entries: dict[str, Entry] = {}
    local: dict[str, str] = {}
    left_out: list[str] = []
    for path, file in pairs:
        found = _look_at(path, file, purpose)
        if found is None:
            left_out.append(file)
        else:
            entries[path] = found
            local[found[2]] = file
    if left_out:
        _warn_left_out(left_out, purpose)
    try:
        return FileSet(entries.values(), local)
    except filesets.BadManifest as error:
        raise InvalidError(f"{purpose}: these files cannot be sent: {error}") from None


def check_file(path: str, purpose: str) -> str:
    """Return the absolute path of a local file. Raises `InvalidError` if there is none."""
    return _check(path, purpose, stat.S_ISREG, "file")


def check_folder(path: str, purpose: str) -> str:
    """Return the absolute path of a local directory. Raises `InvalidError` if there is none."""
    return _check(path, purpose, stat.S_ISDIR, "directory")


def tree(folder: str, prune: Callable[[str], bool], ignore: Callable[[str], bool]) -> Iterator[str]:
    """Yield the paths, relative to `folder`, of all in it that is no directory, unless `ignore` names it.

    Directories that `prune` names are not entered, nor are links to any. Both get relative paths.
    """
    waiting = [""]
    while waiting:
        here = waiting.pop()
        for name, is_folder in _listed(os.path.join(folder, here)):
            path = f"{here}/{name}" if here else name
            if is_folder:
                if not prune(path):
                    waiting.append(path)
            elif not ignore(path):
                yield path


def _listed(folder: str) -> list[tuple[str, bool]]:
    try:
        with os.scandir(folder) as entries:
            return [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    except FileNotFoundError:
        return []  # it has vanished since its parent was listed
    except OSError as error:
        raise InvalidError(
            f"the directory {folder!r} cannot be read: {error.strerror}; make it readable, or leave it out with "
            "`ignore=`"
        ) from None


def _look_at(path: str, file: str, purpose: str) -> Entry | None:
    """Hash a file. Opened without waiting: a pipe would wait for somebody to write to it."""
    try:
        opened = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno in (errno.ENXIO, errno.ELOOP):  # a socket; a link that leads to itself
            return None
        raise InvalidError(
            f"{purpose}: the file {file!r} cannot be read: {error.strerror}; make it readable, or leave it out with "
            "`ignore=`"
        ) from None
    try:
        state = os.fstat(opened)
        if not stat.S_ISREG(state.st_mode):
            return None
        digest, size = _hash(opened, min(state.st_size + 1, _READ_BYTES))
    except OSError as error:
        raise InvalidError(f"{purpose}: the file {file!r} cannot be read: {error.strerror}") from None
    finally:
        os.close(opened)
    return path, bool(state.st_mode & 0o100), digest, size


def _hash(opened: int, count: int) -> tuple[str, int]:
    """Return the sha256 and the size of what is read now, `count` bytes at a time."""
    found, size = hashlib.sha256(), 0
    while data := os.read(opened, count):
        found.update(data)
        size += len(data)
    return found.hexdigest(), size


def _check(path: str, purpose: str, is_right: Callable[[int], bool], kind: str) -> str:
    absolute = os.path.abspath(os.path.expanduser(path))
    shown = repr(path) if path == absolute else f"{path!r} (that is {absolute!r})"
    try:
        mode = os.stat(absolute).st_mode
    except FileNotFoundError:
        raise InvalidError(
            f"{purpose}: there is no local {kind} {shown}; relative paths start at the working directory"
        ) from None
    except OSError as error:
        raise InvalidError(f"{purpose}: the local {kind} {shown} cannot be read: {error.strerror}") from None
    if not is_right(mode):
        other = "add_local_dir adds directories" if stat.S_ISDIR(mode) else "add_local_file adds files"
        raise InvalidError(f"{purpose}: the local path {shown} is no {kind}; {other}")
    return absolute


def _warn_left_out(files: list[str], purpose: str) -> None:
    import warnings

    from modicum._old_names import stack_depth

    some = ", ".join(repr(file) for file in files[:_LEFT_OUT_SHOWN])
    more = f" and {len(files) - _LEFT_OUT_SHOWN} more" if len(files) > _LEFT_OUT_SHOWN else ""
    warnings.warn(
        f"{purpose}: left out what is no file: {some}{more} (a link that leads nowhere or to a directory, a socket, a "
        "pipe, or a file that has vanished)",
        stacklevel=stack_depth(),
    )
