"""How a container's root is put together from layer directories."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path

from .kernel import MNT_DETACH, MS_NODEV, MS_NOSUID, Kernel, kernel

_OPTIONS_BYTES_MAX = 4000
"""mount(2) silently cuts the options at one page."""


class TooManyLayers(OSError):
    """The options of one mount cannot name so many layers."""


class Overlays:
    """Mounts overlays. `links` is a directory for short names of layers, and must be the process' working directory's
    subdirectory `l`: relative short names keep 129 layers within the one page that mount(2) takes.
    """

    def __init__(self, directory: Path, calls: Kernel = kernel) -> None:
        self._directory = directory
        self._calls = calls
        self._names: dict[Path, str] = {}
        (directory / "l").mkdir(exist_ok=True)

    def mount(self, root: Path, layers: Sequence[Path], upper: Path, work: Path) -> None:
        """Mount on `root` what `layers` (the topmost first) hold, with changes going to `upper`.

        `userxattr`: in a user namespace it is how whiteouts and opaque directories are kept. `volatile`: no sync at the
        unmount (after 50 MB written 25 ms against 0.2), since a container's changes never survive a power loss anyway.
        """
        lower = ":".join(self._short_name(layer) for layer in layers)
        paths = f"upperdir={self._escaped(upper)},workdir={self._escaped(work)}"
        data = f"lowerdir={lower},{paths},userxattr,volatile"
        if len(data) > _OPTIONS_BYTES_MAX:
            raise TooManyLayers(f"{len(layers)} layers are more than one mount can name")
        try:
            self._calls.mount("overlay", str(root), "overlay", MS_NODEV | MS_NOSUID, data)
        except OSError as failure:
            if failure.errno != errno.EINVAL:
                raise
            hint = (
                "the file system of $MODICUM_HOME cannot hold what containers change: set it to a directory on ext4, "
                "xfs or btrfs, and no overlay or network file system; or Linux is older than 5.11"
            )
            raise OSError(failure.errno, f"{failure.strerror} ({hint})") from failure

    def unmount(self, root: Path) -> None:
        """Unmount it; if something still holds it, hide it now and let the kernel finish."""
        try:
            self._calls.unmount(str(root))
        except OSError:
            self._calls.unmount(str(root), MNT_DETACH)

    def _short_name(self, path: Path) -> str:
        name = self._names.get(path)
        if name is None:
            name = self._names[path] = f"l/{len(self._names):x}"
            os.symlink(path, self._directory / name)
        return name

    @staticmethod
    def _escaped(path: Path) -> str:
        return str(path).replace("\\", "\\\\").replace(",", "\\,")
