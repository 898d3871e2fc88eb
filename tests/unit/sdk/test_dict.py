"""How a large value of a dict is read that others replace meanwhile."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from modicum import dict as dicts
from modicum._exchange import Request
from modicum.exception import NotFoundError

DICT = dicts.Dict.from_id("di-" + "0" * 22)


@pytest.fixture
def gone(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Blobs that are not there any longer; the others hold their names."""
    missing: set[str] = set()

    def fetch(blob: str) -> Generator[Any, Any, bytes]:
        if blob in missing:
            raise NotFoundError(blob)
        return blob.encode()
        yield

    monkeypatch.setattr(dicts, "_fetch", fetch)
    return missing


def read(blob: str | None, *answers: tuple[dict[str, Any], bytes]) -> bytes | None:
    """Return what is read, and check that the server was asked as often as it answers."""
    operation, left = DICT._read(b"key", blob), list(answers)
    try:
        exchange = next(operation)
        while True:
            assert isinstance(exchange, Request)
            assert exchange.messages == (({"t": "dict.get", "dict": DICT.object_id}, b"key"),)
            exchange = operation.send([left.pop(0)])
    except StopIteration as end:
        assert not left
        value: bytes | None = end.value
        return value


def blob(name: str) -> tuple[dict[str, Any], bytes]:
    return {"found": True, "blob": name}, b""


def test_what_is_listed_is_fetched_at_once(gone: set[str]) -> None:
    assert read("bl-1") == b"bl-1"


def test_what_has_taken_its_place_is_read(gone: set[str]) -> None:
    gone |= {"bl-1", "bl-2"}
    assert read("bl-1", blob("bl-2"), blob("bl-3")) == b"bl-3"
    assert read("bl-1", ({"found": True, "blob": None}, b"small")) == b"small"
    assert read("bl-1", ({"found": False}, b"")) is None


def test_no_entry_and_an_empty_value_are_told_apart(gone: set[str]) -> None:
    assert read(None, ({"found": False}, b"")) is None
    assert read(None, ({"found": True, "blob": None}, b"")) == b""


def test_what_is_never_there_is_given_up(gone: set[str]) -> None:
    gone.add("bl-1")
    with pytest.raises(NotFoundError, match="faster than it can be read"):
        read(None, *[blob("bl-1")] * dicts.REPLACED_MAX)
