"""How a file set becomes a directory: what earlier layers have is linked, the rest fetched and compared with its hash.

A container must not find two of its files to be one and the same, so a content is linked to one place of a set only;
other places get copies, and empty files are made anew.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from modicum.wire.filesets import BATCH_FILES_MAX, Entry, content_blob, decode, folders, manifest_blob
from modicum.wire.frames import PAYLOAD_BYTES_MAX, Frame, Header

from .kept import Kept, Placed
from .merged import InTheWay, Merged
from .threads import in_thread

_AHEAD = 4
"""Frames on their way at once."""


class BadFileSet(ValueError):
    """What the server gave is not the file set that was asked for."""


class Server(Protocol):
    """Where manifests and contents come from."""

    async def ask(self, header: Header) -> Frame:
        """Return the answer to a request. Raises `RemoteFailure` or `ChannelClosed`."""

    def fetch(self, blob: str) -> AsyncIterator[bytes]:
        """Yield a blob's bytes. Raises as `ask`."""


_MADE = (0o755, 0, 0)
"""Mode and owners of a directory that a set makes."""


@dataclass(frozen=True, slots=True)
class Folder:
    """A directory that a set shares with an image: where it is there, and what it is like."""

    real: str
    mode: int
    uid: int
    gid: int


async def fetch_entries(server: Server, set_id: str) -> list[Entry]:
    """Return the files of a set. Raises `BadFileSet`, `BadManifest`, or what the server answers."""
    manifest = b"".join([chunk async for chunk in server.fetch(manifest_blob(set_id))])
    if hashlib.sha256(manifest).hexdigest() != set_id[3:]:
        raise BadFileSet(f"the manifest of {set_id} is another")
    return await in_thread(lambda: decode(manifest))


async def lay_out(
    server: Server,
    entries: Sequence[Entry],
    target: Path,
    shared: Mapping[str, Folder] | None = None,
    kept: Kept | None = None,
) -> list[Placed]:
    """Make the files of a set below the empty directory `target`; return where they are in it.

    `shared` is what `shared_folders` returned, `kept` what may be linked. Owners become the node's root, which is the
    container's. Raises `BadFileSet`, `InTheWay`, or what the server answers.
    """
    work = _Work(target, shared or {}, kept)
    lacking = await in_thread(lambda: work.begin(entries))
    for entry in lacking:
        if entry[3] > PAYLOAD_BYTES_MAX:
            await _fetch_large(server, work, entry)
    batches = _batches([entry for entry in lacking if entry[3] <= PAYLOAD_BYTES_MAX])
    workers = [asyncio.ensure_future(_fetch_batches(server, work, batches)) for _ in range(_AHEAD)]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    return await in_thread(lambda: work.finish(entries))


async def _fetch_batches(server: Server, work: _Work, batches: Iterator[list[Entry]]) -> None:
    for batch in batches:
        header, payload = await server.ask({"t": "files.get", "files": [entry[2] for entry in batch]})
        if header["sizes"] != [entry[3] for entry in batch] or len(payload) != sum(header["sizes"]):
            raise BadFileSet("the server's contents are not as long as the manifest says")
        await in_thread(lambda: work.write_all(batch, payload))  # noqa: B023 - it is done before the next turn


async def _fetch_large(server: Server, work: _Work, entry: Entry) -> None:
    path, executable, digest, size = entry
    found, received = hashlib.sha256(), 0

    def take(chunk: bytes) -> None:
        found.update(chunk)
        file.write(chunk)

    with os.fdopen(_create(work.place(path), executable), "wb") as file:
        async for chunk in server.fetch(content_blob(digest)):
            await in_thread(lambda: take(chunk))  # noqa: B023 - it is done before the next turn
            received += len(chunk)
    if (received, found.hexdigest()) != (size, digest):
        raise BadFileSet(f"the server's content {digest} is another")


@dataclass
class _Work:
    """A set on its way to being a directory."""

    target: Path
    shared: Mapping[str, Folder]
    kept: Kept | None
    folders: dict[str, str] = field(default_factory=dict)
    copies: list[tuple[str, Entry]] = field(default_factory=list)
    """Further places of a content, and the first."""

    def begin(self, entries: Sequence[Entry]) -> list[Entry]:
        """Make the directories and all that needs no fetching; return what does."""
        self.folders[""] = ""
        for folder in folders(entries):
            self.folders[folder] = self._make_folder(folder)
        lacking: list[Entry] = []
        first: dict[str, str] = {}
        for entry in entries:
            path, executable, digest, size = entry
            if size == 0:
                os.close(_create(self.place(path), executable))
            elif digest in first:
                self.copies.append((first[digest], entry))
            else:
                first[digest] = path
                if not self._link(entry):
                    lacking.append(entry)
        return lacking

    def write_all(self, batch: Sequence[Entry], payload: bytes) -> None:
        """Make files whose contents have come."""
        view, start = memoryview(payload), 0
        for path, executable, digest, size in batch:
            data = view[start : start + size]
            start += size
            if hashlib.sha256(data).hexdigest() != digest:
                raise BadFileSet(f"the server's content {digest} is another")
            with open(_create(self.place(path), executable), "wb", buffering=0) as file:
                while data:
                    data = data[file.write(data) :]

    def finish(self, entries: Sequence[Entry]) -> list[Placed]:
        """Make the copies, and give shared directories their owners and modes: they may let nobody write."""
        for first, (path, executable, _, _) in self.copies:
            with open(self.place(first), "rb") as source, open(_create(self.place(path), executable), "wb") as copy:
                shutil.copyfileobj(source, copy, 1 << 20)
        for like in self.shared.values():
            os.chown(self.target / like.real, like.uid, like.gid)
            os.chmod(self.target / like.real, like.mode)
        return [(self._inside(entry[0]), entry[1], entry[2]) for entry in entries if entry[3]]

    def place(self, path: str) -> str:
        """Return where a file of the set goes."""
        return f"{self.target}/{self._inside(path)}"

    def _inside(self, path: str) -> str:
        folder, _, name = path.rpartition("/")
        real = self.folders[folder]
        return f"{real}/{name}" if real else name

    def _make_folder(self, folder: str) -> str:
        real = self.shared[folder].real if folder in self.shared else self._inside(folder)
        (self.target / real).mkdir(parents=True, exist_ok=True)
        return real

    def _link(self, entry: Entry) -> bool:
        found = self.kept.find(entry[2], entry[1]) if self.kept is not None else None
        if found is None:
            return False
        try:
            os.link(found, self.place(entry[0]))
        except FileExistsError:
            raise _same_place(entry[0]) from None
        except OSError:  # it has as many links as the file system counts, or has just gone
            return False
        return True


def shared_folders(entries: Sequence[Entry], image: Merged) -> dict[str, Folder]:
    """Return those directories of a set that an image has too, unless they are just as the set would make them.

    What a link leads to gets the files, and a directory keeps its owner and its mode: laid over an image, a set changes
    nothing but its files. Those that only lead to a link's target go by a name that begins with `/`.

    Raises `InTheWay` if the image has a directory where the set has a file, or the reverse.
    """
    found: dict[str, Folder] = {}
    absent: set[str] = set()
    for folder in folders(entries):
        if folder.rpartition("/")[0] in absent:
            absent.add(folder)
            continue
        real, state = image.folder(folder)
        if state is None:
            absent.add(folder)
        like = _like(state)
        if real != folder or like != _MADE:
            found[folder] = Folder(real, *like)
    found |= _ways(found, image)
    inside: dict[str, set[str]] = {}
    for path, *_ in entries:
        folder, _, name = path.rpartition("/")
        if folder in absent:
            continue
        real = found[folder].real if folder in found else folder
        if real not in inside:
            inside[real] = image.subfolders(real)
        if name in inside[real]:
            place = f"/{real}/{name}" if real else f"/{name}"
            raise InTheWay(f"the image has a directory at {place}, where a file is to be")
    return found


def _ways(found: Mapping[str, Folder], image: Merged) -> dict[str, Folder]:
    """Return the directories on the way to these that are not as the set would make them."""
    above = {real[:end] for real in {each.real for each in found.values()} for end, c in enumerate(real) if c == "/"}
    likes = {folder: _like(image.folder(folder)[1]) for folder in above}
    return {f"/{folder}": Folder(folder, *like) for folder, like in likes.items() if like != _MADE}


def _like(state: os.stat_result | None) -> tuple[int, int, int]:
    return (state.st_mode & 0o7777, state.st_uid, state.st_gid) if state is not None else _MADE


def _create(place: str, executable: bool) -> int:
    """Never open a file that is there: it may be another layer's."""
    try:
        return os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o755 if executable else 0o644)
    except FileExistsError:
        raise _same_place(place) from None


def _same_place(path: str) -> InTheWay:
    return InTheWay(f"by the image's links, {path} and another file go to the same place")


def _batches(entries: list[Entry]) -> Iterator[list[Entry]]:
    """Yield as many files at a time as one frame holds."""
    batch: list[Entry] = []
    size = 0
    for entry in entries:
        if batch and (size + entry[3] > PAYLOAD_BYTES_MAX or len(batch) == BATCH_FILES_MAX):
            yield batch
            batch, size = [], 0
        batch.append(entry)
        size += entry[3]
    if batch:
        yield batch
