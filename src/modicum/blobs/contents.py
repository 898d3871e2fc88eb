"""What keeps contents: bytes named by their own sha256, each there once however many files have it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import threading
from collections.abc import Collection
from pathlib import Path

from modicum.blobs.base import BlobMissing
from modicum.blobs.local import CHUNK_BYTES, LocalBlobs

_PREFIX = "sha-"


class WrongContent(ValueError):
    """The bytes are not what their name says."""


class LocalContents:
    """A file per content, in 256 folders. Blobs named `sha-…`; what is there has been compared with its name.

    May be used by any threads.
    """

    def __init__(self, folder: Path, chunk_bytes: int = CHUNK_BYTES) -> None:
        self._folder = folder
        self._incoming = LocalBlobs(folder / "incoming", chunk_bytes)
        self._chunks = threading.Lock()
        for number in range(256):
            (folder / f"{number:02x}").mkdir(exist_ok=True)

    @staticmethod
    def owns(blob: str) -> bool:
        """Whether a blob's name is that of a content."""
        return blob.startswith(_PREFIX)

    def has(self, blob: str) -> bool:
        """Whether this content is here. Raises `ValueError` for a name of something else."""
        return os.path.exists(self._path(blob))

    def add(self, blob: str, data: bytes) -> None:
        """Keep a content that came in one piece. Raises `WrongContent`."""
        path = self._path(blob)
        if hashlib.sha256(data).hexdigest() != blob[len(_PREFIX) :]:
            raise WrongContent(f"the content of {blob} is another")
        if os.path.exists(path):
            return
        descriptor, partial = tempfile.mkstemp(dir=self._folder / "incoming")
        try:
            with contextlib.closing(os.fdopen(descriptor, "wb", buffering=0)) as file:
                _write_all(file.fileno(), data)
            os.rename(partial, path)
        except BaseException:
            os.unlink(partial)
            raise

    def write(self, blob: str, offset: int, total: int, chunk: bytes) -> int:
        """Take in a chunk of a content and return how many bytes are there now, as `Blobs.write`.

        Raises `WrongContent` when the last one shows that the whole is another; none of it is kept then.
        """
        path = self._path(blob)
        if os.path.exists(path):
            return total
        with self._chunks:
            name = "bl-" + blob[len(_PREFIX) :]
            received = self._incoming.write(name, offset, total, chunk)
            if received == total and self._incoming.has(name):
                self._take(blob, self._incoming.path(name), path)
        return received

    def read(self, blob: str, offset: int, count: int) -> tuple[bytes, int]:
        """Return up to `count` bytes and the content's size. Raises `BlobMissing`."""
        try:
            descriptor = os.open(self._path(blob), os.O_RDONLY)
        except FileNotFoundError:
            raise BlobMissing(blob) from None
        try:
            return os.pread(descriptor, count, offset), os.fstat(descriptor).st_size
        finally:
            os.close(descriptor)

    def keep_only(self, blobs: Collection[str]) -> None:
        """Delete all other contents, and what has come of unfinished ones."""
        for folder in os.scandir(self._folder):
            for entry in os.scandir(folder.path):
                if f"{_PREFIX}{folder.name}{entry.name}" not in blobs:
                    os.unlink(entry.path)

    @staticmethod
    def _take(blob: str, complete: Path, path: str) -> None:
        with open(complete, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != blob[len(_PREFIX) :]:
            complete.unlink()
            raise WrongContent(f"the content of {blob} is another")
        complete.rename(path)

    def _path(self, blob: str) -> str:
        digest = blob[len(_PREFIX) :]
        if not self.owns(blob) or len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
            raise ValueError(f"{blob!r} is no name of a content")
        return f"{self._folder}/{digest[:2]}/{digest[2:]}"


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
