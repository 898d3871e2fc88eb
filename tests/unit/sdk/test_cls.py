"""Classes of an app: what is taken in and refused, their objects here, and what of them is sent."""

from __future__ import annotations

import asyncio
import base64
import pickle
import warnings
from collections.abc import AsyncIterator, Iterator
from typing import Any

import cloudpickle
import pytest

import modicum
from modicum import _blocking, _parameters
from modicum.app import App
from modicum.cls import Cls, Obj
from modicum.exception import DeprecationError, ExecutionError, InvalidError, NotFoundError
from modicum.function import Function
from modicum.partial_function import PartialFunction

app = App("a")


class Base:
    @modicum.enter()
    def first(self) -> None:
        self.log = ["base"]

    @modicum.method()
    def inherited(self) -> str:
        return type(self).__name__


@app.cls(max_containers=3, timeout=7)
class Model(Base):
    name: str = modicum.parameter()
    size: int = modicum.parameter(default=2)
    weights: list[float] = modicum.parameter(init=False)
    kind = "static"

    @modicum.enter()
    def load(self) -> None:
        self.log.append("model")

    @modicum.method()
    def generate(self, prompt: str) -> str:
        return f"{prompt} {self.name * self.size} {self.log}"

    @modicum.method()
    def items(self, n: int) -> Iterator[int]:
        yield from range(n)

    @modicum.method()
    def twice(self, prompt: str) -> str:
        return self.generate.local(prompt) + self.plain()

    def plain(self) -> str:
        return "plain"

    @modicum.exit()
    def close(self) -> None: ...


@app.cls()
class Later:
    @modicum.enter()
    async def load(self) -> None:
        await asyncio.sleep(0)
        self.loaded = True

    @modicum.method()
    async def value(self) -> bool:
        return self.loaded

    @modicum.method()
    async def values(self) -> AsyncIterator[bool]:
        yield self.loaded

    @modicum.method()
    def sync(self) -> bool:
        return self.loaded


made: Any = Model  # to mypy it is the class, whose parameters it does not see


def test_what_of_a_class_is_sent() -> None:
    service = app.functions["Model.*"]
    assert service.options.as_dict()["max_containers"] == 3
    assert service.facts == {
        "class": True,
        "methods": {
            "inherited": {"generator": False, "async": False},
            "generate": {"generator": False, "async": False},
            "items": {"generator": True, "async": False},
            "twice": {"generator": False, "async": False},
        },
        "parameters": {"name": {"type": "str"}, "size": {"type": "int", "default": 2}},
        "exits": True,
    }
    assert app.functions["Later.*"].facts["methods"]["values"] == {"generator": True, "async": True}
    assert "exits" not in app.functions["Later.*"].facts
    assert set(app.classes) == {"Model", "Later"}
    assert isinstance(Model, Cls)
    outer = App("outer").include(app)
    assert outer.classes == app.classes


def test_objects_here_run_their_hooks_once_and_have_attributes() -> None:
    model = made(name="x")
    assert isinstance(model, Obj)
    assert model.generate.local("p") == "p xx ['base', 'model']"
    assert model.twice.local("p") == "p xx ['base', 'model']plain"
    assert list(model.items.local(2)) == [0, 1]
    assert (model.plain(), model.size, model.kind, model.log) == ("plain", 2, "static", ["base", "model"])
    assert repr(made(name="y", size=3)) == "Model(name='y', size=3)"
    assert made(name="y").inherited.local() == "Model"
    with pytest.raises(AttributeError, match="nothing"):
        _ = model.nothing


async def test_async_hooks_run_before_async_methods() -> None:
    assert await Later().value.local()
    assert [value async for value in Later().values.local()] == [True]
    with pytest.raises(InvalidError, match="the hook 'load' is async and an event loop runs"):
        Later().sync.local()


def test_an_overridden_method_is_called_through_super() -> None:
    class Doubled(Base):
        @modicum.method()
        def inherited(self) -> str:
            base: Any = super().inherited
            return str(2 * base())

    kind = App("b").cls(serialized=True)(Doubled)
    assert kind().inherited.local() == "DoubledDoubled"


def test_async_hooks_run_before_sync_methods() -> None:
    assert Later().sync.local()


def test_attributes_and_methods_of_the_class_itself() -> None:
    assert made.kind == "static"
    assert made.__name__ == "Model"
    with pytest.raises(AttributeError, match=r"call the class first, `Model\(\)\.generate\.remote\(…\)`"):
        made.generate.remote("x")
    with pytest.raises(AttributeError, match=r"Model\(\)"):
        made.generate("x")
    with pytest.raises(AttributeError, match="nothing"):
        _ = made.nothing


def test_a_class_may_inherit_from_one_of_an_app() -> None:
    class Child(Model):
        pass

    assert Child.__mro__[1] is made._shape.kind
    with pytest.raises(InvalidError, match="only named here"):
        Cls("Far", app.functions["Model.*"]).__mro_entries__(())


def test_objects_and_classes_travel() -> None:
    model = made(name="x")
    model.plain()
    assert pickle.loads(cloudpickle.dumps(model)).generate.local("p") == "p xx ['base', 'model']"
    assert pickle.loads(cloudpickle.dumps(Model))(name="y").size == 2


# -- parameters ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({}, r"'Model' needs a value for its parameter 'name': Model\(name=…\)"),
        ({"name": 3}, "the parameter 'name' of 'Model' must be str, not 3, of type int"),
        ({"name": "x", "size": True}, "'size' of 'Model' must be int, not True"),
        ({"name": "x", "sise": 3}, "no parameter 'sise'; did you mean 'size'"),
        ({"name": "x", "weights": []}, "no parameter 'weights'"),
    ],
)
def test_wrong_parameters(given: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidError, match=text):
        made(**given)


def test_parameters_are_given_by_name() -> None:
    with pytest.raises(InvalidError, match=r"'Model' takes its parameters by name: Model\(name=…\)"):
        made("x")


def test_large_parameters() -> None:
    with pytest.raises(InvalidError, match="'name' have 16389 bytes, more than 16384"):
        _parameters.encode({"name": "x" * 16385})


def test_equal_sets_of_values_are_equal_bytes() -> None:
    values = {"b": b"\x00\xff", "s": "é\ud800", "i": -(1 << 80), "t": True}
    data = _parameters.encode(values)
    assert data == _parameters.encode(dict(reversed(list(values.items()))))
    assert _parameters.decode(data) == values
    fields = {"x": _parameters.Field("bytes", b"d"), "y": _parameters.Field("int")}
    again = _parameters.read(_parameters.describe(fields))
    assert (again["x"].type, again["x"].default, again["y"].default) == ("bytes", b"d", _parameters.NOTHING)


def decorated(**attributes: Any) -> Any:
    annotations = attributes.pop("annotations", {})
    kind = type("Made", attributes.pop("bases", ()), {"__annotations__": annotations, **attributes})
    return App("b").cls(serialized=True)(kind)


@pytest.mark.parametrize(
    ("annotation", "default", "text"),
    [
        (None, None, "'x' of 'Made' needs a type: `x: str = …`"),
        (list, None, "'x' of 'Made' is a list; parameters of classes are str, int, bool or bytes"),
        ("float", None, "'x' of 'Made' is a float; parameters"),
        (str, 3, "'x' of 'Made' must be str, not 3, of type int"),
    ],
)
def test_declarations_that_make_no_sense(annotation: Any, default: Any, text: str) -> None:
    given = {} if default is None else {"default": default}
    with pytest.raises(InvalidError, match=text):
        decorated(x=modicum.parameter(**given), annotations={} if annotation is None else {"x": annotation})


def test_an_enter_hook_has_no_parameters() -> None:
    class Made:
        @modicum.enter()
        def up(self, size: int) -> None: ...

        @modicum.method()
        def use(self) -> None: ...

    with pytest.raises(InvalidError, match="the hook 'up' of 'Made' can have no parameters but `self`"):
        modicum.App("a").cls(serialized=True)(Made)


def test_parameters_without_a_value_are_no_attributes() -> None:
    class Plain:
        x: int = modicum.parameter(init=False)

    with pytest.raises(AttributeError, match="'x' has no value"):
        _ = Plain().x
    assert decorated(x=modicum.parameter(default="d"), annotations={"x": "str"})().x == "d"


# -- what is refused -------------------------------------------------------------------------------------------


def nothing(self: Any) -> None: ...


def with_argument(self: Any, x: int) -> None: ...


@pytest.mark.parametrize(
    ("attributes", "text"),
    [
        ({"__init__": with_argument}, r"'Made' has an __init__ with arguments.*modal\.parameter\(\)"),
        ({"bases": (dict,)}, "'Made' has an __init__ with arguments"),
        ({"__slots__": ()}, "'Made' has __slots__ alone"),
        ({"__enter__": nothing}, r"'Made' has __enter__, which no container calls.*@modal\.enter\(\)"),
        ({"f": modicum.enter(snap=True)(nothing)}, "needs @app.cls.enable_memory_snapshot=True"),
        ({"f": modicum.concurrent(max_inputs=2)(nothing)}, r"on the method 'f': decorate the class 'Made' with it"),
        (
            {
                "f": modicum.batched(max_batch_size=2, wait_ms=1)(with_argument),
                "g": modicum.method()(nothing),
            },
            r"'Made' has the @modal\.batched method 'f': it can have no other",
        ),
    ],
)
def test_classes_that_no_container_could_make(attributes: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidError, match=text):
        decorated(**attributes)


def test_a_constructor_without_arguments_is_called_with_a_warning() -> None:
    def construct(self: Any) -> None:
        self.y = self.x + 1

    with pytest.warns(DeprecationError, match=r"`Made.__init__` is now `@modal\.enter\(\)`"):
        kind = decorated(__init__=construct, x=modicum.parameter(default=1), annotations={"x": int})
    assert kind().y == 2


def test_what_is_no_class() -> None:
    with pytest.raises(TypeError, match=r"@app\.cls\(\) decorates a class, not <function"):
        app.cls()(nothing)  # type: ignore[type-var]
    with pytest.raises(InvalidError, match=r"'Model' is decorated already; to have it in two apps use app\.include"):
        App("b").cls()(Model)
    with pytest.raises(InvalidError, match=r"Local' is defined inside a function.*@app\.cls\(serialized=True\)"):

        @App("b").cls()
        class Local: ...

    with pytest.raises(TypeError, match=r"with parentheses, @app\.cls\(\)"):
        App("b").cls(Base)


def test_old_parameters_of_classes() -> None:
    with pytest.warns(DeprecationError, match="`concurrency_limit` is now `max_containers`"):
        decorator = App("b").cls(serialized=True, concurrency_limit=3)  # type: ignore[call-arg]
    kind = decorator(anything(type("Old", (), {})))
    assert kind._service.options.max_containers == 3
    with pytest.warns(DeprecationError, match="allow_concurrent_inputs"):
        decorator = App("b").cls(serialized=True, allow_concurrent_inputs=4)  # type: ignore[call-arg]
    kind = decorator(anything(type("Old", (), {})))
    assert kind._service.options.concurrency == {"max_inputs": 4, "target_inputs": 4}


# -- decorators ------------------------------------------------------------------------------------------------


def test_what_decorators_make_of_a_function() -> None:
    decorate: Any = App("b").function(serialized=True)
    function = decorate(modicum.concurrent(max_inputs=5, target_inputs=3)(nothing))
    assert isinstance(function, Function)
    assert function.options.concurrency == {"max_inputs": 5, "target_inputs": 3}
    both = modicum.concurrent(max_inputs=2)(modicum.batched(max_batch_size=4, wait_ms=10)(with_argument))
    batched = decorate(both)
    assert batched.options.batching == {"max_batch_size": 4, "wait_ms": 10}
    assert batched.options.concurrency == {"max_inputs": 2, "target_inputs": None}
    assert batched.facts == {"batched": True}


def test_what_decorators_make_of_a_class() -> None:
    kind = App("b").cls(serialized=True)(modicum.concurrent(max_inputs=5)(anything(type("C", (), {}))))
    assert kind._service.options.concurrency == {"max_inputs": 5, "target_inputs": None}
    batched = decorated(f=modicum.batched(max_batch_size=4, wait_ms=10)(with_argument))
    assert batched._service.options.batching == {"max_batch_size": 4, "wait_ms": 10}


def generator(self: Any) -> Iterator[int]:
    yield 1


def with_default(self: Any, x: int = 1) -> None: ...


def variadic(self: Any, *args: int) -> None: ...


def anything(value: object) -> Any:
    """Return a value whose type no checker knows."""
    return value


def apply(*decorators: Any) -> Any:
    value: Any = nothing
    for decorator in decorators:
        value = decorator(value)
    return value


BATCHED = modicum.batched(max_batch_size=2, wait_ms=1)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: apply(modicum.method(), modicum.enter()), "cannot be called and be a hook"),
        (lambda: apply(modicum.exit(), BATCHED), "cannot be called and be a hook"),
        (lambda: apply(modicum.method(), modicum.method()), r"has @modal\.method twice"),
        (lambda: apply(modicum.concurrent(max_inputs=2), modicum.concurrent(max_inputs=2)), "concurrency .* set twice"),
        (lambda: apply(BATCHED, BATCHED), "batching .* set twice"),
        (lambda: modicum.method()(anything(Base)), r"@modal\.method decorates a method, not the class 'Base'"),
        (lambda: BATCHED(Base), "decorates a method, not the class"),
        (lambda: modicum.method()(staticmethod(nothing)), "decorates a method with `self`"),
        (lambda: modicum.enter()(5), "or a function, not 5"),  # type: ignore[type-var]
        (lambda: modicum.concurrent(max_inputs=2)(Model), r"cannot stand above @app\.cls\(\); swap the two"),
        (lambda: modicum.batched(max_batch_size=0, wait_ms=1), "max_batch_size must be a whole number from 1 to 1000"),
        (lambda: modicum.batched(max_batch_size=1, wait_ms=-1), "wait_ms must be a whole number from 0 to 600000"),
        (lambda: modicum.concurrent(max_inputs=2, target_inputs=3), r"target_inputs \(3\) is larger than max_inputs"),
        (lambda: BATCHED(generator), "is a generator function, which cannot be @modal.batched"),
        (lambda: BATCHED(with_default), "cannot have defaults"),
        (lambda: BATCHED(variadic), r"cannot have \*args"),
        (
            lambda: App("b").function()(apply(modicum.method())),
            r"'nothing' has @modal\.method, which is for the methods",
        ),
        (apply(modicum.method()), r"'nothing' cannot be called yet"),
    ],
)
def test_decorators_that_do_not_go_together(make: Any, text: str) -> None:
    with pytest.raises(InvalidError, match=text):
        make()


def test_decorators_stand_below_those_of_the_app() -> None:
    function = App("b").function(serialized=True, name="f")(lambda: 1)
    with pytest.raises(InvalidError, match=r"@modal\.batched cannot stand above @app\.function\(\); swap the two"):
        BATCHED(function)


@pytest.mark.parametrize("name", ["method", "enter", "exit", "concurrent"])
def test_parentheses(name: str) -> None:
    with pytest.raises(TypeError, match=rf"with parentheses, @modal\.{name}"):
        getattr(modicum, name)(nothing)
    with pytest.raises(TypeError, match="max_inputs"):
        modicum.concurrent()


def test_methods_of_a_class_without_an_app_are_plain() -> None:
    class Plain:
        @modicum.method()
        def double(self, x: int) -> int:
            return 2 * x

    double: Any = Plain().double
    assert double(2) == 4
    assert isinstance(Plain.double, PartialFunction)


# -- calling ---------------------------------------------------------------------------------------------------


def test_nothing_is_called_while_the_app_does_not_run() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        later: Any = Later()
        for call in (made(name="x").generate.remote, later.value.remote, made(name="x").generate.spawn):
            with pytest.raises(ExecutionError, match=r"'(Model|Later)\.\*' cannot be called: its app is not running"):
                call("p")
    with pytest.raises(InvalidError, match=r"'Model\.items' is a generator function"):
        _ = made(name="x").items.remote


class Found:
    """A server that answers questions with what the test says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **answers: Any) -> None:
        self.asked: list[Any] = []
        self.answers = answers
        monkeypatch.setattr(_blocking, "run", self.run)

    def run(self, operation: Any, call: str | None = None) -> Any:
        answer = None
        while True:
            try:
                request = operation.send(answer)
            except StopIteration as stop:
                return stop.value
            ((header, _),) = request.messages
            self.asked.append(header)
            answer = [(self.answers[header["t"]], b"")]


def test_each_set_of_values_has_containers_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Found(monkeypatch, **{"function.bind": {"function": "fu-2"}})
    service = app.functions["Model.*"]
    service.hydrate_with("fu-1")
    try:
        model = made(name="x")
        model.generate.hydrate()
        assert model.generate.object_id == model.items.object_id == "fu-2"
    finally:
        service.dehydrate("fu-1")
    (asked,) = server.asked
    assert asked["function"] == "fu-1"
    assert _parameters.decode(base64.b64decode(asked["parameters"])) == {"name": "x", "size": 2}


def test_other_settings_are_of_the_class() -> None:
    other: Any = made.with_options(timeout=3).with_concurrency(max_inputs=4)
    assert isinstance(other, Cls)
    service: Any = other(name="x")._service
    own = service._own
    assert own["options"] == {"timeout": 3, "concurrency": {"max_inputs": 4, "target_inputs": None}}
    assert _parameters.decode(base64.b64decode(own["parameters"])) == {"name": "x", "size": 2}
    batched: Any = made.with_batching(max_batch_size=2, wait_ms=1)
    assert batched._service._own["options"] == {"batching": {"max_batch_size": 2, "wait_ms": 1}}
    with pytest.raises(InvalidError, match=r"'Model\.generate' is a method.*`Model\.with_options\(…\)\(…\)\.generate`"):
        made(name="x").generate.with_options(timeout=3)


def test_objects_of_a_class_without_parameters_share_its_containers() -> None:
    service = app.functions["Later.*"]
    service.hydrate_with("fu-1")
    try:
        assert Later().value.object_id == "fu-1"
        assert Later().value.method == "value"
    finally:
        service.dehydrate("fu-1")


def far(facts: dict[str, Any]) -> Cls:
    """A class that is only named, and found now."""
    service: Any = Function(lambda: None, "Far.*", app.functions["Model.*"].options, None, False, False, False)

    def find() -> Any:
        service.facts = facts
        return "fu-9"
        yield

    service._find = find
    return Cls("Far", service)


def test_a_class_that_is_only_named(monkeypatch: pytest.MonkeyPatch) -> None:
    Found(monkeypatch, **{"function.bind": {"function": "fu-10"}})
    methods = {"generate": {"generator": False, "async": False}, "items": {"generator": True, "async": False}}
    named = far({"methods": methods, "parameters": {"x": {"type": "int", "default": 1}}})
    obj = named(x=3)
    obj.generate.hydrate()
    assert obj.generate.object_id == "fu-10"
    with pytest.raises(NotFoundError, match="'Far' has no method 'generat'; did you mean 'generate'"):
        _ = obj.generat
    with pytest.raises(ExecutionError, match="only named here, its code is not there"):
        obj.generate.local()
    with pytest.raises(InvalidError, match="'x' of 'Far' must be int"):
        named(x="y").generate.hydrate()
    unparametrised = far({"methods": methods, "parameters": {}})
    plain = unparametrised()
    with pytest.raises(NotFoundError, match="'Far' has no method 'absent'"):
        plain.absent.hydrate()
    plain.generate.hydrate()
    assert plain.generate.object_id == "fu-9"
