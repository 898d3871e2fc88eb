"""Who may send what, row by row of the table; and what happens to messages that make no sense."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from modicum.server.api import router as router_
from modicum.server.api.router import HANDLERS, Router
from modicum.server.parts import Parts
from modicum.wire import messages
from modicum.wire.channel import Answer, Channel, RemoteFailure
from modicum.wire.frames import Header
from modicum.wire.messages import CONTAINER, MAY_SEND, NODE, RESTRICTED, USER
from tests.unit.server.parts import Wire, ask

PRINCIPALS = (USER, CONTAINER, RESTRICTED, NODE)


@pytest.fixture
def bare() -> Router:
    """A router whose handlers are the test's own."""
    made = Router()
    made.parts = object()  # type: ignore[assignment]
    return made


@pytest.mark.parametrize("principal", PRINCIPALS)
@pytest.mark.parametrize("kind", sorted(MAY_SEND))
async def test_every_message_of_every_principal(
    bare: Router, monkeypatch: pytest.MonkeyPatch, kind: str, principal: str
) -> None:
    def reached(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
        return {"reached": header["t"], "payload": payload}

    monkeypatch.setitem(HANDLERS, kind, reached)
    channel = Wire(principal)
    if principal in MAY_SEND[kind]:
        assert await ask(bare, channel, {"t": kind}, b"p") == {"reached": kind, "payload": b"p"}
    else:
        with pytest.raises(RemoteFailure, match=f"a {principal}( container)? may not send '{kind}'") as caught:
            await ask(bare, channel, {"t": kind})
        assert caught.value.code == "permission_denied"


def test_what_users_and_containers_may_not() -> None:
    """The table itself, said once more in words: no row may be widened by accident."""
    allowed = {principal: {kind for kind, who in MAY_SEND.items() if principal in who} for principal in PRINCIPALS}
    assert allowed[RESTRICTED] == {
        "hello",
        "ping",
        "blob.put",
        "blob.get",
        "exec.ack",
        "exec.ended",
        "exec.output",
        *(k for k in MAY_SEND if k.startswith("agent.")),
    }
    assert allowed[CONTAINER] - allowed[RESTRICTED] == {
        "app.lookup",
        "function.lookup",
        "function.bind",
        "function.configure",
        "function.history",
        "function.info",
        "function.stats",
        "blob.free",
        "call.inputs",
        "call.get",
        "call.ready",
        "call.info",
        "call.cancel",
        "call.graph",
        "call.forget",
        "call.ack",
        "secret.create",
        *(k for k in MAY_SEND if k.startswith(("dict.", "object.", "queue."))),
    }
    assert not {kind for kind in allowed[USER] if kind.startswith(("agent.", "node.", "build."))}
    assert not {kind for kind in allowed[CONTAINER] if kind.startswith("files.")}
    assert allowed[NODE] == {
        "hello",
        "ping",
        "blob.get",
        "files.get",
        "exec.ack",
        "exec.ended",
        "exec.output",
        *(k for k in MAY_SEND if k.startswith(("node.", "build."))),
    }


@pytest.mark.parametrize("principal", [*PRINCIPALS, "", "somebody"])
@pytest.mark.parametrize("kind", ["", "nothing", "HELLO", "run", "call.outputs", "__class__"])
async def test_unknown_messages(bare: Router, kind: str, principal: str) -> None:
    with pytest.raises(RemoteFailure, match="does not know the message") as caught:
        await ask(bare, Wire(principal), {"t": kind})
    assert caught.value.code == "unimplemented"


def test_every_message_has_one_handler_and_a_line_of_documentation() -> None:
    assert set(HANDLERS) == set(MAY_SEND)
    text = messages.__doc__ or ""
    described = set(re.findall(r"^    ([a-z]+(?:\.[a-z_]+)?)\b", text, re.MULTILINE))
    assert set(MAY_SEND) <= described


@pytest.mark.parametrize("kind", sorted(MAY_SEND))
async def test_messages_without_any_field(router: Router, kind: str) -> None:
    """A missing field is the sender's fault; nothing of ours is told but its name."""
    principal = max(MAY_SEND[kind])
    if kind == "image.list":
        return  # it has no fields, and waits for a node
    if kind in ("hello", "ping", "server.status", "app.list", "container.list", "billing.rates"):
        await ask(router, Wire(principal), {"t": kind})
        return
    with pytest.raises(RemoteFailure) as caught:
        await ask(router, Wire(principal), {"t": kind})
    assert caught.value.code in ("invalid", "conflict", "not_found")


async def test_a_fault_of_a_later_part_of_a_handler(bare: Router, monkeypatch: pytest.MonkeyPatch) -> None:
    async def later(parts: Parts, channel: Channel, header: Header, payload: bytes) -> Answer:
        await asyncio.sleep(0)
        raise KeyError("missing")

    monkeypatch.setitem(HANDLERS, "ping", later)
    with pytest.raises(RemoteFailure, match="malformed: KeyError") as caught:
        await ask(bare, Wire(USER), {"t": "ping"})
    assert caught.value.code == "invalid"


async def test_a_fault_of_ours_is_not_called_malformed(bare: Router, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: Any) -> Answer:
        raise RuntimeError("ours")

    monkeypatch.setitem(router_.HANDLERS, "ping", broken)
    with pytest.raises(RuntimeError, match="ours"):
        await ask(bare, Wire(USER), {"t": "ping"})
