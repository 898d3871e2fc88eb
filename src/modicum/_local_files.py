"""What do the `add_local_…` methods of an image add? It is described here, and read when an app runs."""

from __future__ import annotations

import os

from modicum import _files
from modicum.exception import InvalidError
from modicum.file_pattern_matcher import FilePatternMatcher

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from modicum._files import FileSet, Pair
    from modicum.file_pattern_matcher import Ignore

REMOTE_ROOT = "root"
"""Where Python code goes in a container: `/root`, its working directory."""

BUILD_STEP_AFTER = (
    "no build step can follow local files that are attached when a container starts: move {0} to the end of the "
    "definition of the image, or bake its files into the image with `copy=True`"
)


class LocalFiles:
    """Files of this machine for an image. They are looked at when they are read, not before."""

    def __init__(self, words: str, step: str, pairs: Callable[[], Iterator[Pair]]) -> None:
        self.words = words
        """The call that added them, to people."""
        self.step = step
        """The same without what is different on other machines: it is part of what a layer is known by."""
        self._pairs = pairs
        self._found: FileSet | None = None

    def read(self) -> FileSet:
        """Read the files as they are now. Raises `InvalidError` if that is not possible."""
        self._found = _files.read(self._pairs(), self.words)
        return self._found

    @property
    def found(self) -> FileSet:
        """The files as they were when they were last read."""
        return self._found or self.read()


class Baked:
    """A build step that copies local files into the image."""

    def __init__(self, files: LocalFiles) -> None:
        self.files = files

    def __call__(self, so_far: object) -> list[dict[str, object]]:
        """Return the step as it is sent."""
        return [{"op": "add_files", "files": self.files.found.id, "words": self.files.step}]


def file(local_path: str | Path, remote_path: str) -> LocalFiles:
    """Describe one file. Raises `InvalidError` for paths that cannot be."""
    local = _local(local_path, "add_local_file")
    remote = _remote(remote_path, "add_local_file")
    if remote_path.endswith("/"):
        remote = os.path.join(remote, os.path.basename(os.path.abspath(local)))
    words = f"add_local_file {local} /{remote}"
    if not remote:
        raise InvalidError(f"{words}: name the file in the container, such as '/data.json'")
    return LocalFiles(words, f"add_local_file /{remote}", lambda: iter([(remote, _files.check_file(local, words))]))


def folder(local_path: str | Path, remote_path: str, ignore: Ignore) -> LocalFiles:
    """Describe the files of a directory. Raises `InvalidError` for paths or patterns that cannot be."""
    local = _local(local_path, "add_local_dir")
    remote = _remote(remote_path, "add_local_dir")
    ignored = Ignored(ignore, "add_local_dir")
    words = f"add_local_dir {local} /{remote}"

    def pairs() -> Iterator[Pair]:
        absolute = _files.check_folder(local, words)
        leaves_out, prunes = ignored.ready(words)
        for path in _files.tree(absolute, prunes, leaves_out):
            yield (f"{remote}/{path}" if remote else path), f"{absolute}/{path}"

    return LocalFiles(words, f"add_local_dir /{remote}", pairs)


def python_source(modules: tuple[str, ...], ignore: Ignore) -> LocalFiles:
    """Describe modules and packages as Python finds them here. Raises `InvalidError` for what is no name or pattern."""
    if not modules or not all(isinstance(name, str) and name for name in modules):
        raise InvalidError(f"add_local_python_source takes names of modules, such as 'my_module', not {modules!r}")
    ignored = Ignored(ignore, "add_local_python_source")
    words = f"add_local_python_source {' '.join(modules)}"

    def pairs() -> Iterator[Pair]:
        leaves_out, _ = ignored.ready(words)
        for name in modules:
            yield from _module(name, leaves_out, words)

    return LocalFiles(words, words, pairs)


def _module(name: str, ignored: Callable[[str], bool], words: str) -> Iterator[Pair]:
    import importlib.util

    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError) as error:
        raise InvalidError(f"{words}: looking for the module {name!r} failed: {error}") from None
    if spec is None:
        raise InvalidError(
            f"{words}: there is no module {name!r} here; it must be importable where the program is started"
        )
    *parents, last = name.split(".")
    if spec.submodule_search_locations is not None:
        for location in spec.submodule_search_locations:
            yield from package(location, "/".join([REMOTE_ROOT, *parents, last]), ignored)
    elif spec.origin is not None and spec.origin.endswith(".py") and os.path.isfile(spec.origin):
        yield "/".join([REMOTE_ROOT, *parents, os.path.basename(spec.origin)]), os.path.abspath(spec.origin)
    else:
        raise InvalidError(f"{words}: the module {name!r} is no Python file ({spec.origin or 'it has no file'})")


def package(location: str, remote: str, ignored: Callable[[str], bool] | None = None) -> Iterator[Pair]:
    """Yield the files of a package; nothing hidden, and nothing that Python compiled."""

    def is_byproduct(path: str) -> bool:
        name = os.path.basename(path)
        return name.startswith(".") or name == "__pycache__" or name.endswith(".pyc")

    location = os.path.abspath(location)
    for path in _files.tree(location, is_byproduct, is_byproduct):
        if ignored is None or not ignored(path):
            yield f"{remote}/{path}", os.path.join(location, path)


class Ignored:
    """What `ignore=` says of a path. A file of patterns is read when files are: in a container it is not there."""

    def __init__(self, ignore: Ignore, method: str) -> None:
        if not callable(ignore):
            if not isinstance(ignore, (list, tuple)) or not all(isinstance(pattern, str) for pattern in ignore):
                raise InvalidError(f"{method}: `ignore` must be a list of patterns or a callable, not {ignore!r}")
            ignore = FilePatternMatcher(*ignore)
        self._ignore = ignore

    def ready(self, words: str) -> tuple[Callable[[str], bool], Callable[[str], bool]]:
        """Return which files to leave out, and which directories not to enter. Raises `InvalidError`."""
        can_prune = getattr(self._ignore, "can_prune_directories", None)
        try:
            prunes = can_prune is not None and can_prune()
        except (OSError, ValueError) as error:
            raise InvalidError(f"{words}: the patterns of `ignore` cannot be used: {error}") from None
        return self._leaves_out, self._leaves_out if prunes else lambda path: False

    def _leaves_out(self, path: str) -> bool:
        if isinstance(self._ignore, FilePatternMatcher):
            return self._ignore.matches(path)
        from pathlib import Path

        return bool(self._ignore(Path(path)))


def _local(path: str | Path, method: str) -> str:
    if not isinstance(path, (str, os.PathLike)) or not os.fspath(path):
        raise InvalidError(f"{method}: the local path must be a string or a Path, not {path!r}")
    return os.fspath(path)


def _remote(path: str, method: str) -> str:
    """Return a path of a container relative to its root. Raises `InvalidError` unless it is an absolute one."""
    import posixpath

    text = os.fspath(path) if isinstance(path, os.PathLike) else path
    if not isinstance(text, str) or not text.startswith("/"):
        raise InvalidError(f"{method}: the remote path must be absolute, such as '/root/data', not {path!r}")
    return posixpath.normpath(text).strip("/")
