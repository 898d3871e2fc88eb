"""Which file sets are complete here: their manifest and all that it names.

    filesets/<id>     a complete set: `settled`, or the machine's boot until the set has reached the disk
    filesets/boot     the boot in which contents were last taken in

An upload is not synced before it counts, so a machine that loses power may have lost what it seemed to have. After
another boot only those sets still count that had reached the disk, and of the contents only theirs: others may be half.
These files may be half themselves, or empty: only a whole word says something.
"""

from __future__ import annotations

import ctypes
import os
import threading
from pathlib import Path

from modicum.blobs.base import BlobMissing
from modicum.blobs.contents import LocalContents
from modicum.wire.filesets import MANIFEST_BYTES_MAX, BadManifest, Entry, content_blob, decode, manifest_blob

_SETTLED = "settled"


class FileSets:
    """The complete file sets of a home. May be used by any threads."""

    def __init__(self, folder: Path, contents: LocalContents, boot: str) -> None:
        self._folder = folder
        self._boot = boot
        self.contents = contents
        self._unsettled: set[str] = set()
        self._last: tuple[str, list[Entry]] | None = None
        self._settling = threading.Lock()
        folder.mkdir(mode=0o700, exist_ok=True)
        self._complete = {entry.name for entry in os.scandir(folder) if entry.name.startswith("fs-")}
        self._forget({each for each in self._complete if not contents.has(manifest_blob(each))})
        if _read(folder / "boot") != boot:
            self._keep_settled()
            (folder / "boot").write_text(boot)

    def has(self, set_id: str) -> bool:
        """Whether the set is complete."""
        return set_id in self._complete

    def lacking(self, set_id: str) -> bytes:
        """Return a byte for each file of the set's manifest: 1 if its content is not here. If none is, it is complete.

        Raises `ValueError` for an id that is none, or whose manifest is not here or describes no set.
        """
        entries = self._entries(set_id)
        lacks = self.contents.lacking([entry[2] for entry in entries])
        if 1 not in lacks and set_id not in self._complete:
            (self._folder / set_id).write_text(self._boot)
            self._unsettled.add(set_id)
            self._complete.add(set_id)
            threading.Thread(target=self._settle, name="modicum-settle", daemon=True).start()
        return lacks

    def _entries(self, set_id: str) -> list[Entry]:
        last = self._last  # another thread may put another there
        if last is not None and last[0] == set_id:
            return last[1]
        blob = manifest_blob(set_id)
        if not self.contents.has(blob):
            raise BadManifest(f"the manifest of {set_id} is not here")
        manifest, total = self.contents.read(blob, 0, MANIFEST_BYTES_MAX)
        if total > MANIFEST_BYTES_MAX:
            raise BadManifest(f"the manifest of {set_id} is too large: {total} bytes")
        entries = decode(manifest)
        self._last = set_id, entries
        return entries

    def _settle(self) -> None:
        """Wait until complete sets are on the disk. Nobody waits for this."""
        with self._settling:
            settled = set(self._unsettled)
            if not settled:
                return
            if not _sync(self._folder):
                return  # after another boot they do not count
            for set_id in settled:
                (self._folder / set_id).write_text(_SETTLED)
            self._unsettled -= settled

    def _keep_settled(self) -> None:
        """Forget the other sets, and all contents that are not of settled ones."""
        kept: set[str] = set()
        doubtful: set[str] = set()
        for set_id in self._complete:
            blobs = self._blobs_of(set_id) if _read(self._folder / set_id) == _SETTLED else set()
            if blobs and all(blob in kept or self.contents.has(blob) for blob in blobs):
                kept |= blobs
            else:
                doubtful.add(set_id)
        self._forget(doubtful)
        self.contents.keep_only(kept)

    def _blobs_of(self, set_id: str) -> set[str]:
        """Return the names of a set's manifest and contents; none if the manifest is damaged."""
        try:
            return {manifest_blob(set_id), *(content_blob(entry[2]) for entry in self._entries(set_id))}
        except (OSError, BlobMissing, BadManifest):
            return set()

    def _forget(self, sets: set[str]) -> None:
        for set_id in sets:
            (self._folder / set_id).unlink()
        self._complete -= sets


def _sync(folder: Path) -> bool:
    """Have all that was written on a directory's file system reach the disk; return whether it has."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return bool(ctypes.CDLL(None).syncfs(descriptor) == 0)
    finally:
        os.close(descriptor)


def _read(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace")
    except FileNotFoundError:
        return None
