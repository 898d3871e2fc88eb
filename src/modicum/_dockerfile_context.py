"""Which local files does a `COPY` of a Dockerfile mean? Those of its context that match, under the names they get."""

from __future__ import annotations

import os
import posixpath
import re

from modicum import _files
from modicum._local_files import Ignored
from modicum.exception import InvalidError
from modicum.file_pattern_matcher import FilePatternMatcher

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from typing import Any

    from modicum._files import FileSet, Pair
    from modicum.file_pattern_matcher import Ignore

METHOD = "dockerfile_commands"


class Context:
    """The files below a directory, but for what is ignored, and those of `files`: path in the context → local path.

    Sets that were read are added to `uploads`.
    """

    def __init__(
        self, folder: str | Path | None, files: Mapping[str, str], ignore: Ignore | None, uploads: dict[str, FileSet]
    ) -> None:
        self._folder = os.path.abspath(os.path.expanduser(folder or "."))
        self._files = {_inside(path): os.path.expanduser(local) for path, local in files.items()}
        self._ignore = ignore
        self._uploads = uploads

    def copy(self, words: str, sources: list[str], target: str) -> dict[str, Any]:
        """Return the step that copies what matches `sources` to `target`, a directory if it ends with a slash.

        Raises `InvalidError` for a source that there is not.
        """
        pairs: list[Pair] = []
        for source in sources:
            found = list(self._matching(_inside(source), target, len(sources) > 1))
            if not found:
                raise InvalidError(
                    f"{METHOD}: `{words}` finds no {source!r} in {self._folder!r}; the context is `context_dir`, by "
                    "default the current directory, without what its .dockerignore names"
                )
            pairs += found
        files = _files.read(pairs, f"{METHOD} {words}")
        self._uploads[files.id] = files
        return {"op": "add_files", "files": files.id, "words": words}

    def _matching(self, source: str, target: str, is_one_of_many: bool) -> Iterator[Pair]:
        """Yield the files of one source: itself, or all that is in it if it is a directory."""
        remote = posixpath.normpath(target).strip("/")
        into = target.endswith("/") or is_one_of_many or _is_pattern(source)
        expression = re.compile(_expression(source))
        for path, local in self._all():
            match = expression.fullmatch(path)
            if match is None:
                continue
            if match["below"] is not None:
                yield posixpath.join(remote, match["below"]), local
            else:
                yield (posixpath.join(remote, posixpath.basename(path)) if into else remote), local

    def _all(self) -> Iterator[tuple[str, str]]:
        """Yield path in the context and local path of every file of it."""
        for path, local in self._files.items():
            if os.path.isdir(local):
                yield from ((posixpath.join(path, name), os.path.join(local, name)) for name in _everything(local))
            else:
                yield path, _files.check_file(local, METHOD)
        leaves_out, prunes = Ignored(self._patterns(), METHOD).ready(METHOD)
        if os.path.isdir(self._folder):
            for path in _files.tree(self._folder, prunes, leaves_out):
                yield path, os.path.join(self._folder, path)

    def _patterns(self) -> Ignore:
        if self._ignore is not None:
            return self._ignore
        listed = os.path.join(self._folder, ".dockerignore")
        return FilePatternMatcher.from_file(listed) if os.path.exists(listed) else []


def _everything(folder: str) -> Iterator[str]:
    return _files.tree(folder, lambda path: False, lambda path: False)


def _inside(path: str) -> str:
    """Return a path relative to the context; nothing leads out of it."""
    return posixpath.normpath("/" + path).strip("/")


def _is_pattern(source: str) -> bool:
    return any(character in source for character in "*?[")


def _expression(source: str) -> str:
    """Return what matches the source itself, and what is below it."""
    if not source:
        return "(?P<below>.*)"
    wild = {"*": "[^/]*", "?": "[^/]"}
    pieces = re.split(r"(\*|\?|\[[^\]]+\])", source)
    text = "".join(wild.get(piece, piece if piece.startswith("[") else re.escape(piece)) for piece in pieces)
    return f"{text}(?:/(?P<below>.*))?"
