"""Which GPUs does a function's wish stand for, and which types does nobody know?"""

from __future__ import annotations

from typing import Any

import pytest

from modicum.server import gpus
from modicum.server.api.options import check_settings
from modicum.server.core.events import Device, Wish
from modicum.server.settings import read
from modicum.wire.channel import RemoteFailure


def asking(*names: str, count: int = 1) -> dict[str, Any]:
    return {"gpu": [{"type": name, "count": count} for name in names]}


def node(*types: str) -> dict[str, Any]:
    return {"gpus": [{"id": f"g{at}", "type": kind, "memory_mib": 1, "index": at} for at, kind in enumerate(types)]}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["T4"], ["T4"]),
        (["H100"], ["H100", "H200"]),
        (["H100!"], ["H100"]),
        (["A100"], ["A100-40GB", "A100-80GB"]),
        (["A100!"], ["A100-40GB"]),
        (["A10G"], ["A10"]),
        (["B200"], ["B200"]),
        (["B200+"], ["B200", "B300"]),
        (["RTX-4090"], ["RTX-4090"]),
        (["ANY"], [None]),
        (["H100", "H200", "A100-80GB"], ["H100", "H200", "A100-80GB"]),
    ],
)
def test_the_exact_type_comes_first_and_then_what_is_better(names: list[str], expected: list[str | None]) -> None:
    assert gpus.wishes(asking(*names, count=2)) == tuple(Wish(kind, 2) for kind in expected)


def test_who_asks_for_nothing_wishes_nothing() -> None:
    assert gpus.wishes({}) == gpus.wishes({"gpu": None}) == ()


def test_a_type_that_nobody_knows_is_refused() -> None:
    with pytest.raises(
        RemoteFailure, match=r"'train' asks for the GPU type 'H10', which is none of T4, .*your machines have RTX-4090"
    ):
        gpus.check_known("train", asking("T4", "H10")["gpu"], [node("RTX-4090")])
    with pytest.raises(RemoteFailure, match="your machines have no GPU"):
        gpus.check_known("train", asking("RTX-4090")["gpu"], [node()])


@pytest.mark.parametrize("name", ["T4", "H100", "H100!", "A100", "A10G", "ANY", "B200+", "RTX-4090"])
def test_modals_types_and_those_of_machines_are_known(name: str) -> None:
    gpus.check_known("train", asking(name)["gpu"], [node(), node("RTX-4090")])


def test_without_a_machine_nobody_can_say() -> None:
    gpus.check_known("train", asking("RTX-4090")["gpu"], [])


def test_what_a_node_tells() -> None:
    facts = node("T4", "T4", "L4")
    assert gpus.devices_of(facts)[2] == Device("g2", "L4", 1)
    assert gpus.devices_of({}) == ()
    assert gpus.number_by_type(facts, ("g0", "g2", "g1", "other")) == {"T4": 2, "L4": 1}
    for wrong in ({"type": "T 4"}, {"id": 7}, {"memory_mib": "much"}):
        with pytest.raises(ValueError, match="is no GPU"):
            gpus.devices_of({"gpus": [{**facts["gpus"][0], **wrong}]})


@pytest.mark.parametrize(
    "value",
    [
        [], "T4", [{"type": "T4"}], [{"type": "t4", "count": 1}], [{"type": "T4", "count": 0}],
        [{"type": "T4", "count": 5000}], [{"type": "T4", "count": True}], [{"type": "T4", "count": 1}] * 33,
    ],
)  # fmt: skip
def test_the_server_checks_what_clients_send(value: Any) -> None:
    with pytest.raises((ValueError, AttributeError)):
        check_settings({"gpu": value})


def test_variants_may_have_their_own() -> None:
    assert check_settings(asking("T4")) == asking("T4")


def test_what_is_declared_must_make_sense() -> None:
    assert read({"MODICUM_GPUS": "H100:8, a100"}).gpus == "H100:8, a100"
    for wrong in ("H100:x", "H100:0", ":2", "any", "H100!:2", "H 100"):
        with pytest.raises(ValueError, match=r"^MODICUM_GPUS: "):
            read({"MODICUM_GPUS": wrong})
