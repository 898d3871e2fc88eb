"""Which local files a COPY means."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from modicum._dockerfile_context import Context
from modicum._files import FileSet
from modicum.exception import InvalidError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("one.txt", "two.txt", "key.env", "data/a.txt", "data/sub/b.txt", "data2/c.txt"):
        path = tmp_path / "context" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (tmp_path / "extra").write_text("extra")
    return tmp_path / "context"


def copied(folder: Path, sources: list[str], target: str, ignore: Sequence[str] | None = None) -> list[str]:
    uploads: dict[str, FileSet] = {}
    context = Context(folder, {"/.extra": str(folder.parent / "extra")}, ignore, uploads)
    step = context.copy("COPY", sources, target)
    assert step == {"op": "add_files", "files": step["files"], "words": "COPY"}
    return [entry[0] for entry in uploads[step["files"]].entries]


@pytest.mark.parametrize(
    ("sources", "target", "found"),
    [
        (["one.txt"], "/x", ["x"]),
        (["./one.txt"], "/x/", ["x/one.txt"]),
        (["one.txt", "/two.txt"], "/x", ["x/one.txt", "x/two.txt"]),
        (["*.txt"], "/x", ["x/one.txt", "x/two.txt"]),
        (["[o]ne.tx?"], "/", ["one.txt"]),
        (["data"], "/x", ["x/a.txt", "x/sub/b.txt"]),
        (["data*"], "/x", ["x/a.txt", "x/c.txt", "x/sub/b.txt"]),
        (["/.extra"], "/e", ["e"]),
        (["../../one.txt"], "/x", ["x"]),
    ],
)
def test_sources(folder: Path, sources: list[str], target: str, found: list[str]) -> None:
    assert copied(folder, sources, target) == found


def test_everything_but_what_is_ignored(folder: Path) -> None:
    everything = copied(folder, ["."], "/all")
    assert {"all/.extra", "all/key.env", "all/data/sub/b.txt"} <= set(everything)
    assert "all/key.env" not in copied(folder, ["."], "/all", ["*.env"])
    (folder / ".dockerignore").write_text("*.env\n# data\n")
    assert {"all/key.env"} == set(everything) - set(copied(folder, ["."], "/all"))
    assert copied(folder, ["key.env"], "/k", []) == ["k"]  # not even the .dockerignore counts


def test_what_is_not_there_is_named(folder: Path) -> None:
    with pytest.raises(InvalidError, match=r"`COPY` finds no 'nothing' in '.*context'; the context is"):
        copied(folder, ["nothing"], "/x")
