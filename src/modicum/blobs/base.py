"""What keeps large bytes: a store of named blobs, written and read in chunks."""

from __future__ import annotations

from typing import Protocol


class BlobMissing(Exception):
    """There is no complete blob of that name."""


class Blobs(Protocol):
    """Bytes by name. A blob is readable once all of it has been written."""

    def new(self) -> str:
        """Return a name that no blob has."""

    def write(self, blob: str, offset: int, total: int, chunk: bytes) -> int:
        """Write a chunk and return how many bytes are there now. Writing the same again is harmless.

        Raises `ValueError` for a name or an extent that cannot be.
        """

    def read(self, blob: str, offset: int, count: int) -> tuple[bytes, int]:
        """Return up to `count` bytes and the blob's total size. Raises `BlobMissing`."""

    def has(self, blob: str) -> bool:
        """Return whether the blob is complete."""

    def delete(self, blob: str) -> None:
        """Forget the blob. Harmless when there is none."""
