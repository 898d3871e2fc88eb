"""How file sets get to the server: it says what it lacks, and only that is sent. Part of an operation."""

from __future__ import annotations

import os

from modicum import _blobs
from modicum._exchange import Request, Stream
from modicum.exception import ConflictError, ExecutionError, ServiceError
from modicum.wire.filesets import BATCH_FILES_MAX, content_blob, manifest_blob
from modicum.wire.frames import PAYLOAD_BYTES_MAX, batches

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from typing import Any

    from modicum._exchange import Message, Operation
    from modicum._files import FileSet
    from modicum.wire.filesets import Entry

    Progress = Callable[["Upload"], None]

ATTEMPTS = 3
"""A server that lacks files again after so many uploads loses them."""


class Upload:
    """How far the upload of a program's files is; what the server had already does not count."""

    __slots__ = ("bytes", "bytes_sent", "files", "files_sent", "show")

    def __init__(self, show: Progress | None = None) -> None:
        self.files = self.files_sent = 0
        self.bytes = self.bytes_sent = 0
        self.show = show or (lambda upload: None)

    def found(self, entries: list[Entry]) -> None:
        """These are to be sent."""
        self.files += len(entries)
        self.bytes += sum(entry[3] for entry in entries)
        self.show(self)

    def sent(self, files: int, count: int) -> None:
        """So many files, and bytes, have left."""
        self.files_sent += files
        self.bytes_sent += count
        self.show(self)


def upload(sets: Collection[FileSet], progress: Progress | None = None) -> Operation[None]:
    """Have the server know these sets. If it does already, that takes one request and sends nothing.

    Raises `ExecutionError` if a file changes meanwhile, `ResourceExhaustedError` if the server's disk is full.
    """
    by_id = {each.id: each for each in sets}
    if not by_id:
        return
    ((header, _),) = yield Request(({"t": "files.missing", "sets": list(by_id)}, b""))
    missing = [by_id[set_id] for set_id in header["sets"]]
    shown = Upload(progress)
    lacks = []
    for each in missing:
        yield from _blobs.put(manifest_blob(each.id), each.manifest)
        lacks.append((yield from _lacking(each)))
        shown.found(lacks[-1])
    for each, lacking in zip(missing, lacks):
        for _ in range(ATTEMPTS):
            if not lacking:
                break
            yield from _send(each, lacking, shown)
            lacking = yield from _lacking(each)
        else:
            if lacking:
                raise ServiceError(f"the server does not keep the files it is sent ({len(lacking)} are lacking)")


def _lacking(files: FileSet) -> Operation[list[Entry]]:
    """Ask which contents are not there; each is named once."""
    ((_, lacks),) = yield Request(({"t": "files.lacking", "set": files.id}, b""))
    return list({entry[2]: entry for entry, is_lacking in zip(files.entries, lacks) if is_lacking}.values())


def _send(files: FileSet, lacking: list[Entry], shown: Upload) -> Operation[None]:
    small = [entry for entry in lacking if entry[3] <= PAYLOAD_BYTES_MAX]
    sent: list[list[list[Any]]] = []
    answers = yield Stream(_frames(files, small, sent, shown))
    for (header, _), entries in zip(answers, sent):
        for place in header["wrong"]:
            raise _changed(files.local[entries[place][0]])
    for entry in lacking:
        if entry[3] > PAYLOAD_BYTES_MAX:
            yield from _send_large(files.local[entry[2]], entry, shown)


def _frames(files: FileSet, small: list[Entry], sent: list[list[list[Any]]], shown: Upload) -> Iterator[Message]:
    """Yield the frames of many files, reading them as they are wanted."""
    pairs = (([entry[2], entry[3]], _content(files.local[entry[2]], entry)) for entry in small)
    for entries, payload in batches(pairs, BATCH_FILES_MAX):
        sent.append(entries)
        yield {"t": "files.put", "files": entries}, payload
        shown.sent(len(entries), len(payload))


def _send_large(file: str, entry: Entry, shown: Upload) -> Operation[None]:
    blob = content_blob(entry[2])
    try:
        yield Stream(_chunks(blob, file, entry[3], shown))
    except ConflictError:
        raise _changed(file) from None
    shown.sent(1, 0)


def _chunks(blob: str, file: str, size: int, shown: Upload) -> Iterator[Message]:
    with _opened(file) as content:
        for offset in range(0, size, PAYLOAD_BYTES_MAX):
            chunk = content.read(PAYLOAD_BYTES_MAX)
            if len(chunk) != min(PAYLOAD_BYTES_MAX, size - offset):
                raise _changed(file)
            yield {"t": "blob.put", "blob": blob, "offset": offset, "total": size}, chunk
            shown.sent(0, len(chunk))


def _content(file: str, entry: Entry) -> bytes:
    with _opened(file) as content:
        data: bytes = content.read(entry[3] + 1)
    if len(data) != entry[3]:
        raise _changed(file)
    return data


def _opened(file: str) -> Any:
    try:
        return open(os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    except OSError:
        raise _changed(file) from None


def _changed(file: str) -> ExecutionError:
    return ExecutionError(f"the file {file!r} was changed while it was being uploaded; run it again")
