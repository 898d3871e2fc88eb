"""Where a plain process' files are: a virtual environment of its image, and a private directory for all of /root.

A layer here holds `venv` and `root`, what is to be in /root; both are whole, unless there is no `venv`.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from modicum.runtimes.base import BindMount, RuntimeFailure

from .images.threads import in_thread
from .images.venvs import STRAY, VENV, clone
from .launch import Launch
from .layout import Layout
from .stubs import missing_targets, remove_stubs

_OWN = ("root", "tmp")


class PlainPlace:
    """One container's. A build step's is its layer to be, into which everything below is brought."""

    mounts: tuple[BindMount, ...] = ()

    def __init__(self, layout: Layout, launch: Launch) -> None:
        self.directory = layout.containers / launch.id
        self.root = launch.upper or self.directory / "files"
        self._mark = layout.mark
        self._launch = launch
        whole = next((number for number, layer in enumerate(launch.layers) if (layer / VENV).is_dir()), None)
        self._below = launch.layers[: None if whole is None else whole + 1]
        self._missing: tuple[str, ...] = ()
        self._venv = None if whole is None else launch.layers[whole] / VENV

    async def make(self) -> None:
        """Have the files there. Raises `OSError`, or `RuntimeFailure` if no layer has an environment."""
        if self._venv is None:
            raise RuntimeFailure(f"container {self._launch.id}: its image has no virtual environment")
        await in_thread(self._lay_out)

    def environ(self, given: dict[str, str]) -> dict[str, str]:
        """Return the given variables with the environment's programs first."""
        name, _, value = self._mark.partition("=")
        path = os.pathsep.join([f"{self._venv}/bin", given.get("PATH", os.defpath)])
        temporary = {} if self._launch.upper else {"TMPDIR": str(self.root / "tmp")}
        return {**temporary, **given, "PATH": path, "VIRTUAL_ENV": str(self._venv), name: value}

    def dismount(self) -> None:
        """Remove what a build step found of empty directories: they are not to be in its layer."""
        remove_stubs(self.root, self._missing)

    def _lay_out(self) -> None:
        folders = [f"/{name}" for name in _OWN] + [self._launch.cwd]
        if self._launch.upper is not None:
            self._missing = missing_targets(self.root, folders)
        for folder in (self.directory, *(Path(f"{self.root}{path}") for path in folders)):
            folder.mkdir(parents=True, exist_ok=True)
        for layer in reversed(self._below):
            stray = next((entry.name for entry in os.scandir(layer) if entry.name not in (VENV, *_OWN)), None)
            if stray is not None:
                raise RuntimeFailure(STRAY.format(stray))
            if (layer / "root").is_dir():
                shutil.copytree(layer / "root", self.root / "root", symlinks=True, dirs_exist_ok=True)
        if self._launch.upper is not None and self._venv is not None:
            clone(self._venv, self.root / VENV)
            self._venv = self.root / VENV
