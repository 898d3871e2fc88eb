"""How an agent finds its function, and what it says when it does not."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from modicum.agent import loader
from modicum.exception import ExecutionError
from modicum.wire.frames import Frame

HERE = "{}.{}".format(*sys.version_info)


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Write a module that can be imported."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))

    def write(name: str, text: str) -> dict[str, Any]:
        (tmp_path / f"{name}.py").write_text(text)
        return {"name": "f", "module": name, "qualname": "f", "python": HERE}

    return write


def test_decorated_and_plain_functions(module: Any) -> None:
    plain = loader.load(module("loader_plain", "def f(): return 1"), None)
    assert plain() == 1
    decorated = "import modal\napp = modal.App('a')\n@app.function()\ndef f(): return 2\n"
    assert loader.load(module("loader_decorated", decorated), None)() == 2


def test_a_function_that_is_not_there(module: Any) -> None:
    spec = module("loader_main", 'if __name__ == "__main__":\n    def f(): return 1\n')
    with pytest.raises(
        ExecutionError, match=r"'loader_main' has no 'f' when a container imports it.*`if __name__ == \"__m"
    ):
        loader.load(spec, None)


def note_on(spec: dict[str, Any], kind: type[BaseException]) -> str:
    with pytest.raises(kind) as caught:
        loader.load(spec, None)
    (note,) = caught.value.__notes__
    return str(note)


def test_errors_of_the_module_keep_their_class_and_say_for_what_it_was_imported(module: Any) -> None:
    note = note_on(module("loader_raises", "raise KeyError('x')"), KeyError)
    assert note.startswith(
        "The module 'loader_raises' cannot be imported in a container, as its function 'f' needs; what"
    )
    assert note_on(module("loader_exits", "raise SystemExit(3)"), SystemExit)


def test_syntax_of_another_python(module: Any) -> None:
    spec = module("loader_syntax", "def f(:")
    assert "runs when it is imported" in note_on(spec, SyntaxError)
    note = note_on({**spec, "python": "3.99"}, SyntaxError)
    assert f"Python is {HERE} there and 3.99 in your own process" in note
    assert "Image.debian_slim(python_version='3.99')" in note


def test_specs_of_an_earlier_build_are_understood(module: Any) -> None:
    spec = module("loader_older", "def f(:")
    del spec["name"], spec["python"]
    assert note_on(spec, SyntaxError)
    with pytest.raises(ExecutionError):
        loader.load({"module": "json", "qualname": "nothing"}, None)


class Parts:
    """A link that gives a function's code in parts."""

    def __init__(self, code: bytes) -> None:
        self.code = code

    def request(self, messages: Any) -> list[Frame]:
        ((header, _),) = messages
        return [({"t": "reply"}, self.code[header["offset"] : header["offset"] + 3])]


def test_code_that_comes_in_parts() -> None:
    link: Any = Parts(b"0123456789")
    assert loader.whole(link, b"0123", 10) == b"0123456789"
    assert loader.whole(link, b"all", 3) == b"all"
    with pytest.raises(RuntimeError, match="the function's code did not come"):
        loader.whole(link, b"0123456789", 12)
