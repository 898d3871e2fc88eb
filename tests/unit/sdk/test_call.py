"""What a call refuses before anybody is asked."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from modicum import FunctionCall
from modicum.exception import InvalidError


def test_what_is_asked_of_calls_must_make_sense() -> None:
    call: Any = FunctionCall("fc-1")
    gather: Any = FunctionCall.gather
    with pytest.raises(TypeError, match=r"one by one, FunctionCall\.gather\(\*calls\), not a list"):
        gather([call])
    with pytest.raises(InvalidError, match="timeout must be a number of seconds, or None, not '1'"):
        call.get("1")
    with pytest.raises(InvalidError, match="index must be a whole number from 0 up, not -1"):
        call.get(index=-1)


def test_its_methods_show_their_parameters() -> None:
    assert list(inspect.signature(FunctionCall("fc-1").get).parameters) == ["timeout", "index"]
