"""Blobs as files of this machine."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

from modicum.blobs.base import BlobMissing

_NAME = re.compile(r"bl-[0-9a-f]{16,64}")
_PARTIAL = ".partial"

CHUNK_BYTES = 1 << 20
"""A blob is written in chunks of this size, the last one shorter, in any order."""

BLOB_BYTES_MAX = 64 << 30


class LocalBlobs:
    """One file per blob; an incomplete one has a name of its own until its last byte is there."""

    def __init__(self, folder: Path, chunk_bytes: int = CHUNK_BYTES) -> None:
        self.folder = folder
        self._chunk_bytes = chunk_bytes
        self._received: dict[str, set[int]] = {}
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def new(self) -> str:
        return "bl-" + os.urandom(12).hex()

    def write(self, blob: str, offset: int, total: int, chunk: bytes) -> int:
        path = self.path(blob)
        if not 0 <= offset <= total <= BLOB_BYTES_MAX or offset % self._chunk_bytes:
            raise ValueError(f"no chunk begins at {offset} of a blob of {total} bytes")
        if len(chunk) != min(self._chunk_bytes, total - offset):
            raise ValueError(f"the chunk at {offset} of a blob of {total} bytes cannot have {len(chunk)}")
        if path.exists():
            return total
        partial = path.with_name(path.name + _PARTIAL)
        with open(os.open(partial, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:  # writes all of it, or raises
            file.seek(offset)
            file.write(chunk)
        offsets = self._received.setdefault(blob, set())
        offsets.add(offset)
        if len(offsets) * self._chunk_bytes >= total:
            del self._received[blob]
            partial.rename(path)
            return total
        return len(offsets) * self._chunk_bytes

    def read(self, blob: str, offset: int, count: int) -> tuple[bytes, int]:
        try:
            descriptor = os.open(self.path(blob), os.O_RDONLY)
        except FileNotFoundError:
            raise BlobMissing(blob) from None
        try:
            return os.pread(descriptor, count, offset), os.fstat(descriptor).st_size
        finally:
            os.close(descriptor)

    def has(self, blob: str) -> bool:
        return self.path(blob).exists()

    def delete(self, blob: str) -> None:
        path = self.path(blob)
        path.unlink(missing_ok=True)
        path.with_name(path.name + _PARTIAL).unlink(missing_ok=True)
        self._received.pop(blob, None)

    def sync(self, blob: str) -> None:
        """Have a complete blob on the disk when this returns, whatever becomes of the machine. Takes its time."""
        for path in (self.path(blob), self.folder):
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def sweep(self, keep: set[str], prefix: str, older_than: float) -> None:
        """Delete blobs of a prefix that nobody names and that were written before a time (seconds since the epoch)."""
        for entry in os.scandir(self.folder):
            name = entry.name.removesuffix(_PARTIAL)
            if not name.startswith(prefix) or name in keep:
                continue
            with suppress(FileNotFoundError):  # another thread has just finished it
                if entry.stat().st_mtime < older_than:
                    os.unlink(entry.path)
                    if entry.name != name:
                        self._received.pop(name, None)  # what comes of it now does not make it whole

    def path(self, blob: str) -> Path:
        """Return where a complete blob lies. Raises `ValueError` for a name that no blob has."""
        if not _NAME.fullmatch(blob):
            raise ValueError(f"{blob!r} is no name of a blob")
        return self.folder / blob
