"""What may be said in `gpu=…`, today and in earlier years?"""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable
from typing import Any

import pytest

import modicum
from modicum import App, gpu
from modicum.exception import DeprecationError, InvalidError


def function() -> None:
    pass


class Model:
    @modicum.method()
    def run(self) -> None:
        pass


def sent(value: Any) -> Any:
    """What a function with this `gpu=` asks the server for."""
    return App("a").function(gpu=value)(function).options.as_dict()["gpu"]


def one(kind: str, count: int = 1) -> list[dict[str, Any]]:
    return [{"type": kind, "count": count}]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ([], None),
        ("T4", one("T4")),
        ("h100:8", one("H100", 8)),
        ("a100-80gb", one("A100-80GB")),
        ("H100!", one("H100!")),
        ("H100!:2", one("H100!", 2)),
        ("B200+", one("B200+")),
        ("any", one("ANY")),
        ("rtx-4090", one("RTX-4090")),
        (["H100", "A100-80GB:2", "any"], [*one("H100"), *one("A100-80GB", 2), *one("ANY")]),
        (("L4",), one("L4")),
    ],
)
def test_types_counts_and_fallbacks(value: Any, expected: Any) -> None:
    assert sent(value) == expected


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("H100:many", r"^Invalid GPU count: many\. Value must be an integer\.$"),
        ("H100:", r"^Invalid GPU count: \. Value must be an integer\.$"),
        ("H100:0", r"^Invalid GPU count: 0\. Value must be from 1 to 1024\.$"),
        ("H100:-2", "Value must be from 1"),
        ("H100:99999", "Value must be from 1 to 1024"),
        (3, r"^Invalid GPU config: 3\. Value must be a string or `None`$"),
        (["H100", None], r"^Invalid GPU config: None\. Value must be a string"),
        ("", r"^Invalid GPU config: ''\. Say a type"),
        ("H 100", r"^Invalid GPU config: 'H 100'\. Say a type"),
        ("X" * 65, "Invalid GPU config"),
    ],
)
def test_what_makes_no_sense_is_said(value: Any, reason: str) -> None:
    with pytest.raises(InvalidError, match=reason):
        sent(value)


def test_classes_and_variants_take_them_too() -> None:
    made: Any = App("a").cls(gpu="L4")(Model)
    assert made._service.options.as_dict()["gpu"] == one("L4")
    assert made.with_options(gpu="T4:2")._service._own["options"] == {"gpu": one("T4", 2)}


def test_a_function_tells_what_it_asks_for() -> None:
    assert App("a").function(gpu=["h100:2", "T4"])(function).info().gpus == [("H100", 2), ("T4", 1)]


@pytest.mark.parametrize(
    ("old", "text", "now"),
    [
        (lambda: gpu.A100(count=2, size="80GB"), "A100-80GB:2", one("A100-80GB", 2)),
        (lambda: gpu.A100(memory=40), "A100-40GB", one("A100-40GB")),
        (gpu.A100, "A100", one("A100")),
        (gpu.Any, "any", one("ANY")),
        (lambda: gpu.T4(2), "T4:2", one("T4", 2)),
        (lambda: gpu.A10G(count=1), "A10G", one("A10G")),
        (lambda: modicum.gpu.H100(count=8), "H100:8", one("H100", 8)),
    ],
)
def test_the_typed_gpus_of_earlier_years(old: Callable[[], str], text: str, now: Any) -> None:
    with pytest.warns(DeprecationError) as told:  # noqa: PT031 - both together warn once
        value = old()
        assert sent(value) == now
    [warning] = told
    assert f'is now `"{text}"`; accepted' in str(warning.message)
    assert warning.filename == __file__
    assert pickle.loads(pickle.dumps(value)) == text
    assert isinstance(value, str)


def test_a_flag_meant_any() -> None:
    with pytest.warns(DeprecationError, match=r'^`gpu=True` is now `gpu="any"`; accepted') as told:
        assert sent(True) == one("ANY")
    assert len(told) == 1
    with warnings.catch_warnings(action="error"):
        assert sent(False) is None


def test_an_a100_of_another_size_is_refused() -> None:
    with pytest.raises(InvalidError, match="size='20GB' is invalid: an A100 has 40GB or 80GB"):
        gpu.A100(size="20GB")
