"""What decorating, calling wrongly and wrong options say."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

import modicum
from modicum import _context
from modicum._running import Run
from modicum._types import Generic
from modicum.app import App
from modicum.exception import ExecutionError, InvalidError, SerializationError
from modicum.image import Image
from modicum.options import PARAMETERS, Options, read

app = App("tests")


@app.function()
def double(x: int) -> int:
    """Twice as much."""
    return 2 * x


@app.function()
async def slow(x: int) -> int:
    return x


@app.function()
def count(n: int) -> Iterator[int]:
    yield from range(n)


@app.function()
async def slow_count(n: int) -> AsyncIterator[int]:
    yield n


def test_kinds_of_functions() -> None:
    kinds = {name: (f.is_generator, f.is_async) for name, f in app.functions.items()}
    assert kinds == {
        "double": (False, False),
        "slow": (False, True),
        "count": (True, False),
        "slow_count": (True, True),
    }


def test_looks_like_the_function() -> None:
    assert (double.__name__, double.__doc__, double.__module__) == ("double", "Twice as much.", __name__)
    assert repr(double) == "modicum.Function('double')"
    assert double.local(4) == 8


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("remote", r"use `\.remote_gen\(…\)`"),
        ("spawn", r"use `\.remote_gen\(…\)`"),
        ("map", r"use `\.remote_gen\(…\)`"),
        ("starmap", r"use `\.remote_gen\(…\)`"),
        ("for_each", r"use `\.remote_gen\(…\)`"),
    ],
)
def test_generators_are_called_as_such(name: str, reason: str) -> None:
    for function in (count, slow_count):
        with pytest.raises(InvalidError, match=reason):
            getattr(function, name)


def test_wrong_ways_of_calling() -> None:
    with pytest.raises(InvalidError, match=r"'double' is not a generator function; call `double\.remote\(…\)`"):
        getattr(double, "remote_gen")  # noqa: B009 - the type checker would not have it
    with pytest.raises(TypeError, match=r"double\.remote\(…\).*double\.local\(…\)"):
        double(1)
    with pytest.raises(ExecutionError, match="its app is not running"):
        double.remote(1)
    with pytest.raises(ExecutionError, match="its app is not running"):
        _ = double.object_id
    with pytest.raises(TypeError, match="starmap takes one iterable of argument tuples, not 2"):
        double.starmap([(1,)], [(2,)])


def test_arguments_that_cannot_be_sent() -> None:
    import threading

    with pytest.raises(
        SerializationError,
        match=r"the argument 'x', a lock, of 'double' cannot be sent to a container: TypeError: .*; pass plain",
    ):
        double.encode((threading.Lock(),), {})


def test_id_comes_from_the_run_else_from_the_container(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_context, "functions", {"double": {"id": "fu-there"}})
    monkeypatch.setattr(_context, "socket_directory", "/run/modicum")
    assert double.object_id == "fu-there"
    double.hydrate_with("fu-here")
    assert double.object_id == "fu-here"
    double.hydrate_with("fu-inner")
    assert double.object_id == "fu-inner"
    double.dehydrate("fu-here")  # the outer app may end first
    assert double.object_id == "fu-inner"
    double.dehydrate("fu-inner")


# -- options ---------------------------------------------------------------------------------------------------


def options(**changed: Any) -> dict[str, Any]:
    given = {each.name: each.default for each in PARAMETERS}
    return Options(read("@app.function", {**given, **changed})).as_dict()


def test_options_by_default() -> None:
    assert options() == {
        "min_containers": 0,
        "max_containers": None,
        "scaledown_window": 60,
        "timeout": 300,
        "startup_timeout": 300,
        "buffer_containers": 0,
        "schedule": None,
        "retries": None,
        "single_use_containers": False,
        "placement": None,
        "concurrency": None,
        "batching": None,
        "block_network": False,
        "restrict_modal_access": False,
        "restrict_output": False,
        "secrets": [],
        "cpu": None,
        "memory": None,
        "ephemeral_disk": None,
        "gpu": None,
    }
    assert options(timeout=7)["startup_timeout"] == 7
    assert options(timeout=7, startup_timeout=9)["startup_timeout"] == 9
    assert options(scaledown_window=2)["scaledown_window"] == 2
    assert options(scaledown_window=3600, min_containers=3, max_containers=3)["max_containers"] == 3


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"min_containers": -1}, "min_containers must be a whole number from 0 up, not -1"),
        ({"min_containers": 1.5}, "min_containers must be a whole number from 0 up, not 1.5"),
        ({"max_containers": 0}, "max_containers must be a whole number from 1 up, not 0"),
        ({"max_containers": "3"}, "max_containers must be a whole number from 1 up, not '3'"),
        ({"min_containers": 3, "max_containers": 2}, r"min_containers \(3\) is larger than max_containers \(2\)"),
        ({"scaledown_window": 1}, "scaledown_window must be from 2 to 3600 seconds, not 1"),
        ({"scaledown_window": 3601}, "scaledown_window must be from 2 to 3600 seconds, not 3601"),
        ({"scaledown_window": "60"}, "scaledown_window must be from 2 to 3600 seconds, not '60'"),
        ({"timeout": 0}, "above 0"),
        ({"timeout": "5"}, "above 0"),
        ({"timeout": None}, "above 0"),
        ({"startup_timeout": -1}, "above 0"),
        ({"startup_timeout": "5"}, "above 0"),
    ],
)
def test_options_that_make_no_sense(changed: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidError, match=reason):
        options(**changed)


# -- apps ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a", "my-app_1.0", "x" * 64])
def test_names_of_apps(name: str) -> None:
    assert App(name).name == name


@pytest.mark.parametrize("name", ["", "a b", "x" * 65, "ä", 5, "a\n"])
def test_names_that_no_app_has(name: Any) -> None:
    with pytest.raises(InvalidError, match="is no name for an app"):
        App(name)


def test_images_must_be_images() -> None:
    with pytest.raises(InvalidError, match=r"image must be a modicum.Image, not 'debian'"):
        App(image="debian")  # type: ignore[arg-type]
    with pytest.raises(InvalidError, match=r"image must be a modicum.Image, not 'debian'"):
        App().function(image="debian")  # type: ignore[arg-type]


def test_image_of_function_then_of_app_then_debian() -> None:
    one, two = modicum.Image.debian_slim("3.11"), modicum.Image.debian_slim("3.12")
    mine = App(image=one)
    plain = mine.function(serialized=True, name="plain")(lambda: None)
    own = mine.function(serialized=True, name="own", image=two)(lambda: None)
    assert mine.image_of(plain) is one
    assert mine.image_of(own) is two
    assert App().image_of(plain).steps[0]["op"] == "debian_slim"


def test_function_inside_a_function() -> None:
    def inner() -> None: ...

    with pytest.raises(InvalidError, match=r"inner' is defined inside a function.*serialized=True"):
        App().function()(inner)
    mine = App()
    assert mine.function(serialized=True)(inner).serialized
    assert list(mine.functions) == ["test_function_inside_a_function.<locals>.inner"]


def test_two_functions_of_one_name_warn() -> None:
    mine = App()
    first = mine.function(name="f", serialized=True)(lambda: 1)
    with pytest.warns(UserWarning, match="two functions named 'f'"):
        second = mine.function(name="f", serialized=True)(lambda: 2)
    assert mine.functions == {"f": second} != {"f": first}


def test_local_entrypoints() -> None:
    mine = App()

    @mine.local_entrypoint()
    def main(x: int) -> int:
        """Say what it does."""
        return x + 1

    assert main(1) == 2
    assert mine.entrypoints["main"].__doc__ == "Say what it does."
    with pytest.raises(InvalidError, match="has a local entrypoint 'main' already"):
        mine.local_entrypoint(name="main")(lambda: None)


def test_an_app_runs_once_and_not_in_a_container(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = App()
    mine.set_running("ap-1")
    with pytest.raises(InvalidError, match="already running"):
        mine.run().__enter__()
    mine.set_running(None)
    monkeypatch.setattr(_context, "socket_directory", "/run/modicum")
    with pytest.raises(InvalidError, match="cannot be run or deployed from a container"):
        mine.run().__enter__()


def test_leaving_a_run_that_never_began() -> None:
    Run(App(), "x").__exit__(None, None, None)


# -- context ---------------------------------------------------------------------------------------------------


def test_context_of_an_input() -> None:
    assert modicum.current_input_id() is None
    assert modicum.current_function_call_id() is None
    _context.enter("fc-abc:7")
    assert modicum.current_input_id() == "in-abc-7"
    assert modicum.current_function_call_id() == "fc-abc"
    _context.leave()
    assert modicum.current_input_id() is None


def test_is_local(monkeypatch: pytest.MonkeyPatch) -> None:
    assert modicum.is_local()
    monkeypatch.setattr(_context, "socket_directory", "/run/modicum")
    assert not modicum.is_local()


def test_generic_needs_no_typing() -> None:
    class Box(Generic[int, str]):  # type: ignore[misc]
        pass

    assert Box[int] is Box  # type: ignore[misc,comparison-overlap,index,unused-ignore]


def test_function_call_from_id() -> None:
    call = modicum.FunctionCall.from_id("fc-1")
    assert call.object_id == "fc-1"
    assert repr(call) == "modicum.FunctionCall('fc-1')"
    for other in ("im-1", "", "1"):
        with pytest.raises(InvalidError, match="begin with 'fc-'"):
            modicum.FunctionCall.from_id(other)


def test_decorators_without_parentheses_say_so() -> None:
    with pytest.raises(TypeError, match=r"parentheses, @app\.function\(\)"):
        App("a").function(len)
    with pytest.raises(TypeError, match=r"@app\.local_entrypoint\(\)"):
        App("a").local_entrypoint(len)


def test_what_a_container_cannot_import_by_name_is_refused() -> None:
    def raw() -> None: ...

    for name, text in (("Class.method", r"a method: decorate it with @modal\.method"), ("<lambda>", "by name")):
        raw.__qualname__ = name
        with pytest.raises(InvalidError, match=text):
            App("a").function()(raw)


def test_an_image_that_was_not_called() -> None:
    with pytest.raises(InvalidError, match=r"call it: Image\.debian_slim\(\)"):
        App("a", image=Image.debian_slim)  # type: ignore[arg-type]
