"""What the server answers to who brings files and who fetches them."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from modicum.blobs.contents import LocalContents
from modicum.server.api import blobs, files
from modicum.server.filesets import FileSets
from modicum.wire import filesets
from modicum.wire.channel import RemoteFailure
from modicum.wire.messages import CONTAINER, NODE, RESTRICTED, USER


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Server:
    """The parts of a server that files need."""

    def __init__(self, home: Path) -> None:
        self.parts: Any = SimpleNamespace(files=FileSets(home / "sets", LocalContents(home / "contents"), "boot"))

    async def ask(self, handler: Any, header: dict[str, Any], payload: bytes = b"", principal: str = USER) -> Any:
        channel: Any = SimpleNamespace(principal=principal)
        answer = handler(self.parts, channel, header, payload)
        return await answer if hasattr(answer, "__await__") else answer


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return Server(tmp_path)


async def test_the_way_of_a_set(server: Server) -> None:
    datas = [b"a", b"bb"]
    manifest = filesets.encode([(f"root/{data!r}", False, digest(data), len(data)) for data in datas])
    set_id = filesets.set_id(manifest)
    put = {"blob": filesets.manifest_blob(set_id), "offset": 0, "total": len(manifest)}
    assert await server.ask(files.missing, {"sets": [set_id]}) == {"sets": [set_id]}
    assert await server.ask(blobs.put, put, manifest) == {"received": len(manifest)}
    assert await server.ask(files.lacking, {"set": set_id}) == ({}, b"\1\1")
    both = [[digest(data), len(data)] for data in datas]
    assert await server.ask(files.put, {"files": both}, b"axx") == {"wrong": [1]}
    assert await server.ask(files.lacking, {"set": set_id}) == ({}, b"\0\1")
    assert await server.ask(files.put, {"files": both[1:]}, b"bb") == {"wrong": []}
    assert await server.ask(files.missing, {"sets": [set_id]}) == {"sets": [set_id]}
    assert await server.ask(files.lacking, {"set": set_id}) == ({}, b"\0\0")
    assert await server.ask(files.missing, {"sets": [set_id]}) == {"sets": []}
    wanted = {"files": [digest(data) for data in reversed(datas)]}
    assert await server.ask(files.get, wanted, principal=NODE) == ({"sizes": [2, 1]}, b"bba")


async def test_a_full_disk_is_said_to_be_full(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "rename", full)
    with pytest.raises(RemoteFailure, match=r"the disk that holds \$MODICUM_HOME is full: .*No space left") as caught:
        await server.ask(files.put, {"files": [[digest(b"a"), 1]]}, b"a")
    assert caught.value.code == "resource_exhausted"


@pytest.mark.parametrize("principal", [CONTAINER, RESTRICTED])
async def test_containers_neither_write_nor_read_contents(server: Server, principal: str) -> None:
    blob = f"sha-{digest(b'a')}"
    server.parts.files.contents.add([(blob, b"a")])
    with pytest.raises(ValueError, match="is no blob of a value"):
        await server.ask(blobs.put, {"blob": blob, "offset": 0, "total": 1}, b"a", principal)
    with pytest.raises(RemoteFailure, match="a container may not read that blob"):
        await server.ask(blobs.get, {"blob": blob, "offset": 0}, b"", principal)


async def test_what_makes_no_sense(server: Server) -> None:
    with pytest.raises(ValueError, match="in a payload of 1"):
        await server.ask(files.put, {"files": [[digest(b"a"), 2]]}, b"a")
    with pytest.raises(ValueError, match="is no sha256"):
        await server.ask(files.put, {"files": [["../x", 1]]}, b"a")
    with pytest.raises(RemoteFailure, match="is not here"):
        await server.ask(files.get, {"files": [digest(b"never")]})
    with pytest.raises(RemoteFailure, match="is another"):
        await server.ask(blobs.put, {"blob": f"sha-{digest(b'a')}", "offset": 0, "total": 1}, b"b")
    large = [os.urandom(600_000) for _ in range(2)]
    server.parts.files.contents.add([(f"sha-{digest(data)}", data) for data in large])
    with pytest.raises(ValueError, match="more than one frame holds"):
        await server.ask(files.get, {"files": [digest(data) for data in large]})
    with pytest.raises(ValueError, match="more than one frame holds"):
        await server.ask(files.get, {"files": [digest(b"a")] * 5000})
