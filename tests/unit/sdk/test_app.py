"""What an app takes in, includes and refuses."""

from __future__ import annotations

import threading
import warnings
from typing import Any

import pytest

from modicum import _blobs, _blocking, _context, output
from modicum._creating import _serialize
from modicum._display import Display
from modicum._running import Run
from modicum.app import App
from modicum.exception import (
    DeprecationError,
    ExecutionError,
    InvalidError,
    RequestSizeError,
    SerializationError,
    ServiceError,
)
from modicum.function import Function
from modicum.image import Image

SLIM = Image.debian_slim("3.12")


def function_of(app: App, name: str = "f", **parameters: Any) -> Function[Any, Any, Any]:
    made: Function[Any, Any, Any] = app.function(serialized=True, name=name, **parameters)(lambda: name)
    return made


def test_including_shares_functions_images_and_tags() -> None:
    inner = App("inner", image=SLIM, tags={"a": "1", "b": "1"}, include_source=False)
    shared = function_of(inner)
    outer = App("outer", tags={"b": "2"})
    assert outer.include(inner) is outer
    assert outer.functions == {"f": shared}
    assert outer.image_of(shared) is SLIM
    assert not shared.includes_source
    assert outer.tags == {"a": "1", "b": "2"}
    assert App("x").include(inner, inherit_tags=False).tags == {}
    outer.include(inner)  # again: it is the same function, so nothing collides


def test_an_included_function_replaces_one_of_its_name_with_a_warning() -> None:
    inner, outer = App("inner"), App("outer")
    theirs, ours = function_of(inner), function_of(outer)
    with pytest.warns(UserWarning, match="two functions named 'f'; the later one replaces the earlier") as caught:
        outer.include(inner)
    assert caught[0].filename == __file__
    assert outer.functions == {"f": theirs}
    assert ours.app is outer and theirs.app is inner


def test_only_apps_are_included() -> None:
    with pytest.raises(InvalidError, match=r"app\.include\(\) takes another modal\.App, not 5"):
        App("a").include(5)  # type: ignore[arg-type]


def test_source_is_sent_unless_the_function_or_its_app_says_no() -> None:
    quiet = App("quiet", include_source=False)
    assert function_of(App("a")).includes_source
    assert not function_of(quiet).includes_source
    assert function_of(quiet, "g", include_source=True).includes_source
    assert not function_of(App("a"), include_source=False).includes_source


def test_the_image_may_still_be_set_on_the_app() -> None:
    app = App("a")
    with pytest.warns(DeprecationError, match=r"`app\.image = …` is now `App\(image=…\)`") as caught:
        app.image = SLIM
    assert caught[0].filename == __file__
    with pytest.warns(DeprecationError, match=r"`app\.image` is now `App\(image=…\)`"):
        assert app.image is SLIM
    assert app.image_of(function_of(app)) is SLIM
    with pytest.warns(DeprecationError), pytest.raises(InvalidError, match=r"image must be a modicum\.Image"):
        app.image = "debian"  # type: ignore[assignment]


def test_what_was_registered() -> None:
    app = App("a")
    made = function_of(app)
    app.local_entrypoint()(len)
    with pytest.warns(DeprecationError, match=r"`app\.registered_functions` is now `app\.functions`"):
        assert app.registered_functions == {"f": made}
    with pytest.warns(DeprecationError):
        assert list(app.registered_entrypoints) == ["len"]
    with pytest.warns(DeprecationError):
        assert (app.registered_classes, app.registered_web_endpoints) == ({}, [])
    assert app.description == "a"


def test_what_is_decorated_already() -> None:
    app = App("a")
    with pytest.raises(InvalidError, match=r"'f' is decorated already; to have it in two apps use app\.include\(\)"):
        app.function()(function_of(App("b")))  # type: ignore[arg-type,type-var,unused-ignore]
    with pytest.raises(InvalidError, match="'len' is a local entrypoint: it runs in your own process"):
        app.function()(app.local_entrypoint()(len))
    with pytest.raises(InvalidError, match=r"not the class 'Thing'; use @app\.cls"):
        app.function()(type("Thing", (), {}))


def test_what_is_no_local_entrypoint() -> None:
    app = App("a")
    with pytest.raises(InvalidError, match="'f' is a function for containers, it cannot be a local entrypoint as well"):
        app.local_entrypoint()(function_of(app))
    with pytest.raises(InvalidError, match=r"@app\.local_entrypoint\(\) decorates a function, not <class 'int'>"):
        app.local_entrypoint()(int)
    with pytest.raises(TypeError, match=r"@app\.local_entrypoint takes no parameter 'nmae'; did you mean 'name'"):
        app.local_entrypoint(nmae="x")  # type: ignore[call-arg]


def test_how_an_app_is_run() -> None:
    app = App("a")
    assert isinstance(app.run(), Run)
    assert isinstance(app.run.aio(name="b", client=None, detach=True, environment_name="main"), Run)
    for parameters, reason in (
        ({"name": "a b"}, "'a b' is no name for an app"),
        ({"environment_name": "test"}, "no environment 'test': all apps are in one, `main`"),
        ({"client": object()}, "`client` of app.run is not in Modicum yet"),
        ({"detach": "yes"}, "detach must be True or False, not 'yes'"),
    ):
        with pytest.raises(InvalidError, match=reason):
            app.run(**parameters)


def test_show_progress_shows_what_enable_output_does(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[object] = []

    def no_server(operation: object) -> None:
        shown.append(output.current)
        raise ServiceError("no server")

    monkeypatch.setattr(_blocking, "run", no_server)
    for asked in (True, False):
        with pytest.warns(DeprecationError, match=r"`show_progress` is now `with modicum\.enable_output\(\):`"):
            run = App("a").run(show_progress=asked)  # type: ignore[call-arg]
        with pytest.raises(ServiceError), run:
            pass
        assert output.current is None
    assert isinstance(shown[0], Display) and shown[1] is None


def test_sizes_of_serialized_functions() -> None:
    app = App("a")

    def carrying(size: int) -> Function[Any, Any, Any]:
        data = b"x" * size
        return app.function(serialized=True, name=f"f{size}")(lambda: data)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(_serialize(carrying(250 * 1024))) < 256 * 1024
    with pytest.warns(
        UserWarning, match="'f314000' has 0.3 MiB when it is serialized, which every one of its containers"
    ):
        _serialize(carrying(314_000))
    with pytest.raises(InvalidError, match="has 16 MiB when it is serialized, more than 16 MiB; it takes along"):
        _serialize(carrying(16 << 20))
    lock = threading.Lock()
    with pytest.raises(
        SerializationError, match="the function 'locked' cannot be serialized: TypeError: cannot pickle"
    ):
        _serialize(app.function(serialized=True, name="locked")(lambda: lock))


def test_a_function_that_travels_leaves_its_app_behind() -> None:
    import cloudpickle

    inner = function_of(App("a"))
    inner.hydrate_with("fu-1")
    copy = cloudpickle.loads(cloudpickle.dumps(inner))
    assert (copy.name, copy.app, copy.local()) == ("f", None, "f")
    with pytest.raises(ExecutionError, match="its app is not running"):
        _ = copy.object_id


def test_functions_of_other_names_are_not_called_by_accident(monkeypatch: pytest.MonkeyPatch) -> None:
    made = function_of(App("a"))
    monkeypatch.setattr(_context, "socket_directory", "/run/modicum")
    with pytest.raises(
        ExecutionError, match="a container calls functions of its own app, and this one's has none of that"
    ):
        _ = made.object_id
    monkeypatch.setattr(_context, "functions", {"f": {"id": "fu-1", "module": "m", "qualname": "f"}})
    with pytest.raises(ExecutionError, match=r"this container's own app has another of that name, m\.f;"):
        _ = made.object_id
    monkeypatch.setattr(_context, "functions", {"f": {"id": "fu-1", "module": "", "qualname": "f"}})
    assert made.object_id == "fu-1"  # one that was serialized has no module to tell it by


def test_hydrate_and_older_names_of_functions() -> None:
    made = function_of(App("a"))
    made.hydrate_with("fu-1")
    assert made.hydrate() is made
    with pytest.warns(DeprecationError, match=r"`Function\.resolve\(\)` is now `Function\.hydrate\(\)`"):
        assert made.resolve() is made
    with pytest.warns(DeprecationError, match=r"`Function\.web_url` is now `Function\.get_web_url\(\)`"):
        assert made.web_url is None
    made.dehydrate("fu-1")
    with pytest.raises(ExecutionError, match="its app is not running"):
        made.hydrate()
    ignored = pytest.warns(DeprecationError, match="`wrap_returned_exceptions` has no effect any longer")
    with ignored, pytest.raises(ExecutionError, match="not running"):
        made.map([1], wrap_returned_exceptions=False)  # type: ignore[call-arg]


def test_a_value_that_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_blobs, "VALUE_BYTES_MAX", 1 << 20)
    with pytest.raises(
        RequestSizeError, match=r"a value of 2 GiB cannot be sent: .* GiB is the most; send it in parts"
    ):
        list(_blobs.put("bl-1", _Long()))  # type: ignore[arg-type]


class _Long:
    """Says that it is long, at no cost."""

    def __len__(self) -> int:
        return 2 << 30


async def test_an_id_needs_no_waiting() -> None:
    from modicum.call import FunctionCall

    with pytest.warns(DeprecationError, match=r"`await FunctionCall\.from_id\.aio\(…\)` is now"):
        assert (await FunctionCall.from_id.aio("fc-1")).object_id == "fc-1"
