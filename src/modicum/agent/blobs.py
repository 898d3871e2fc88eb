"""How large values travel between the agent and the server: the callers' own way, over the agent's link."""

from __future__ import annotations

from modicum import _blobs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar

    from modicum._exchange import Operation
    from modicum.agent.link import Link

    _T = TypeVar("_T")


class BlobLost(Exception):
    """The server does not have the bytes, or would not take them."""


def fetch(link: Link, blob: str) -> bytearray:
    """Return a blob's bytes."""
    return _drive(link, _blobs.get(blob), "the input's arguments could not be read")


def store(link: Link, data: bytes) -> str:
    """Give bytes to the server and return the blob's name."""
    blob = _blobs.new_blob()
    _drive(link, _blobs.put(blob, data), "the input's output could not be stored")
    return blob


def _drive(link: Link, operation: Operation[_T], failing: str) -> _T:
    answers: Any = None
    while True:
        try:
            request = operation.send(answers)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]
        answers = link.request(request.messages)  # type: ignore[attr-defined]
        for header, _ in answers:
            if header["t"] == "error":
                raise BlobLost(f"{failing}: {header.get('message')}")
