"""What does a container get with its GPUs, and which are given away?"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from modicum.node.kernel import MS_BIND, Kernel, kernel
from modicum.runtimes.base import BindMount, RuntimeFailure

from . import cdi, driver
from .driver import Driver
from .inventory import Gpu, Inventory

TARGET = "/usr/local/nvidia"
"""Where the driver is in a container; NVIDIA's own images look there."""


class Grant(NamedTuple):
    """What a container is launched with besides."""

    mounts: tuple[BindMount, ...] = ()
    environ: Mapping[str, str] = {}


class Grants:
    """Gives GPUs to containers, each to one. Where they are `isolated` they see those only, with what uses them."""

    def __init__(
        self,
        inventory: Inventory,
        isolated: bool,
        folder: Path,
        find: Callable[[Sequence[Gpu]], Driver] = lambda gpus: cdi.read(gpus) or driver.look(gpus),
        calls: Kernel = kernel,
    ) -> None:
        self._gpus = {gpu.id: gpu for gpu in inventory.gpus}
        self._isolated = isolated
        self._folder = folder
        self._find = find
        self._calls = calls
        self._driver: Driver | None = None
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
        if self._gpus[ids[0]].minor is None:
            return Grant((), told)
        found = self._prepared()
        if found.problem:
            raise RuntimeFailure(found.problem)
        devices = [*found.common, *(device for each in ids for device in found.own[each])]
        mounts = [
            BindMount(self._folder, TARGET),
            *(BindMount(path, target) for path, target in found.files),
            *(BindMount(path, target, is_device=True) for path, target in dict.fromkeys(devices)),
        ]
        paths = {
            "LD_LIBRARY_PATH": _joined(environ.get("LD_LIBRARY_PATH", ""), f"{TARGET}/lib64"),
            "PATH": _joined(environ.get("PATH", ""), f"{TARGET}/bin"),
        }
        return Grant(tuple(mounts), {**found.environ, **paths, **told})

    def _prepared(self) -> Driver:
        """Return the driver; the first who needs it has its files gathered in one folder, under all their names."""
        if self._driver is None:
            found = self._find(tuple(self._gpus.values()))
            for name, paths in (("lib64", found.libraries), ("bin", found.programs)):
                (self._folder / name).mkdir(parents=True, exist_ok=True)
                for path in paths:
                    self._gather(path, self._folder / name)
            self._driver = found
        return self._driver

    def _gather(self, path: Path, folder: Path) -> None:
        place = folder / path.name
        if place.exists():
            return
        place.touch()
        self._calls.mount(os.path.realpath(path), str(place), None, MS_BIND)
        for name in driver.names_of(path):
            if not os.path.lexists(folder / name):
                (folder / name).symlink_to(path.name)


def _joined(given: str, ours: str) -> str:
    return f"{given}:{ours}" if given else ours
