"""Names that Modicum lacks: hasattr is false, and the error says what there is to say."""

from __future__ import annotations

import copy
import importlib
import pickle
from typing import Any

import pytest

import modicum
from modicum import _missing
from modicum.app import App
from modicum.call import FunctionCall
from modicum.cls import Cls
from modicum.dict import Dict
from modicum.exception import DeprecationError, InvalidError
from modicum.function import Function
from modicum.image import Image
from modicum.queue import Queue
from modicum.secret import Secret

OWNERS: dict[str, Any] = {
    "modal": modicum,
    "modal.exception": modicum.exception,
    "modal.types": modicum.types,
    "App": App,
    "Cls": Cls,
    "Dict": Dict,
    "Function": Function,
    "FunctionCall": FunctionCall,
    "Image": Image,
    "Secret": Secret,
    "Queue": Queue,
}

LISTED = [(owner, name) for owner, names in _missing.NOT_YET.items() for name in sorted(names)]


@pytest.mark.parametrize(("owner", "name"), LISTED)
def test_what_is_not_yet_here_is_really_not(owner: str, name: str) -> None:
    assert not hasattr(OWNERS[owner], name), "it has come: take it out of the table"
    where = owner if owner.startswith("modal") else f"modal.{owner}"
    with pytest.raises(AttributeError, match=f"^{where}.{name} is not in Modicum yet$"):
        getattr(OWNERS[owner], name)


def test_from_imports_say_it_too() -> None:
    with pytest.raises(ImportError, match=r"^modal\.Volume is not in Modicum yet$"):
        from modicum import Volume  # type: ignore[attr-defined]  # noqa: F401
    with pytest.raises(ImportError, match="cannot import name 'Functoin'"):
        from modicum import Functoin  # type: ignore[attr-defined]  # noqa: F401


def test_modules_say_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    modicum.install_as_modal()
    with pytest.raises(
        ModuleNotFoundError, match=r"No module named 'modal\.experimental': modal\.experimental is not in Modicum yet"
    ):
        importlib.import_module("modal.experimental")
    with pytest.raises(ModuleNotFoundError, match=r"^No module named 'modal\.nothing'$"):
        importlib.import_module("modal.nothing")


def test_a_typo_names_the_nearest() -> None:
    with pytest.raises(AttributeError, match=r"^'modal' has no attribute 'Functon'; did you mean 'Function'\?$"):
        _ = modicum.Functon  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match=r"'modal.App' has no attribute 'fonction'; did you mean 'function'"):
        _ = App("a").fonction  # type: ignore[attr-defined]
    with pytest.raises(
        AttributeError, match=r"'modal.Image' has no attribute 'pip_instal'; did you mean 'pip_install'"
    ):
        _ = Image.debian_slim("3.12").pip_instal  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match=r"^'modal.FunctionCall' has no attribute 'xyz'$"):
        _ = FunctionCall("fc-1").xyz  # type: ignore[attr-defined]


def test_instances_say_what_their_classes_say() -> None:
    for name in ("server", "sandboxes"):
        with pytest.raises(AttributeError, match=rf"modal\.App\.{name} is not in Modicum yet"):
            getattr(App("a"), name)


@pytest.mark.parametrize(
    ("owner", "name", "hint"),
    [
        (modicum, "Mount", "add_local_dir"),
        (App("a"), "webhook", "@modal.fastapi_endpoint"),
        (App("a"), "is_inside", "modal.is_local()"),
        (FunctionCall("fc-1"), "get_gen", "remote_gen"),
        (Function, "call", ".remote(…)"),
        (Image.debian_slim("3.12"), "extend", "Image.dockerfile_commands(…)"),
        (Image.debian_slim("3.12"), "run_inside", "image.imports()"),
    ],
)
def test_names_of_earlier_years(owner: Any, name: str, hint: str) -> None:
    with pytest.raises(AttributeError, match=" is gone: ") as caught:
        getattr(owner, name)
    assert hint in str(caught.value)


def test_stub_is_app() -> None:
    with pytest.warns(DeprecationError, match="`modal.Stub` is now `modal.App`; accepted") as caught:
        stub = modicum.Stub("x")  # type: ignore[attr-defined]
    assert isinstance(stub, App)
    assert caught[0].filename == __file__
    with pytest.warns(DeprecationError) as caught:
        from modicum import Stub  # type: ignore[attr-defined]  # noqa: F401
    assert {each.filename for each in caught} == {__file__}


def test_objects_of_the_app_are_not_kept_on_it() -> None:
    with pytest.raises(InvalidError, match="use the global variable"):
        App("a")["f"]


def test_the_older_module_of_functions() -> None:
    functions = importlib.import_module("modicum.functions")
    assert (functions.Function, functions.FunctionCall) == (Function, FunctionCall)
    with pytest.raises(AttributeError, match=r"'modal\.functions' has no attribute 'gathers'; did you mean 'gather'\?"):
        _ = functions.gathers


def test_probing_for_protocols_is_not_disturbed() -> None:
    call: FunctionCall[int] = FunctionCall("fc-1")
    assert copy.copy(call).object_id == pickle.loads(pickle.dumps(call)).object_id == "fc-1"
    assert not hasattr(call, "__array__")
    assert not hasattr(modicum, "__path_hooks__")


def test_all_is_what_is_there() -> None:
    assert sorted(modicum.__all__) == modicum.__all__
    assert set(modicum.__all__) == {*modicum._HOMES, "__version__"}
    for name in modicum.__all__:
        assert getattr(modicum, name) is not None
        assert name in dir(modicum)
    assert set(modicum.__all__).isdisjoint(_missing.NOT_YET["modal"])
