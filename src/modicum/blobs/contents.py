"""What keeps contents: bytes named by their own sha256, each there once however many files have it.

    packs/<name>        small ones that came together: a line of JSON, [[sha256, size], …], and behind it their bytes
    large/<sha256>      one that came in chunks
    incoming/           what has not come in full

Making a file is what costs most here, more than writing a megabyte, so what came in one frame stays in one file. What
is in which pack is in memory, and read from the packs' first lines at the start.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from modicum.blobs.base import BlobMissing
from modicum.blobs.local import CHUNK_BYTES, LocalBlobs

_PREFIX = "sha-"
_DIGITS = frozenset("0123456789abcdef")

Place = tuple[str, int, int]
"""A pack's name, and where in it a content begins, and how long it is."""


class WrongContent(ValueError):
    """The bytes are not what their name says."""


class LocalContents:
    """Contents as files of this machine. Blobs named `sha-…`; what is there has been compared with its name.

    May be used by any threads.
    """

    def __init__(self, folder: Path, chunk_bytes: int = CHUNK_BYTES) -> None:
        self._packs, self._large = folder / "packs", folder / "large"
        self._incoming = LocalBlobs(folder / "incoming", chunk_bytes)
        self._chunks = threading.Lock()
        for each in (self._packs, self._large):
            each.mkdir(exist_ok=True)
        self._places: dict[bytes, Place] = {}
        for pack in os.scandir(self._packs):
            self._places.update(_read_index(pack.path))

    @staticmethod
    def owns(blob: str) -> bool:
        """Whether a blob's name is that of a content."""
        return blob.startswith(_PREFIX)

    def has(self, blob: str) -> bool:
        """Whether this content is here. Raises `ValueError` for a name of something else."""
        digest = _digest(blob)
        return digest in self._places or os.path.exists(self._large_path(digest))

    def lacking(self, digests: Sequence[str]) -> bytes:
        """Return a byte for each of these contents: 1 if it is not here. Raises `ValueError` for what is no sha256."""
        here = {entry.name for entry in os.scandir(self._large)}
        return bytes(bytes.fromhex(digest) not in self._places and digest not in here for digest in digests)

    def add(self, contents: Sequence[tuple[str, bytes]]) -> list[int]:
        """Keep contents that came together, by name; return the places of those that are not what their name says."""
        wrong, new = [], {}
        for place, (blob, data) in enumerate(contents):
            digest = _digest(blob)
            if hashlib.sha256(data).digest() != digest:
                wrong.append(place)
            elif digest not in self._places:
                new[digest] = data
        if new:
            index = json.dumps([[digest.hex(), len(data)] for digest, data in new.items()]).encode() + b"\n"
            pack = self._packs / os.urandom(12).hex()
            _write_whole(self._incoming.path(self._incoming.new()), pack, [index, *new.values()])
            self._places.update(_places(pack.name, len(index), [(digest, len(data)) for digest, data in new.items()]))
        return wrong

    def write(self, blob: str, offset: int, total: int, chunk: bytes) -> int:
        """Take in a chunk of a content and return how many bytes are there now, as `Blobs.write`.

        Raises `WrongContent` when the last one shows that the whole is another; none of it is kept then.
        """
        digest = _digest(blob)
        if self.has(blob):
            return total
        with self._chunks:
            name = f"bl-{digest.hex()}"
            received = self._incoming.write(name, offset, total, chunk)
            if received == total and self._incoming.has(name):
                self._take(digest, self._incoming.path(name))
        return received

    def read(self, blob: str, offset: int, count: int) -> tuple[bytes, int]:
        """Return up to `count` bytes and the content's size. Raises `BlobMissing`."""
        digest = _digest(blob)
        pack, start, size = self._places.get(digest, ("", 0, 0))
        try:
            descriptor = os.open(self._packs / pack if pack else self._large_path(digest), os.O_RDONLY)
        except FileNotFoundError:
            raise BlobMissing(blob) from None
        try:
            total = size if pack else os.fstat(descriptor).st_size
            return os.pread(descriptor, max(0, min(count, total - offset)), start + offset), total
        finally:
            os.close(descriptor)

    def keep_only(self, blobs: Collection[str]) -> None:
        """Delete other contents, as far as no pack holds one of these too, and what has come of unfinished ones."""
        kept = {_digest(blob) for blob in blobs}
        packs = {place[0] for digest, place in self._places.items() if digest in kept}
        for entry in [*os.scandir(self._packs), *os.scandir(self._large), *os.scandir(self._incoming.folder)]:
            if entry.name not in packs and f"{_PREFIX}{entry.name}" not in blobs:
                os.unlink(entry.path)
        self._places = {digest: place for digest, place in self._places.items() if place[0] in packs}

    def sweep(self, older_than: float) -> None:
        """Delete what has come of contents that nobody has gone on with since a time (seconds since the epoch)."""
        with self._chunks:
            self._incoming.sweep(set(), "bl-", older_than)

    def _take(self, digest: bytes, complete: Path) -> None:
        with open(complete, "rb") as file:
            found = hashlib.file_digest(file, "sha256").digest()
        if found != digest:
            complete.unlink()
            raise WrongContent(f"the content of {_PREFIX}{digest.hex()} is another")
        complete.rename(self._large_path(digest))

    def _large_path(self, digest: bytes) -> str:
        return f"{self._large}/{digest.hex()}"


def _digest(blob: str) -> bytes:
    text = blob[len(_PREFIX) :]
    if not blob.startswith(_PREFIX) or len(text) != 64 or not _DIGITS.issuperset(text):
        raise ValueError(f"{blob!r} is no name of a content")
    return bytes.fromhex(text)


def _places(pack: str, start: int, sizes: list[tuple[bytes, int]]) -> Iterator[tuple[bytes, Place]]:
    for digest, size in sizes:
        yield digest, (pack, start, size)
        start += size


def _read_index(pack: str) -> Iterator[tuple[bytes, Place]]:
    with open(pack, "rb") as file:
        index = file.readline()
    try:
        sizes = [(bytes.fromhex(digest), size) for digest, size in json.loads(index)]
    except ValueError:  # the machine lost power before it was on the disk
        return iter(())
    return _places(os.path.basename(pack), len(index), sizes)


def _write_whole(new: Path, name: Path, parts: Sequence[bytes]) -> None:
    """Make a file that is there once it is whole."""
    try:
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.writelines(parts)
        os.rename(new, name)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
