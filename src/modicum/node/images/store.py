"""Which layers this node has, on disk.

    layers/<id>/        one overlay layer; whole, because it was renamed into place when it was
    records/<id>.json   what its image is configured like, written just before; until it settles, in which boot
    tmp/                what is being made; swept when the node starts

A layer is there from one instant to the next, so a node that is killed leaves nothing half. A machine that loses power
may lose what the disk had not yet written: until `settle` has seen to it a layer counts only while the machine is up.
"""

from __future__ import annotations

import ctypes
import json
import os
import tempfile
import threading
from pathlib import Path
from typing import Any

from modicum.node.removal import remove_tree

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class LayerStore:
    """The layers below one directory. One process owns it."""

    def __init__(self, home: Path) -> None:
        self._layers = home / "layers"
        self._records = home / "records"
        self._tmp = home / "tmp"
        self._lock = threading.Lock()
        """Of the records: `settle` writes some in a thread of its own."""
        self._boot = _BOOT_ID.read_text().strip()
        for folder in (self._layers, self._records, self._tmp):  # all on one file system: rename joins them
            folder.mkdir(parents=True, exist_ok=True)
        self._leftovers = list(self._tmp.iterdir())
        self._drop_doubtful()
        self._known = {path.name for path in self._layers.iterdir()}

    def ids(self) -> list[str]:
        """Return the layers that are whole."""
        return sorted(self._known)

    def has(self, layer_id: str) -> bool:
        """Whether the layer is whole."""
        return layer_id in self._known

    def path(self, layer_id: str) -> Path:
        """Return the directory of a layer, whether it is there or not."""
        return self._layers / _checked(layer_id)

    def config(self, layer_id: str) -> dict[str, Any]:
        """Return what was recorded with a layer."""
        record = _read_json(self._record(layer_id)) or {}
        config: dict[str, Any] = record.get("config", {})
        return config

    def scratch(self) -> Path:
        """Make an empty directory to work in, on the layers' file system."""
        return Path(tempfile.mkdtemp(dir=self._tmp))

    def add(self, layer_id: str, made: Path, config: dict[str, Any]) -> None:
        """Take the directory `made` as this layer. If it came to be in the meantime, that one stays."""
        made.chmod(0o755)
        with self._lock:
            self._write_record(layer_id, {"config": config, "boot": self._boot, "making": os.urandom(8).hex()})
        try:
            os.rename(made, self.path(layer_id))
        except OSError:
            if not self.path(layer_id).is_dir():
                raise
        self._known.add(layer_id)

    def take_out(self, layer_id: str) -> Path:
        """Take a layer out of the store; return where it is now, to be removed. Nobody may be using it."""
        aside = self.scratch()
        self._known.discard(layer_id)
        with self._lock:
            self._record(layer_id).unlink(missing_ok=True)  # first: a layer without one does not count
        os.rename(self.path(layer_id), aside)  # an empty directory gives way
        return aside

    def settle(self) -> None:
        """Wait until the layers are on the disk. It takes seconds and holds up nobody in a thread of its own."""
        unsettled = {path: record for path in self._records.iterdir() if "boot" in (record := _read_json(path) or {})}
        folder = os.open(self._layers, os.O_RDONLY | os.O_DIRECTORY)
        try:
            if ctypes.CDLL(None).syncfs(folder) != 0:
                return  # the disk has an error: what is there now may be gone after the next start of the machine
        finally:
            os.close(folder)
        for path, record in unsettled.items():
            with self._lock:
                if _read_json(path) == record:  # else the layer has been taken out meanwhile, or even made again
                    self._write_record(path.stem, {"config": record["config"]})

    def clear(self) -> None:
        """Remove what an earlier process left half done. It may be large, and nobody needs to wait."""
        while self._leftovers:
            remove_tree(self._leftovers.pop())

    def _drop_doubtful(self) -> None:
        """Put aside layers that were not whole, or may not have reached the disk before the machine went down."""
        for record in self._records.iterdir():
            boot = (_read_json(record) or {"boot": None}).get("boot", self._boot)
            layer = self._layers / record.stem
            if boot != self._boot or not layer.is_dir():
                record.unlink()
        for layer in self._layers.iterdir():
            if not self._record(layer.name).exists():
                aside = self.scratch()
                os.rename(layer, aside)  # an empty directory gives way
                self._leftovers.append(aside)

    def _record(self, layer_id: str) -> Path:
        return self._records / f"{_checked(layer_id)}.json"

    def _write_record(self, layer_id: str, record: dict[str, Any]) -> None:
        new = self._tmp / f"{layer_id}.json"
        new.write_text(json.dumps(record, sort_keys=True))
        os.replace(new, self._record(layer_id))


def _checked(layer_id: str) -> str:
    if not layer_id or "/" in layer_id or layer_id.startswith("."):
        raise ValueError(f"{layer_id!r} is no layer id")
    return layer_id


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None
