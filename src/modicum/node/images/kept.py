"""Which file of an earlier layer has a content? Linking it costs less than to fetch and write it again.

    placed/<layer>.json     [[path in the layer, executable, sha256], …] of a layer that was made of a file set

It is read when it is first needed. Layers may be removed at any time: what is not there any longer is not found.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

FILES_MAX = 200_000
"""So many are remembered, some 80 MB; the oldest are forgotten."""

Placed = tuple[str, bool, str]
"""Path in a layer, whether it is executable, sha256."""


class Kept:
    """The contents of layers below `layers`; `home` keeps what is known of them. May be used by any threads."""

    def __init__(self, home: Path, layers: Path) -> None:
        self._placed = home / "placed"
        self._layers = layers
        self._places: dict[tuple[bytes, bool], tuple[str, str]] = {}
        self._is_read = False
        self._lock = threading.Lock()
        self._placed.mkdir(exist_ok=True)

    def find(self, digest: str, executable: bool) -> str | None:
        """Return the path of a file with this content and mode, if there is one."""
        with self._lock:
            self._read()
        layer, path = self._places.get((bytes.fromhex(digest), executable), ("", ""))
        whole = f"{self._layers}/{layer}/{path}"
        return whole if layer and os.path.exists(whole) else None

    def add(self, layer: str, placed: Iterable[Placed]) -> None:
        """Remember a layer that is about to be there."""
        listed = list(placed)
        record = self._placed / f"{layer}.json"
        new = record.with_suffix(".new")
        new.write_text(json.dumps(listed, separators=(",", ":")))
        new.rename(record)
        with self._lock:
            self._read()
            self._remember(layer, listed)

    def _read(self) -> None:
        if self._is_read:
            return
        self._is_read = True
        for record in sorted(self._placed.glob("*.json"), key=lambda record: record.stat().st_mtime):
            if (self._layers / record.stem).is_dir():
                self._remember(record.stem, _load(record))
            else:
                record.unlink()

    def _remember(self, layer: str, placed: Iterable[Placed]) -> None:
        for path, executable, digest in placed:
            key = bytes.fromhex(digest), executable
            self._places.pop(key, None)  # so that the newest is the last
            self._places[key] = layer, path
        for key in [key for key, _ in zip(self._places, range(len(self._places) - FILES_MAX))]:
            del self._places[key]


def _load(record: Path) -> Iterator[Placed]:
    try:
        listed = json.loads(record.read_text())
    except ValueError:  # the machine lost power before it was on the disk
        return iter(())
    return ((path, executable, digest) for path, executable, digest in listed)
