"""Where a node's files are, below `$MODICUM_HOME`."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from .ids import IdMaps


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths of one home."""

    home: Path

    @property
    def node(self) -> Path:
        """What the node owns."""
        return self.home / "node"

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
    def key(self) -> str:
        """A short name of this home for directories that homes share, such as cgroups."""
        return hashlib.sha256(str(self.home).encode()).hexdigest()[:12]


class WrongOwner(Exception):
    """The node's directory belongs to other ids than the node would have."""


def prepare(layout: Layout, maps: IdMaps) -> None:
    """Make the home and the directories that the node owns. Raises `WrongOwner`, or `OSError`."""
    layout.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    layout.links.mkdir(mode=0o755, exist_ok=True)
    for path in (layout.node, layout.run, layout.containers, layout.temporary, layout.node / "agent"):
        try:
            path.mkdir(mode=0o755)
        except FileExistsError:
            continue
        path.chmod(0o755)  # whatever the umask is
        if maps.privileged:
            os.chown(path, *maps.root)
    owner = layout.node.stat().st_uid
    if owner != maps.root[0]:
        raise WrongOwner(
            f"{layout.node} belongs to uid {owner}, but containers would run as {maps.root[0]} (see /etc/subuid); "
            "restore that entry, or remove the directory to build its images anew"
        )
