"""Which file sets are complete here: their manifest and all that it names.

    filesets/<id>     a complete set; empty, or the machine's boot until the set has reached the disk
    filesets/boot     the boot in which contents were last taken in

An upload is not synced before it counts, so a machine that loses power may have lost what it seemed to have. After
another boot only those sets still count that had reached the disk, and of the contents only theirs: others may be half.
"""

from __future__ import annotations

import ctypes
import os
import threading
from pathlib import Path

from modicum.blobs.contents import LocalContents
from modicum.wire.filesets import MANIFEST_BYTES_MAX, BadManifest, Entry, content_blob, decode, manifest_blob


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
        found = [entry.name for entry in os.scandir(folder) if entry.name.startswith("fs-")]
        self._complete = {each for each in found if contents.has(manifest_blob(each))}
        if _read(folder / "boot") != boot:
            self._forget_doubtful()
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
        if self._last is not None and self._last[0] == set_id:
            return self._last[1]
        blob = manifest_blob(set_id)
        if not self.contents.has(blob):
            raise BadManifest(f"the manifest of {set_id} is not here")
        manifest, total = self.contents.read(blob, 0, MANIFEST_BYTES_MAX)
        if total > MANIFEST_BYTES_MAX:
            raise BadManifest(f"the manifest of {set_id} is too large: {total} bytes")
        self._last = set_id, decode(manifest)
        return self._last[1]

    def _settle(self) -> None:
        """Wait until complete sets are on the disk. Nobody waits for this."""
        with self._settling:
            settled = set(self._unsettled)
            if not settled:
                return
            folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                ctypes.CDLL(None).syncfs(folder)
            finally:
                os.close(folder)
            for set_id in settled:
                (self._folder / set_id).write_text("")
            self._unsettled -= settled

    def _forget_doubtful(self) -> None:
        kept: set[str] = set()
        for set_id in sorted(self._complete):
            if _read(self._folder / set_id) == "":
                kept.add(manifest_blob(set_id))
                kept.update(content_blob(entry[2]) for entry in self._entries(set_id))
            else:
                (self._folder / set_id).unlink()
                self._complete.discard(set_id)
        self.contents.keep_only(kept)


def _read(path: Path) -> str | None:
    try:
        return path.read_text()
    except FileNotFoundError:
        return None
