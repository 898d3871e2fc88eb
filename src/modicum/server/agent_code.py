"""Where containers get the agent from: a copy per build, never the installed package.

An upgrade must not pull the code from under a running container. The copy ends up in a directory of the node's, and
the node is nobody to be trusted with the rights of the server: it is made elsewhere and moved in, and no link that the
node makes is followed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

import cloudpickle

import modicum
from modicum.wire.version import build_id


def install_agent(home: Path, directory: Path) -> int:
    """Copy this build's SDK, agent and cloudpickle to agent/BUILD in a node's directory, unless they are there.

    Return the user id that the node's root has out here: it owns the directory.
    """
    node = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        owner = os.fstat(node).st_uid
        agents = _folder(node, "agent", owner)
        try:
            if build_id() not in os.listdir(agents):
                staged = _stage(home / "agent.partial", owner)
                os.rename(staged, build_id(), dst_dir_fd=agents)
        finally:
            os.close(agents)
    finally:
        os.close(node)
    return owner


def remove_other_agents(directory: Path) -> None:
    """Remove the copies of other builds; only while no container and no step runs that may be of one."""
    with contextlib.suppress(OSError):
        agents = os.open(directory / "agent", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            for name in set(os.listdir(agents)) - {build_id()}:
                shutil.rmtree(name, ignore_errors=True, dir_fd=agents)
        finally:
            os.close(agents)


def _folder(parent: int, name: str, owner: int) -> int:
    """Return a descriptor of a directory, made if need be."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, 0o755, dir_fd=parent)
    folder = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
    os.fchown(folder, owner, -1)
    return folder


def _stage(folder: Path, owner: int) -> Path:
    """Make the copy where only we can reach it."""
    shutil.rmtree(folder, ignore_errors=True)
    package = Path(modicum.__file__).parent
    for source in [*package.glob("*.py"), *package.glob("wire/*.py"), *package.glob("agent/*.py")]:
        _copy(source, folder / "modicum" / source.relative_to(package))
    for source in Path(cloudpickle.__file__).parent.glob("*.py"):
        _copy(source, folder / "cloudpickle" / source.name)
    for path in [folder, *folder.rglob("*")]:
        os.chown(path, owner, -1)
    return folder


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
