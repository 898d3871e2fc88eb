"""Blobs as files of this machine."""

from __future__ import annotations

import os
import re
from pathlib import Path

from modicum.blobs.base import BlobMissing

_NAME = re.compile(r"(bl|src)-[0-9a-f]{16,64}")
_PARTIAL = ".partial"


class LocalBlobs:
    """One file per blob; an incomplete one has a name of its own until its last byte is there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._received: dict[str, dict[int, int]] = {}
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def new(self) -> str:
        return "bl-" + os.urandom(12).hex()

    def write(self, blob: str, offset: int, total: int, chunk: bytes) -> int:
        path = self._path(blob)
        if not 0 <= offset <= offset + len(chunk) <= total:
            raise ValueError(f"{len(chunk)} bytes at {offset} do not fit into a blob of {total}")
        if path.exists():
            return total
        partial = path.with_name(path.name + _PARTIAL)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            os.pwrite(descriptor, chunk, offset)
        finally:
            os.close(descriptor)
        chunks = self._received.setdefault(blob, {})
        chunks[offset] = len(chunk)
        received = _covered(chunks)
        if received >= total:
            partial.rename(path)
            del self._received[blob]
        return received

    def read(self, blob: str, offset: int, count: int) -> tuple[bytes, int]:
        try:
            descriptor = os.open(self._path(blob), os.O_RDONLY)
        except FileNotFoundError:
            raise BlobMissing(blob) from None
        try:
            return os.pread(descriptor, count, offset), os.fstat(descriptor).st_size
        finally:
            os.close(descriptor)

    def has(self, blob: str) -> bool:
        return self._path(blob).exists()

    def delete(self, blob: str) -> None:
        path = self._path(blob)
        path.unlink(missing_ok=True)
        path.with_name(path.name + _PARTIAL).unlink(missing_ok=True)
        self._received.pop(blob, None)

    def sweep(self, keep: set[str], prefix: str, older_than: float) -> None:
        """Delete blobs of a prefix that nobody names and that were written before a time (seconds since the epoch)."""
        for entry in os.scandir(self._folder):
            name = entry.name.removesuffix(_PARTIAL)
            if name.startswith(prefix) and name not in keep and entry.stat().st_mtime < older_than:
                os.unlink(entry.path)

    def _path(self, blob: str) -> Path:
        if not _NAME.fullmatch(blob):
            raise ValueError(f"{blob!r} is no name of a blob")
        return self._folder / blob


def _covered(chunks: dict[int, int]) -> int:
    """Return how many bytes chunks (offset to length) cover; they may overlap."""
    covered = end = 0
    for offset in sorted(chunks):
        stop = offset + chunks[offset]
        covered += max(stop - max(offset, end), 0)
        end = max(end, stop)
    return covered
