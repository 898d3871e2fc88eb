"""Functions that are only named: nobody is asked before their first use, and what is found then is believed."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import cloudpickle
import pytest

from modicum import App, Cls, Function, _server
from modicum._exchange import ConnectionLost, Reconnect, Request
from modicum.exception import DeprecationError, ExecutionError, InvalidError, NotFoundError, from_code
from modicum.options import is_app_id

SPEC = {"generator": False, "async": False}


@pytest.fixture(autouse=True)
def nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def connects() -> Any:
        raise AssertionError("a server was asked for")

    monkeypatch.setattr(_server, "connect", connects)


def found(operation: Generator[object, Any, Any], *answers: Any) -> tuple[Any, list[Any]]:
    """Run an operation with these answers of a server; return its result and what was asked."""
    asked: list[Any] = []
    remaining = list(answers)
    try:
        exchange = next(operation)
        while True:
            if isinstance(exchange, Reconnect):
                exchange = operation.send(None)
                continue
            assert isinstance(exchange, Request)
            asked.append(exchange.messages[0][0])
            told = remaining.pop(0)
            exchange = operation.throw(told) if isinstance(told, Exception) else operation.send([(told, b"")])
    except StopIteration as stop:
        return stop.value, asked


def answer(**fields: Any) -> dict[str, Any]:
    return {"function": "fu-1", "name": "f", "app": "ap-1", "spec": SPEC, "options": {}, **fields}


def test_it_is_looked_up_once_over_as_many_connections_as_it_takes() -> None:
    function = Function.from_name("shop", "f", version=3)
    object_id, asked = found(function.ready("sync"), ConnectionLost(), answer())
    assert object_id == function.object_id == "fu-1"
    assert asked == [{"t": "function.lookup", "app": "shop", "name": "f", "version": 3}] * 2
    assert found(function.ready("spawn")) == ("fu-1", [])
    assert (function.is_generator, function.is_async) == (False, False)


def test_what_is_not_there_is_asked_for_again_the_next_time() -> None:
    function = Function.from_name("shop", "f")
    with pytest.raises(NotFoundError, match="no such"):
        found(function.ready(), from_code("not_found", "there is no such function"))
    assert found(function.ready(), answer())[0] == "fu-1"


def test_before_it_has_no_id() -> None:
    function = Function.from_name("shop", "f")
    with pytest.raises(ExecutionError, match=r"'f' has not been looked up yet; `.hydrate\(\)` does that"):
        _ = function.object_id
    assert Function.from_id("fu-7").object_id == "fu-7"
    with pytest.raises(ExecutionError, match=r"the code of 'f' is not here, .* call `.remote\(…\)`"):
        function.local()


@pytest.mark.parametrize(("generator", "kind"), [(True, "sync"), (True, "spawn"), (True, "map"), (False, "gen")])
def test_how_it_is_called_is_checked_when_it_is_known(generator: bool, kind: str) -> None:
    function = Function.from_name("shop", "f")
    assert (type(function.remote).__name__, type(function.remote_gen).__name__) == ("Remote", "RemoteGen")
    with pytest.raises(InvalidError, match=r"'f' is (a|not a) generator function"):
        found(function.ready(kind), answer(spec={**SPEC, "generator": generator}))
    with pytest.raises(InvalidError):
        _ = function.remote if generator else function.remote_gen


def test_a_method_of_a_class_by_its_older_name() -> None:
    with pytest.warns(DeprecationError, match=r"is now `Cls.from_name\(…, 'Model'\)\(\)\.run`") as caught:
        function = Function.from_name("shop", "Model.run")
    assert caught[0].filename == __file__
    methods = {"run": {"generator": True, "async": False}}
    assert found(function.ready("gen"), answer(method="run", spec={**SPEC, "methods": methods}))[0] == "fu-1"
    assert (function.method, function.is_generator) == ("run", True)


def test_classes_are_named_without_a_warning() -> None:
    assert repr(Cls.from_name("shop", "Model")) == "modicum.Cls('Model')"


def test_older_names_and_words() -> None:
    for words in ({"label": "f"}, {"tag": "f"}, {"name": "f", "namespace": 1}):
        with pytest.warns(DeprecationError):
            function = Function.from_name("shop", **words)
        assert function.name == "f"


def test_what_makes_no_sense() -> None:
    with pytest.raises(InvalidError, match="'' is no name of an app"):
        Function.from_name("", "f")
    with pytest.raises(InvalidError, match="5 is no name"):
        Function.from_name("shop", 5)  # type: ignore[arg-type]
    for version in (0, "1", True):
        with pytest.raises(InvalidError, match="version must be a whole number from 1 up"):
            Function.from_name("shop", "f", version=version)  # type: ignore[arg-type]
    with pytest.raises(InvalidError, match="'ap-1' is not the id of a function; those begin with 'fu-'"):
        Function.from_id("ap-1")
    function = Function.from_name("shop", "f", environment_name="prod")
    with pytest.raises(NotFoundError, match="there is no environment 'prod'"):
        found(function.ready())


def test_it_travels() -> None:
    function = Function.from_name("shop", "f")
    found(function.ready(), answer())
    there = cloudpickle.loads(cloudpickle.dumps(function))
    assert there.name == "f"
    assert found(there.ready(), answer(function="fu-2")) == (
        "fu-2",
        [{"t": "function.lookup", "app": "shop", "name": "f", "version": None}],
    )


def test_apps_by_name_and_by_id() -> None:
    identity = "ap-" + "0" * 22
    assert is_app_id(identity)
    with pytest.raises(InvalidError, match="'a b' is no name for an app"):
        App.lookup("a b")
    with pytest.raises(InvalidError, match="create_if_missing makes an app of a name"):
        App.lookup(identity, create_if_missing=True)
    with pytest.raises(NotFoundError, match="there is no environment 'prod'"):
        App.lookup("shop", environment_name="prod")
    with pytest.raises(InvalidError, match=r"app.get_tags\(\) is of an app at the server"):
        App("shop").get_tags()
