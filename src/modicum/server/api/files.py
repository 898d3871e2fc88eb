"""How the user's files come in, and how a node gets them: sets of files, and their contents many to a frame."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from typing import TypeVar

from modicum.blobs.base import BlobMissing
from modicum.server.api.fields import cut
from modicum.server.parts import Parts
from modicum.wire.channel import Answer, Channel, RemoteFailure
from modicum.wire.filesets import BATCH_FILES_MAX, content_blob, manifest_blob
from modicum.wire.frames import PAYLOAD_BYTES_MAX, Header

T = TypeVar("T")

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


async def stored(work: Callable[[], T]) -> T:
    """Do what writes or reads much, in a thread. Raises `RemoteFailure` if there is no room."""
    try:
        return await asyncio.to_thread(work)
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise RemoteFailure("resource_exhausted", f"the disk that holds $MODICUM_HOME is full: {error}") from None


def missing(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """Tell which of some file sets are not complete here."""
    return {"sets": [each for each in header["sets"] if manifest_blob(each) and not parts.files.has(each)]}


async def lacking(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """Tell of which files of a set, whose manifest is here, the content is not."""
    return {}, await stored(lambda: parts.files.lacking(header["set"]))


async def put(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """Take in contents, and tell which of them are not what their digests say: somebody wrote to the file meanwhile."""
    datas = cut(payload, [size for _, size in header["files"]])
    contents = [(content_blob(digest), data) for (digest, _), data in zip(header["files"], datas)]
    return {"wrong": await stored(lambda: parts.files.contents.add(contents))}


async def get(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
    """Give contents that make up one frame."""
    digests = header["files"]
    if len(digests) > BATCH_FILES_MAX:
        raise ValueError(f"{len(digests)} contents are more than one frame holds")
    try:
        datas = await stored(lambda: _read_all(parts, [content_blob(digest) for digest in digests]))
    except BlobMissing as error:
        raise RemoteFailure("not_found", f"the content {error} is not here") from None
    return {"sizes": [len(data) for data in datas]}, b"".join(datas)


def _read_all(parts: Parts, blobs: list[str]) -> list[bytes]:
    datas = []
    room = PAYLOAD_BYTES_MAX
    for blob in blobs:
        data, total = parts.files.contents.read(blob, 0, room)
        if len(data) < total:
            raise ValueError("these contents are more than one frame holds")
        datas.append(data)
        room -= total
    return datas


HANDLERS = {"files.missing": missing, "files.lacking": lacking, "files.put": put, "files.get": get}
