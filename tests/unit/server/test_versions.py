"""What a publication changes of an app, and what it leaves alone."""

from __future__ import annotations

from typing import Any

from modicum.server.records import Function
from modicum.server.versions import compare, digest, function_id, pinned


def made(name: str, image: str = "im-1", code: bytes = b"", **known: Any) -> Function:
    definition = {"image": image, "files": [], "options": {"min_containers": 1}, "spec": {"module": "m"}}
    return Function(known.pop("id", ""), "ap-draft", name, definition, code, **known)


def test_the_first_version_adds_all() -> None:
    change = compare("ap-1", {}, {"f": made("f"), "g": made("g")}, 1)
    assert (change.added, change.replaced, change.removed) == (("f", "g"), (), ())
    assert not change.is_empty
    f = change.functions["f"]
    assert (f.id, f.app, f.generation) == (function_id("ap-1", "f"), "ap-1", 1)
    assert f.id != change.functions["g"].id != function_id("ap-2", "g")


def test_what_is_the_same_stays_what_it_is() -> None:
    present = {"f": made("f", id="fu-f", generation=2)}
    change = compare("ap-1", present, {"f": made("f", id="fu-of-the-draft")}, 3)
    assert change.is_empty
    assert change.functions["f"] is present["f"]


def test_what_differs_is_replaced_under_its_id_and_what_is_absent_goes() -> None:
    present = {name: made(name, id=f"fu-{name}", generation=1) for name in ("same", "image", "code", "gone")}
    wanted = {"same": made("same"), "image": made("image", "im-2"), "code": made("code", code=b"x"), "new": made("new")}
    change = compare("ap-1", present, wanted, 2)
    assert (change.added, change.replaced, change.removed) == (("new",), ("image", "code"), ("gone",))
    generations = {name: each.generation for name, each in change.functions.items()}
    assert generations == {"same": 1, "image": 2, "code": 2, "new": 2}
    assert change.functions["image"].id == "fu-image"
    assert change.functions["code"].serialized == b"x"


def test_all_are_replaced_when_they_are_to_be_new() -> None:
    change = compare("ap-1", {"f": made("f", id="fu-f", generation=1)}, {"f": made("f")}, 2, renew=True)
    assert change.replaced == ("f",)
    assert change.functions["f"].generation == 2


def test_a_function_that_comes_back_is_the_one_that_went() -> None:
    first = compare("ap-1", {}, {"f": made("f")}, 1).functions
    assert compare("ap-1", first, {}, 2).removed == ("f",)
    assert compare("ap-1", {}, {"f": made("f")}, 3).functions["f"].id == first["f"].id


def test_a_definition_is_known_by_all_that_it_says() -> None:
    assert digest(made("f")) == digest(made("g", id="fu-other", generation=7)), "not by who has it"
    assert len({digest(each) for each in (made("f"), made("f", "im-2"), made("f", code=b"x"))}) == 3


def test_one_that_stays_at_a_version_has_containers_of_its_own_when_it_is_called() -> None:
    first, second = (pinned("fu-f", "ap-1", "f", number, (made("f").definition, b"x")) for number in (1, 2))
    assert len({"fu-f", first.id, second.id}) == 3
    assert (first.pinned, first.name, first.app, first.serialized) == (1, "f", "ap-1", b"x")
    assert first.definition["options"]["min_containers"] == 0
