"""What does a container get with its GPUs, and which are given away?"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from modicum.runtimes.base import BindMount, RuntimeFailure

from . import cdi, driver
from .driver import Driver
from .inventory import SETTING, Gpu, Inventory

CDI_SETTING = "MODICUM_CDI_DIRS"

TARGET = "/usr/local/nvidia"
"""Where the driver is in a container; NVIDIA's own images look there."""


class Grant(NamedTuple):
    """What a container is launched with besides."""

    mounts: tuple[BindMount, ...] = ()
    environ: Mapping[str, str] = {}


def find(gpus: Sequence[Gpu], environ: Mapping[str, str] = os.environ) -> Driver | None:
    """Return what a container of these GPUs needs; None if they are declared, and no files are named that have them."""
    named = environ.get(CDI_SETTING, "")
    folders = [Path(each) for each in named.split(":") if each] or cdi.FOLDERS
    declared = any(gpu.minor is None for gpu in gpus)
    if declared and not named:
        return None
    found = cdi.read(gpus, folders)
    if found is None and declared:
        return Driver(problem=f"no CDI file in {named} names each of the GPUs that {SETTING} declares")
    return found or driver.look(gpus)


class Grants:
    """Gives GPUs to containers, each to one. Where they are `isolated` they see those only, with what uses them."""

    def __init__(
        self,
        inventory: Inventory,
        isolated: bool,
        folder: Path,
        find: Callable[[Sequence[Gpu]], Driver | None] = find,
    ) -> None:
        self._gpus = {gpu.id: gpu for gpu in inventory.gpus}
        self._isolated = isolated
        self._folder = folder
        self._find = find
        self._driver: Driver | None = None
        self._has_looked = False
        self._holders: dict[str, str] = {}

    def grant(self, container: str, ids: Sequence[str], environ: Mapping[str, str]) -> Grant:
        """Give these to a container that has these variables. Raises `RuntimeFailure` or `OSError`."""
        for each in ids:
            if each not in self._gpus:
                raise RuntimeFailure(f"container {container}: the GPU {each} is not there")
            if each in self._holders:
                raise RuntimeFailure(f"container {container}: the GPU {each} is that of {self._holders[each]}")
        grant = self._grant(ids, environ)
        self._holders.update(dict.fromkeys(ids, container))
        return grant

    def give_back(self, container: str) -> None:
        """The container has ended, or never began."""
        self._holders = {gpu: holder for gpu, holder in self._holders.items() if holder != container}

    def _grant(self, ids: Sequence[str], environ: Mapping[str, str]) -> Grant:
        if not self._isolated:  # nothing is hidden from plain processes, so they are told, also when they get none
            told = {"CUDA_VISIBLE_DEVICES": ",".join(ids), "NVIDIA_VISIBLE_DEVICES": ",".join(ids) or "void"}
            return Grant((), told if self._gpus else {})
        if not ids:
            return Grant()
        told = {"NVIDIA_VISIBLE_DEVICES": ",".join(ids)}
        found = self._prepared()
        if found is None:
            return Grant((), told)
        if found.problem:
            raise RuntimeFailure(found.problem)
        devices = [*found.common, *(device for each in ids for device in found.own[each])]
        for path, _ in devices:
            _check_device(path)
        mounts = [
            BindMount(self._folder, TARGET),
            *(BindMount(path, f"{TARGET}/{place}") for path, place in _places(found)),
            *(BindMount(path, target) for path, target in found.files),
            *(BindMount(path, target, is_device=True) for path, target in dict.fromkeys(devices)),
        ]
        paths = {
            "LD_LIBRARY_PATH": _joined(environ.get("LD_LIBRARY_PATH", ""), f"{TARGET}/lib64"),
            "PATH": _joined(environ.get("PATH", ""), f"{TARGET}/bin"),
        }
        return Grant(tuple(mounts), {**found.environ, **paths, **told})

    def _prepared(self) -> Driver | None:
        """Return the driver; the first who needs it has a folder made of the names under which its files are sought."""
        if self._has_looked:
            return self._driver
        found = self._find(tuple(self._gpus.values()))
        for path, place in _places(found) if found is not None else ():
            _name(path, self._folder / place)
        # One that will not do is looked for again: its machine may be mended.
        self._has_looked = found is None or not found.problem
        self._driver = found
        return found


def _check_device(path: Path) -> None:
    """Raise `RuntimeFailure` unless a container, which is nobody on this machine, can open it."""
    if not path.exists():
        raise RuntimeFailure(f"{path} is missing on this machine: run `nvidia-modprobe -u -c=0` as root")
    if not os.access(path, os.R_OK | os.W_OK):
        raise RuntimeFailure(f"{path} must be open to everybody for containers: run `chmod 666 {path}` as root")


def _places(found: Driver) -> list[tuple[Path, str]]:
    """Return the driver's files, and where below the target each of them is."""
    libraries = [(path, f"lib64/{path.name}") for path in found.libraries]
    return [*libraries, *((path, f"bin/{path.name}") for path in found.programs)]


def _name(path: Path, place: Path) -> None:
    """Make something on which the file can be mounted, and links that lead to it."""
    place.parent.mkdir(parents=True, exist_ok=True)
    place.touch()
    for name in driver.names_of(path):
        if not os.path.lexists(place.with_name(name)):
            place.with_name(name).symlink_to(place.name)


def _joined(given: str, ours: str) -> str:
    return f"{given}:{ours}" if given else ours
