"""Which local files an image adds, and what is said of those that cannot be."""

from __future__ import annotations

import errno
import os
import socket
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from modicum import FilePatternMatcher
from modicum._files import FileSet
from modicum.exception import DeprecationError, InvalidError
from modicum.image import Image


def slim() -> Image:
    return Image.debian_slim("3.12")


def added(image: Image) -> FileSet:
    (files,) = image.local_files
    return files.read()


def names(image: Image) -> list[str]:
    return [path for path, *_ in added(image).entries]


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("a.py", "data/b.txt", "data/.hidden", "data/deep/c.log", "data/deep/d.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_file_goes_where_it_is_said(tree: Path) -> None:
    assert names(slim().add_local_file("a.py", "/opt/b.py")) == ["opt/b.py"]
    assert names(slim().add_local_file(tree / "a.py", "/opt/")) == ["opt/a.py"]
    assert names(slim().add_local_file("./data/../a.py", "/")) == ["a.py"]


def test_a_directory_with_all_that_is_in_it(tree: Path) -> None:
    image = slim().add_local_dir("data", "/srv/data")
    assert names(image) == ["srv/data/.hidden", "srv/data/b.txt", "srv/data/deep/c.log", "srv/data/deep/d.py"]
    assert names(slim().add_local_dir(tree / "data" / "deep", "/")) == ["c.log", "d.py"]


@pytest.mark.parametrize(
    "ignore",
    [
        ["**/*.log", ".hidden"],
        ["*", "!b.txt", "!**/*.py"],
        FilePatternMatcher("**/*.log", ".hidden"),
        ~FilePatternMatcher("**/*.py", "b.txt"),
        lambda path: path.suffix == ".log" or path.name == ".hidden",
    ],
)
@pytest.mark.usefixtures("tree")
def test_what_is_ignored(ignore: object) -> None:
    image = slim().add_local_dir("data", "/x", ignore=ignore)  # type: ignore[arg-type]
    assert names(image) == ["x/b.txt", "x/deep/d.py"]


def test_ignored_directories_are_not_even_read(tree: Path) -> None:
    asked: list[str] = []

    class Watched(FilePatternMatcher):
        def matches(self, path: str) -> bool:
            asked.append(path)
            return super().matches(path)

    names(slim().add_local_dir("data", "/x", ignore=Watched("deep")))
    assert "deep" in asked
    assert not [path for path in asked if path.startswith("deep/")]


def test_a_file_of_patterns_is_not_read_before_the_files_are(tree: Path) -> None:
    image = slim().add_local_dir("data", "/x", ignore=FilePatternMatcher.from_file("ignore"))
    with pytest.raises(InvalidError, match=r"the patterns of `ignore` cannot be used: .*No such file"):
        added(image)
    (tree / "ignore").write_text("deep\n.hidden\n")
    assert names(image) == ["x/b.txt"]


def test_links_and_what_is_no_file(tree: Path) -> None:
    data = tree / "data"
    (data / "file-link").symlink_to("../a.py")
    (data / "folder-link").symlink_to("deep")
    (data / "nowhere").symlink_to("missing")
    (data / "self").symlink_to("self")
    os.mkfifo(data / "pipe")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(data / "socket"))
    with pytest.warns(UserWarning, match="left out what is no file") as caught:
        found = added(slim().add_local_dir("data", "/x", ignore=["deep", ".hidden"]))
    listener.close()
    assert [path for path, *_ in found.entries] == ["x/b.txt", "x/file-link"]
    for name in ("folder-link", "nowhere", "self", "pipe", "socket"):
        assert f"/{name}'" in str(caught[0].message)


def test_modes_and_names_of_bytes(tree: Path) -> None:
    (tree / "data" / "b.txt").chmod(0o700)
    name = os.fsdecode(b"caf\xe9")
    (tree / "data" / name).write_text("x")
    found = {path: executable for path, executable, *_ in added(slim().add_local_dir("data", "/x")).entries}
    assert found["x/b.txt"]
    assert not found[f"x/{name}"]


def test_the_same_content_is_named_once(tree: Path) -> None:
    (tree / "data" / "copy").write_text("data/b.txt")
    found = added(slim().add_local_dir("data", "/x", ignore=["deep", ".hidden"]))
    assert [path for path, *_ in found.entries] == ["x/b.txt", "x/copy"]
    assert len(found.local) == 1


def test_python_source_as_python_finds_it(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tree)
    monkeypatch.delitem(sys.modules, "bundle", raising=False)  # looking for what is in a package imports it
    for path in ("__init__.py", "sub/mod.py", "data.json", "__pycache__/x.py", ".venv/y.py"):
        name = f"bundle/{path}"
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text("")
    assert names(slim().add_local_python_source("a")) == ["root/a.py"]
    whole = ["root/bundle/__init__.py", "root/bundle/sub/mod.py"]
    assert names(slim().add_local_python_source("a", "bundle")) == ["root/a.py", *whole]
    assert names(slim().add_local_python_source("bundle", ignore=["sub"])) == [
        "root/bundle/__init__.py",
        "root/bundle/data.json",
    ]
    assert names(slim().add_local_python_source("bundle.sub.mod")) == ["root/bundle/sub/mod.py"]


CANNOT: list[tuple[Callable[[], Image], str]] = [
    (
        lambda: slim().add_local_file("a.py", "b.py"),
        "the remote path must be absolute, such as '/root/data', not 'b.py'",
    ),
    (lambda: slim().add_local_dir("data", "data"), "add_local_dir: the remote path must be absolute"),
    (lambda: slim().add_local_dir("data", 5), "the remote path must be absolute"),  # type: ignore[arg-type]
    (lambda: slim().add_local_dir("", "/x"), "the local path must be a string or a Path, not ''"),
    (lambda: slim().add_local_file(None, "/x"), "the local path must be"),  # type: ignore[arg-type]
    (
        lambda: slim().add_local_dir("data", "/x", ignore="*.py"),
        "must be a list of patterns or a callable, not '\\*.py'",
    ),
    (lambda: slim().add_local_python_source(), "takes names of modules"),
    (lambda: slim().add_local_python_source(5), "takes names of modules"),  # type: ignore[arg-type]
    (
        lambda: slim().add_local_file("missing", "/x"),
        "there is no local file 'missing' \\(that is '/.*missing'\\); relative",
    ),
    (lambda: slim().add_local_dir("missing", "/x"), "there is no local directory 'missing'"),
    (lambda: slim().add_local_file("data", "/x"), "'data' .* is no file; add_local_dir adds directories"),
    (lambda: slim().add_local_dir("a.py", "/x"), "'a.py' .* is no directory; add_local_file adds files"),
    (lambda: slim().add_local_dir("data", "/x", ignore=["!"]), 'the patterns of `ignore` cannot be used: "!" alone'),
    (lambda: slim().add_local_python_source("no_such_module"), "there is no module 'no_such_module' here"),
    (lambda: slim().add_local_python_source("no_such.sub"), "looking for the module 'no_such.sub' failed"),
    (lambda: slim().add_local_python_source("sys"), "the module 'sys' is no Python file"),
]


@pytest.mark.parametrize(("make", "text"), CANNOT)
@pytest.mark.usefixtures("tree")
def test_what_cannot_be_added(make: Callable[[], Image], text: str) -> None:
    with pytest.raises(InvalidError, match=text):
        added(make())


@pytest.mark.usefixtures("tree")
def test_what_may_not_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str, *_: object) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    monkeypatch.setattr(os, "open", refuse)  # root may read everything, so a mode would not do
    with pytest.raises(InvalidError, match=r"/data/.*' cannot be read: Permission denied; make it readable, or leave"):
        added(slim().add_local_dir("data", "/x"))


def test_nothing_is_looked_at_before_it_is_needed() -> None:
    """A container runs these lines too, and has none of these files."""
    slim().add_local_file("missing", "/x").add_local_dir("missing", "/x").add_local_python_source("missing")


def test_a_build_step_after_attached_files_is_refused() -> None:
    image = slim().add_local_python_source("a").add_local_dir("data", "/x")
    steps: list[Callable[[], Image]] = [
        lambda: image.pip_install("x"),
        lambda: image.add_local_file("a", "/x", copy=True),
    ]
    for step in steps:
        with pytest.raises(
            InvalidError, match=r"move `add_local_python_source a` to the end .* image with `copy=True`"
        ):
            step()


@pytest.mark.usefixtures("tree")
def test_a_copy_is_a_step_that_names_the_set() -> None:
    image = slim().add_local_dir("data", "/x", copy=True).pip_install("y")
    step = image.steps[1]
    assert step == {"op": "add_files", "files": added(image).id, "words": "add_local_dir /x"}
    assert image.attached == ()


@pytest.mark.usefixtures("tree")
def test_the_older_names_copy_and_warn_once() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        file, _ = [slim().copy_local_file("a.py") for _ in range(2)]
        folder = slim().copy_local_dir("data/deep", "sub")
    assert [str(each.message) for each in caught] == [
        "`Image.copy_local_file(…)` is now `Image.add_local_file(…, copy=True)`; accepted for compatibility",
        "`Image.copy_local_dir(…)` is now `Image.add_local_dir(…, copy=True)`; accepted for compatibility",
    ]
    assert all(issubclass(each.category, DeprecationError) and each.filename == __file__ for each in caught)
    assert (names(file), names(folder)) == (["root/a.py"], ["root/sub/c.log", "root/sub/d.py"])
    assert file.attached == ()
