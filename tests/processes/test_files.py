"""How files reach containers, through a whole server: what is sent, what is not, and what is said when it cannot be."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import modicum
from modicum import _uploads
from modicum._running import Run
from modicum.exception import ExecutionError, RequestSizeError, SerializationError
from modicum.image import Image

Load = Callable[..., Any]

PROGRAM = """
import os
import modicum

app = modicum.App("files")

@app.function()
def read(*paths):
    found = {}
    for path in paths:
        with open(path, "rb") as file:
            found[path] = file.read(), os.access(path, os.X_OK)
    return found

@app.function()
def get(module):
    import importlib
    return importlib.import_module(module).VALUE
"""


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: subprocess.Popen[bytes]) -> Iterator[Load]:
    """Import a program, after its files were written below a folder of the path, which is the working directory."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)

    def make(image: Image | None = None) -> Any:
        name = f"program_{os.urandom(4).hex()}"
        (tmp_path / f"{name}.py").write_text(f"{PROGRAM}# {name}\n")  # no server has seen it before
        module = importlib.import_module(name)
        module.app._image = image
        return module

    yield make
    for name in set(sys.modules) - before:
        del sys.modules[name]


def write(path: str, data: bytes | str) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(data if isinstance(data, bytes) else data.encode())


class Watch:
    """What an upload told of itself."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, int, int, int]] = []

    def __call__(self, upload: _uploads.Upload) -> None:
        self.seen.append((upload.files_sent, upload.files, upload.bytes_sent, upload.bytes))


def run(program: Any, watch: Watch | None = None) -> Run:
    return Run(program.app, "files", None, watch)


def test_directories_attached_and_baked(load: Load) -> None:
    large = os.urandom((3 << 20) + 7)
    for name, data in {"one": b"1", "two": b"", "deep/large": large, "same": b"1"}.items():
        write(f"data/{name}", data)
    os.chmod("data/one", 0o755)
    image = Image.debian_slim().add_local_dir("data", "/root/baked", copy=True)
    program = load(image.add_local_dir("data", "/root/attached").add_local_file("data/one", "/root/alone/"))
    with run(program):
        found = program.read.remote(
            *(f"{top}/{n}" for top in ("baked", "attached") for n in ("one", "two", "deep/large"))
        )
        assert program.read.remote("alone/one") == {"alone/one": (b"1", True)}
    for top in ("baked", "attached"):
        assert found[f"{top}/one"] == (b"1", True)
        assert found[f"{top}/two"] == (b"", False)
        assert found[f"{top}/deep/large"] == (large, False)


def test_only_what_is_lacking_is_sent(load: Load) -> None:
    for size in range(30, 330):
        write(f"data/{size % 7}/{size}", os.urandom(size))
    program = load(Image.debian_slim().add_local_dir("data", "/root/data"))
    first, unchanged, changed = Watch(), Watch(), Watch()
    with run(program, first):
        pass
    with run(program, unchanged):
        pass
    new = os.urandom(50)
    write("data/new", new)
    with run(program, changed):
        assert program.read.remote("data/new") == {"data/new": (new, False)}
    total = sum(range(30, 330)) + os.stat(program.__file__).st_size
    assert first.seen[-1] == (301, 301, total, total)
    assert first.seen == sorted(first.seen)
    assert unchanged.seen == []
    assert changed.seen[-1] == (1, 1, 50, 50)


def test_an_unchanged_program_takes_one_request(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    write("data/a", os.urandom(9))
    program = load(Image.debian_slim().add_local_dir("data", "/root/data").add_local_dir("data", "/root/more"))
    with run(program):
        pass
    asked: list[Any] = []
    upload = _uploads.upload

    def watched(*args: Any) -> Any:
        operation = upload(*args)
        answer = None
        while True:
            try:
                asked.append(operation.send(answer))
            except StopIteration:
                return
            answer = yield asked[-1]

    monkeypatch.setattr(_uploads, "upload", watched)
    with run(program):
        pass
    ((header, payload),) = asked[0].messages
    assert len(asked) == 1
    assert (header["t"], len(header["sets"]), payload) == ("files.missing", 3, b"")


def test_later_files_come_over_earlier_ones(load: Load) -> None:
    write("one/f", b"1")
    write("two/f", b"2")
    image = Image.debian_slim().add_local_dir("two", "/root/x", copy=True).add_local_dir("one", "/root/x", copy=True)
    program = load(image.add_local_dir("two", "/root/x"))
    with run(program):
        assert program.read.remote("x/f") == {"x/f": (b"2", False)}


def test_a_local_module(load: Load) -> None:
    write("my_module.py", "VALUE = 'mine'")
    program = load(Image.debian_slim().add_local_python_source("my_module"))
    with run(program):
        assert program.get.remote("my_module") == "mine"


def test_a_local_module_that_was_not_sent(load: Load) -> None:
    write("my_module.py", "VALUE = 'mine'")
    program = load()
    with run(program), pytest.raises(ModuleNotFoundError) as caught:
        program.get.remote("my_module")
    shown = "".join(traceback.format_exception(caught.value))
    assert "No module named 'my_module'" in shown
    assert 'image.add_local_python_source("my_module")' in shown


def test_functions_of_several_modules(load: Load) -> None:
    program = load()
    program.app._image = Image.debian_slim().add_local_python_source(program.__name__)
    write("second.py", f"from {program.__name__} import app\n\n@app.function()\ndef two():\n    return __file__\n")
    second = importlib.import_module("second")
    with run(program):
        assert second.two.remote().endswith("/root/second.py")
        assert len(program.read.remote(f"{program.__name__}.py")) == 1


def test_a_name_that_is_not_utf8(load: Load) -> None:
    name = os.fsdecode(b"caf\xe9")
    write(f"data/{name}", b"coffee")
    program = load(Image.debian_slim().add_local_dir("data", "/root/data"))
    with run(program):
        assert program.read.remote(f"data/{name}") == {f"data/{name}": (b"coffee", False)}


@pytest.mark.parametrize("size", [10, (2 << 20) + 1])
@pytest.mark.parametrize("change", ["content", "size", "gone"])
def test_a_file_that_changes_while_it_is_uploaded(
    load: Load, monkeypatch: pytest.MonkeyPatch, change: str, size: int
) -> None:
    write("data/f", os.urandom(size))
    program = load(Image.debian_slim().add_local_dir("data", "/root/data"))
    upload = _uploads.upload

    def late(*args: Any) -> Any:
        if change == "gone":
            os.unlink("data/f")
        else:
            write("data/f", os.urandom(size + (change == "size")))
        return upload(*args)

    monkeypatch.setattr(_uploads, "upload", late)
    with pytest.raises(
        ExecutionError, match=r"the file '.*data/f' was changed while it was being uploaded; run it again"
    ):
        run(program).__enter__()
    monkeypatch.undo()
    assert program.app.app_id is None


def serialized(**values: Any) -> tuple[modicum.App, Any]:
    """Return an app and a function of it that was typed in, and refers to these values."""
    app = modicum.App("typed")
    scope = {"__name__": "typed_in", **values}
    exec(f"def typed(x):\n    return x + 1, {', '.join(values)}\n", scope)
    return app, app.function(serialized=True)(scope["typed"])


def test_a_serialized_function_needs_no_files(server: subprocess.Popen[bytes]) -> None:
    app, function = serialized()
    watch = Watch()
    with Run(app, "typed", None, watch):
        assert function.remote(1) == (2,)
    assert watch.seen == []


def test_a_serialized_function_of_some_size(server: subprocess.Popen[bytes]) -> None:
    app, function = serialized(value=bytes(300_000))
    with (
        pytest.warns(UserWarning, match=r"'typed' takes 300,... bytes when it is serialized, because of the values"),
        app.run(),
    ):
        assert function.remote(1) == (2, bytes(300_000))


def test_a_serialized_function_that_is_too_large(server: subprocess.Popen[bytes]) -> None:
    app, _ = serialized(value=bytes(1 << 20))
    with pytest.raises(RequestSizeError, match=r"'typed' takes 1,049,... bytes .* It may take 1,048,576"):
        app.run().__enter__()


def test_a_function_that_cannot_be_serialized(server: subprocess.Popen[bytes]) -> None:
    app, _ = serialized(value=threading.Lock())
    with pytest.raises(
        SerializationError, match=r"the function .typed. cannot be serialized: TypeError: cannot pickle"
    ):
        app.run().__enter__()
