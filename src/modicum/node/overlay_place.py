"""Where a container's root is that is made of layers by an overlay."""

from __future__ import annotations

import os
from pathlib import Path

from modicum.runtimes.base import BindMount

from .launch import Launch
from .overlay import Overlays
from .stubs import missing_targets, remove_stubs

_RUNTIME_TARGETS = ("/dev", "/proc", "/run/modicum-init", "/sys")


class OverlayPlaces:
    """Makes places. `run` is on the node's private tmpfs, `containers` on the disk that holds the layers."""

    def __init__(self, overlays: Overlays, run: Path, containers: Path, resolv_conf: Path) -> None:
        self._overlays = overlays
        self._roots = run / "roots"
        self._containers = containers
        self._resolv_conf = resolv_conf
        self._roots.mkdir(exist_ok=True)

    def __call__(self, launch: Launch) -> OverlayPlace:
        """Return the place of a container to be."""
        directory, mounts = self._containers / launch.id, self._roots / launch.id
        return OverlayPlace(self._overlays, directory, mounts, launch, self._resolv_conf)


class OverlayPlace:
    """One container's."""

    def __init__(self, overlays: Overlays, directory: Path, mounts: Path, launch: Launch, resolv_conf: Path) -> None:
        self.directory = directory
        self.root = mounts / "root"
        self._hosts = mounts / "hosts"
        self.mounts = (BindMount(resolv_conf, "/etc/resolv.conf"), BindMount(self._hosts, "/etc/hosts"))
        self._overlays = overlays
        self._mounts = mounts
        self._launch = launch
        self._upper = launch.upper or directory / "upper"
        self._missing: tuple[str, ...] = ()
        self._is_mounted = False

    async def make(self) -> None:
        """Mount the root. Raises `OSError`."""
        work = self.directory / "work"
        for made in (self.directory, self._upper, work, self._mounts, self.root):
            made.mkdir(exist_ok=True)
        self._overlays.mount(self.root, self._launch.layers, self._upper, work)
        self._is_mounted = True
        self._hosts.write_text(f"127.0.0.1\tlocalhost\n127.0.1.1\t{self._launch.hostname}\n", encoding="utf-8")
        if self._launch.upper is not None:
            targets = [mount.target for mount in (*self.mounts, *self._launch.mounts)]
            self._missing = missing_targets(self.root, [*targets, *_RUNTIME_TARGETS])

    def environ(self, given: dict[str, str]) -> dict[str, str]:
        """Return what was given: the root is the container's own."""
        return given

    def dismount(self) -> None:
        """Unmount the root, and remove what mounts left in a layer to be."""
        if self._is_mounted:
            self._is_mounted = False
            self._overlays.unmount(self.root)
        remove_stubs(self._upper, self._missing)
        for name in ("root", "hosts", ""):
            path = self._mounts / name
            try:
                (os.rmdir if path.is_dir() else os.unlink)(path)
            except OSError:
                continue  # never made
