"""Hostile and broken clients against a whole server: it stays up, answers clearly and tells nothing."""

from __future__ import annotations

import os
import random
import socket
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modicum import _server
from modicum._server import _try_connect
from modicum.app import App
from modicum.wire.frames import HEADER_BYTES_MAX, PAYLOAD_BYTES_MAX, Decoder, Frame, encode
from modicum.wire.messages import MAY_SEND, USER
from tests.processes import programs

pytestmark = pytest.mark.usefixtures("app")

HALF_A_PAIR = "\ud800"
VALUES: list[Any] = [None, True, -1, 1 << 70, 1.5, "", "x" * 1000, HALF_A_PAIR]
VALUES += ["../../../etc/passwd", [], [[]], {}, {"a": []}]
FIELDS = {
    "blob.put": ["blob", "offset", "total"],
    "blob.get": ["blob", "offset"],
    "blob.free": ["blob"],
    "files.missing": ["sets"],
    "files.lacking": ["set"],
    "files.put": ["files"],
    "logs.read": ["log", "cursor", "wait_s"],
    "app.create": ["name", "key"],
    "app.attach": ["app"],
    "app.stop": ["app"],
    "image.build": ["app", "steps"],
    "function.create": ["app", "name", "image", "files", "options", "spec"],
    "call.inputs": ["call", "function", "kind", "first", "sizes", "blobs", "pieces", "method", "parent"],
    "call.get": ["call", "index", "count", "wait_s"],
    "call.ready": ["calls", "wait_s"],
    "call.info": ["call"],
    "call.cancel": ["call", "terminate_containers"],
    "call.graph": ["call"],
    "call.list": ["function", "count", "since", "until"],
    "call.forget": ["call"],
    "call.ack": ["call", "pieces"],
}
CODES = {"invalid", "not_found", "permission_denied", "conflict", "unimplemented", "image_build"}


class Client:
    """A raw connection."""

    def __init__(self) -> None:
        link = _try_connect(_server.directory())
        assert link is not None, "the server is gone"
        self.link = link
        self.link.settimeout(10)
        self.decoder = Decoder()
        self.frames: list[Frame] = []

    def ask(self, header: dict[str, Any], payload: bytes = b"") -> Frame:
        """Send a request; return its answer, or what the end of the connection looks like."""
        self.link.sendall(encode({"r": 7, **header}, payload))
        return self.answer()

    def answer(self) -> Frame:
        while True:
            for frame in self.frames:
                if frame[0]["t"] in ("reply", "error"):
                    self.frames.remove(frame)
                    return frame
            data = self.link.recv(1 << 18)
            if not data:
                return {"t": "closed"}, b""
            self.frames += self.decoder.feed(data)

    def closed(self) -> bool:
        """Wait for the server to end the connection."""
        try:
            while self.link.recv(1 << 16):
                pass
        except ConnectionResetError:
            pass
        return True


@pytest.fixture
def client() -> Iterator[Client]:
    made = Client()
    yield made
    made.link.close()


@pytest.fixture(autouse=True)
def _serves_on(server: subprocess.Popen[bytes]) -> Iterator[None]:
    """After each of these tests the same server still answers others."""
    yield
    assert server.poll() is None
    assert programs.double.remote(4) == 8


def test_random_bytes_end_their_own_connection_alone(client: Client) -> None:
    chance = random.Random(1)
    assert client.ask({"t": "ping"})[0]["t"] == "reply"
    for _ in range(50):
        other = Client()
        other.link.sendall(chance.randbytes(chance.randrange(8, 200)))
        other.link.shutdown(socket.SHUT_WR)
        assert other.closed()
        other.link.close()
    assert client.ask({"t": "ping"})[0]["t"] == "reply"


@pytest.mark.parametrize(
    "lengths",
    [(HEADER_BYTES_MAX + 1, 0), (0, PAYLOAD_BYTES_MAX + 1), (0xFFFFFFFF, 0xFFFFFFFF), (0, 0)],
    ids=["header", "payload", "both", "nothing"],
)
def test_announced_sizes_over_the_limit_end_it_at_once(client: Client, lengths: tuple[int, int]) -> None:
    client.link.sendall(struct.pack(">II", *lengths))
    assert client.closed()


def test_the_largest_header_and_the_deepest(client: Client) -> None:
    header, _ = client.ask({"t": "x" * (HEADER_BYTES_MAX - 100)})
    assert header["code"] == "unimplemented"
    text = b'{"t":"ping","r":7,"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    client.link.sendall(struct.pack(">II", len(text), 0) + text)
    assert client.closed()


def test_what_is_no_json_ends_it(client: Client) -> None:
    for number in (b"NaN", b"Infinity", b"-Infinity"):
        other = Client()
        text = b'{"t":"ping","r":1,"x":' + number + b"}"
        other.link.sendall(struct.pack(">II", len(text), 0) + text)
        assert other.closed()
        other.link.close()


def test_a_frame_that_never_ends_holds_nobody_up(client: Client) -> None:
    client.link.sendall(encode({"t": "ping", "r": 1}, bytes(1000))[:-1])
    other = Client()
    assert other.ask({"t": "ping"})[0]["t"] == "reply"
    other.link.close()


def base_of(kind: str, app: App) -> dict[str, Any]:
    """Return a message that makes sense."""
    return {
        "t": kind,
        "blob": "bl-" + "0" * 24, "offset": 0, "total": 5, "blobs": {}, "log": app.app_id, "cursor": 0, "wait_s": 0,
        "name": "n", "key": "k", "app": app.app_id, "steps": [], "image": "im-none", "files": [], "spec": {},
        "sets": [], "set": "fs-" + "0" * 64,
        "options": {}, "call": "fc-wire", "function": programs.double.object_id, "kind": "map", "first": 0, "sizes": [],
        "index": 0, "pieces": 0, "count": 1, "calls": [],
    }  # fmt: skip


@pytest.mark.parametrize("kind", sorted(FIELDS))
def test_wrong_types_in_every_field(client: Client, app: App, kind: str) -> None:
    programs.speak.remote("so that reading the log waits for nothing")
    for field in FIELDS[kind]:
        for value in VALUES:
            if (kind, field) in {("app.create", "name"), ("app.create", "key")} and value != "":
                continue  # they are made text, and each would be another app
            if kind == "app.stop":
                value = ["none", value]  # never the app of these tests
            header, _ = client.ask({**base_of(kind, app), field: value})
            shown = f"{kind} with {field}={value!r:.50}: {header!r:.300}"
            if header["t"] == "closed":
                raise AssertionError(shown)
            if header["t"] == "error":
                assert header["code"] in CODES, shown
                assert "Traceback" not in header["message"] and ".py" not in header["message"], shown
                assert len(header["message"]) < 5000


def test_what_only_others_may_say(client: Client) -> None:
    for kind, principals in MAY_SEND.items():
        if USER not in principals:
            header, payload = client.ask({"t": kind, "node": "evil", "containers": [], "holding": []})
            assert (header["code"], payload) == ("permission_denied", b""), kind
    header, _ = client.ask({"t": "hello", "protocol": 1, "build": "x", "principal": "node"})
    assert header["principal"] == "user"


@pytest.mark.parametrize(
    "name", ["../server.json", "..", "store.db", "bl-../../server.json", "bl-" + "0" * 23 + "/", "/etc/passwd"]
)
def test_blobs_are_no_way_to_files(client: Client, name: str) -> None:
    for kind in ("blob.get", "blob.put"):
        header, payload = client.ask({"t": kind, "blob": name, "offset": 0, "total": 1}, b"x")
        assert (header["code"], payload) == ("invalid", b"")
    client.ask({"t": "blob.free", "blob": name})
    home = Path(_server.directory()).parent
    assert (home / "server.json").exists()
    assert not [entry for entry in os.listdir(home / "blobs") if not entry.startswith("bl-")]


def test_values_that_are_not_there(client: Client) -> None:
    header, _ = client.ask({"t": "blob.get", "blob": "bl-" + "f" * 24, "offset": 0})
    assert header["code"] == "not_found"
    header, _ = client.ask({"t": "call.get", "call": "fc-ffff", "index": 0, "wait_s": 0})
    assert header["code"] == "not_found"
    header, _ = client.ask({"t": "logs.read", "log": "../blobs", "cursor": 0, "wait_s": 0})
    assert header["code"] == "not_found"


def test_arguments_that_are_no_pickle_fail_their_own_input(client: Client) -> None:
    call = "fc-" + os.urandom(8).hex()
    inputs = {
        "t": "call.inputs",
        "call": call,
        "function": programs.double.object_id,
        "kind": "sync",
        "first": 0,
        "sizes": [4],
    }
    client.link.sendall(encode(inputs, b"junk"))
    while not (found := [f for f in client.frames if f[0]["t"] == "call.outputs"]):
        client.frames += client.decoder.feed(client.link.recv(1 << 16))
    assert found[0][0]["outputs"][0][1] == "exception"


def test_many_at_once_that_say_nothing() -> None:
    clients = [Client() for _ in range(200)]
    assert clients[-1].ask({"t": "ping"})[0]["t"] == "reply"
    for each in clients:
        each.link.close()


def test_answers_nobody_waits_for(client: Client) -> None:
    numbers: list[Any] = [1, -1, "x", None, [], {}, 1 << 80]
    for number in numbers:
        client.link.sendall(encode({"t": "reply", "r": number}, b"x"))
        client.link.sendall(encode({"t": "error", "r": number, "code": 5, "message": []}))
    assert client.ask({"t": "ping"})[0]["t"] == "reply"
    assert client.ask({"t": "ping", "r": [{"any": "thing"}]})[0]["r"] == [{"any": "thing"}]


def test_a_server_that_is_not_read_from(client: Client) -> None:
    """Whoever asks and does not read gets no more than he can hold, and holds nobody up."""
    for _ in range(2000):
        client.link.sendall(encode({"t": "server.status", "r": 1}))
    other = Client()
    assert other.ask({"t": "ping"})[0]["t"] == "reply"
    other.link.close()
