"""What fields of messages may hold."""

from __future__ import annotations

from math import inf, nan
from typing import Any

import pytest

from modicum.server.api.fields import cut, patience, seconds, value_blob, whole


@pytest.mark.parametrize("value", [0, 1, (1 << 53) - 1])
def test_whole_numbers(value: int) -> None:
    assert whole(value) == value


@pytest.mark.parametrize("value", [-1, 1.0, True, "1", None, [], nan])
def test_what_is_no_whole_number(value: Any) -> None:
    with pytest.raises(ValueError, match="no whole number"):
        whole(value)


def test_times() -> None:
    assert (seconds(1), seconds(0.5)) == (1, 0.5)
    assert (patience(0, 60.0), patience(1 << 2000, 60.0), patience(inf, 60.0), patience(5, 60.0)) == (0, 60.0, 60.0, 5)
    for value in (0, -1, nan, inf, 1e10, 10**400, "1", None, True):
        with pytest.raises(ValueError, match="no time in seconds"):
            seconds(value)
    for value in (-1, -inf, nan, "1", None, True):
        with pytest.raises(ValueError, match="no time to wait"):
            patience(value, 60.0)


def test_blobs_of_values() -> None:
    assert value_blob(None) is None
    assert value_blob("bl-" + "0" * 24) == "bl-" + "0" * 24
    for name in ("", "sha-" + "0" * 64, "bl-../x", "bl-" + "0" * 24 + "\n", 5, ["bl-" + "0" * 24]):
        with pytest.raises(ValueError, match="no blob of a value"):
            value_blob(name)


def test_cutting() -> None:
    assert cut(b"", []) == []
    assert cut(b"abc", [1, 0, 2]) == [b"a", b"", b"bc"]
    for sizes in ([], [2], [4], [1, -1, 3], ["3"], [3.0], [None]):
        with pytest.raises(ValueError, match=r"whole number|parts of"):
            cut(b"abc", sizes)
    with pytest.raises(TypeError):
        cut(b"", None)  # type: ignore[arg-type]
