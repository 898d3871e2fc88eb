"""Where a node's files are, below `$MODICUM_HOME`."""

from __future__ import annotations

import hashlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from modicum.runtimes import AUTO, PROCESS


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths of one home, for nodes that use one of `RUNTIMES`."""

    home: Path
    runtime: str = AUTO

    @property
    def node(self) -> Path:
        """What the node owns. Layers of plain processes are no layers of containers', nor of the same owner."""
        return self.home / ("process" if self.runtime == PROCESS else "node")

    @property
    def links(self) -> Path:
        """One directory with a socket for the node and for each container."""
        return self.home / "links"

    @property
    def run(self) -> Path:
        """Where the node mounts its private tmpfs; for everybody else it is empty."""
        return self.node / "run"

    @property
    def containers(self) -> Path:
        """What containers write, one directory each."""
        return self.node / "containers"

    @property
    def temporary(self) -> Path:
        """The node's TMPDIR."""
        return self.node / "tmp"

    @property
    def lock(self) -> Path:
        """Held by the keeper as long as it lives."""
        return self.home / "keeper.lock"

    @property
    def keeper_facts(self) -> Path:
        """What the keeper says of itself."""
        return self.home / "keeper.json"

    @property
    def keeper_log(self) -> Path:
        """Where keeper and node write what operators should know."""
        return self.home / "keeper.log"

    @property
    def mark(self) -> str:
        """What stands in the environment of each plain process of a container, to be found by.

        Another container's or chroot's home may have the same path, and its processes may be in sight: they are not
        ours to end, so the mark names the directory itself. Raises `OSError` if there is none.
        """
        home = os.stat(self.home)
        return f"MODICUM_CONTAINER_OF={self.key}-{home.st_dev:x}-{home.st_ino:x}"

    @property
    def key(self) -> str:
        """A short name of this home for directories that homes share, such as cgroups."""
        return hashlib.sha256(str(self.home).encode()).hexdigest()[:12]


class WrongOwner(Exception):
    """A directory belongs to other ids than it should; the message says what to do."""


def prepare(layout: Layout, root: tuple[int, int]) -> None:
    """Make the home and the directories that the node's `root` owns, or set their modes.

    Raises `WrongOwner`, or `OSError`.
    Nobody else may enter the home, nor what containers write: a hostile one can leave a set-uid program there.
    """
    layout.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    ours = (os.geteuid(), os.getegid())
    for path, mode in ((layout.home, 0o700), (layout.links, 0o755)):
        owner = _take(path, mode, ours)
        if owner != ours[0]:
            raise WrongOwner(
                f"{path} belongs to uid {owner}, not to uid {ours[0]}, who is to use it; choose another MODICUM_HOME"
            )
    for path, mode in (
        (layout.node, 0o755),
        (layout.run, 0o755),
        (layout.node / "agent", 0o755),
        (layout.containers, 0o700),
        (layout.temporary, 0o700),
    ):
        owner = _take(path, mode, root)
        if owner != root[0]:
            raise WrongOwner(
                f"{path} belongs to uid {owner}, but containers would run as {root[0]} (see /etc/subuid); "
                f"restore that entry, or remove {layout.node} to build its images anew"
            )


def package_parent() -> str:
    """Return the directory from which this package was imported, for PYTHONPATH."""
    return str(Path(__file__).resolve().parents[2])


def node_argv(layout: Layout, control: int) -> tuple[str, ...]:
    """Return the command of a node that has a socket to its keeper as descriptor `control`."""
    program = (sys.executable, "-m", "modicum.node.main")
    return (*program, "--home", str(layout.home), "--runtime", layout.runtime, "--control", str(control))


def _take(path: Path, mode: int, owner: tuple[int, int]) -> int:
    """Make a directory for `owner`, or give his own this mode; return whose it is. A link in its place is refused."""
    try:
        path.mkdir(mode=0o700)
        is_new = True
    except FileExistsError:
        is_new = False
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if is_new and owner[0] != os.geteuid():
            try:
                os.fchown(handle, *owner)
            except OSError as failure:
                path.rmdir()  # else the next attempt would find it to be somebody else's
                raise OSError(
                    failure.errno, f"{path} cannot be given to uid {owner[0]}: {failure.strerror}"
                ) from failure
        found = os.fstat(handle).st_uid
        if found == owner[0]:
            os.fchmod(handle, mode)
        return found
    finally:
        os.close(handle)
