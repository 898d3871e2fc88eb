"""A stand-in for the server that gives nodes their files."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator

from modicum.wire import filesets
from modicum.wire.frames import Frame, Header


class FileServer:
    """Has the contents that it was given, and counts what it is asked for."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.asked: list[str] = []

    def add(self, files: dict[str, bytes]) -> str:
        """Keep a file set and return its id; names that end in `.sh` are of programs."""
        entries = []
        for path, data in files.items():
            digest = hashlib.sha256(data).hexdigest()
            self.kept[f"sha-{digest}"] = data
            entries.append((path, path.endswith(".sh"), digest, len(data)))
        manifest = filesets.encode(entries)
        set_id = filesets.set_id(manifest)
        self.kept[filesets.manifest_blob(set_id)] = manifest
        return set_id

    async def ask(self, header: Header) -> Frame:
        await asyncio.sleep(0)
        self.asked += header["files"]
        datas = [self.kept[f"sha-{digest}"] for digest in header["files"]]
        return {"t": "reply", "sizes": [len(data) for data in datas]}, b"".join(datas)

    async def fetch(self, blob: str) -> AsyncIterator[bytes]:
        self.asked.append(blob)
        for start in range(0, len(self.kept[blob]), 1 << 20):
            yield self.kept[blob][start : start + (1 << 20)]
            await asyncio.sleep(0)
