"""What an image is: an immutable list of steps that a node turns into layers.

An `Image` describes; nothing is built until an app that uses it runs. Each method returns a new image with one more
step, and each step becomes one layer, cached by what it says and by the steps before it.

Adding a step takes a method here that appends a `_Step`, and a class of the same `op` in `node/images/steps.py`.
"""

from __future__ import annotations

import sys

from modicum.file_pattern_matcher import NON_PYTHON_FILES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any

    from modicum._local_files import LocalFiles
    from modicum.file_pattern_matcher import Ignore

    Step = dict[str, Any]
    _Step = Callable[[], Step]

PYTHON_VERSIONS = ("3.11", "3.12", "3.13", "3.14")


class Image:
    """A container image: a base and what is installed on it.

    Start from a class method, then chain:

        image = modicum.Image.debian_slim(python_version="3.12").pip_install("numpy", "pandas")
    """

    __slots__ = ("_attached", "_steps")

    def __init__(self, *args: object, **kwargs: object) -> None:
        raise _invalid("An Image is made by a class method, such as `Image.debian_slim()`.")

    @property
    def steps(self) -> list[Step]:
        """The steps as they are sent to the server; files that they name are read now.

        Raises `InvalidError` if a file is missing or this Python has no image of its own version.
        """
        return [step() for step in self._steps]

    @classmethod
    def debian_slim(cls, python_version: str | None = None, force_build: bool = False) -> Image:
        """Start from Debian with CPython, a C, C++ and Fortran compiler and make.

        `python_version` is a minor version such as "3.12"; by default that of this interpreter. `force_build` builds
        it anew even if it is there. Raises `InvalidError` for a version that no image can be made of.
        """
        if python_version is not None and not isinstance(python_version, str):
            raise TypeError(f"The `python_version` argument must be a string like '3.12', not {python_version!r}.")
        if python_version is not None:
            _check_python_version(python_version)
        return _make((_debian_slim(python_version, force_build),))

    def pip_install(
        self,
        *packages: str | list[str],
        find_links: str | None = None,
        index_url: str | None = None,
        extra_index_url: str | None = None,
        pre: bool = False,
        extra_options: str = "",
        force_build: bool = False,
        env: dict[str, str | None] | None = None,
    ) -> Image:
        """Install Python packages with pip.

        `packages` are requirements, singly or in lists. `find_links`, `index_url`, `extra_index_url` and `pre` are
        pip's options, `extra_options` is appended to its command line. `env` is set while the step runs only.
        Raises `InvalidError` for a package that is no string or begins with a dash.
        """
        names = _packages("pip_install", packages)
        if not names:
            return self
        step = {
            **_index_options(find_links, index_url, extra_index_url, pre, extra_options),
            **_common("pip_install", force_build, env),
        }
        return self._then(lambda: {"op": "pip_install", "packages": names, **step})

    def uv_pip_install(
        self,
        *packages: str | list[str],
        requirements: list[str] | None = None,
        find_links: str | None = None,
        index_url: str | None = None,
        extra_index_url: str | None = None,
        pre: bool = False,
        extra_options: str = "",
        force_build: bool = False,
        uv_version: str | None = None,
        env: dict[str, str | None] | None = None,
    ) -> Image:
        """Install Python packages with uv, which is several times faster than pip.

        `requirements` are paths of local requirements files. `uv_version` runs that release of uv instead of the
        node's. All else is as in `pip_install`, with uv's meaning.
        """
        names = _packages("uv_pip_install", packages)
        if requirements is not None and not _is_str_list(requirements):
            raise _invalid("uv_pip_install: `requirements` must be a list of paths.")
        if not names and not requirements:
            return self
        if uv_version is not None and not isinstance(uv_version, str):
            raise _invalid(f"uv_pip_install: `uv_version` must be a string, not {uv_version!r}.")
        files = list(requirements or [])
        step = {
            **_index_options(find_links, index_url, extra_index_url, pre, extra_options),
            **({"uv_version": uv_version} if uv_version else {}),
            **_common("uv_pip_install", force_build, env),
        }

        def complete() -> Step:
            read = {"requirements": [_read_text(path) for path in files]} if files else {}
            return {"op": "uv_pip_install", "packages": names, **read, **step}

        return self._then(complete)

    def add_local_file(self, local_path: str | Path, remote_path: str, *, copy: bool = False) -> Image:
        """Add a file of this machine at the absolute `remote_path`; one that ends in "/" is the directory to put it in.

        It is attached when a container starts, so a change of it builds nothing anew, and no build step can follow.
        With `copy` it becomes part of the image. A relative `local_path` starts at the working directory.
        """
        from modicum import _local_files

        return self._add_files(_local_files.file(local_path, remote_path), copy)

    def add_local_dir(
        self,
        local_path: str | Path,
        remote_path: str,
        *,
        copy: bool = False,
        ignore: Ignore = [],  # noqa: B006 - it is only read
    ) -> Image:
        """Add the files of a directory of this machine below the absolute `remote_path`, as `add_local_file` does.

        `ignore` says what to leave out: patterns as in a `.dockerignore`, or a callable that gets paths relative to the
        directory, such as a `FilePatternMatcher`. Links to files are added as files, links to directories are left out.
        """
        from modicum import _local_files

        return self._add_files(_local_files.folder(local_path, remote_path, ignore), copy)

    def add_local_python_source(self, *modules: str, copy: bool = False, ignore: Ignore = NON_PYTHON_FILES) -> Image:
        """Add modules or packages, by the names under which this machine imports them, so that containers can too.

        They go to `/root`, as `add_local_file` does it. Without `ignore` only Python files are added.
        """
        from modicum import _local_files

        return self._add_files(_local_files.python_source(modules, ignore), copy)

    def copy_local_file(self, local_path: str | Path, remote_path: str = "./") -> Image:
        """The older name of `add_local_file(…, copy=True)`; a relative `remote_path` starts at /root."""
        _warn_renamed("copy_local_file", "add_local_file(…, copy=True)")
        return self.add_local_file(local_path, _below_root(remote_path), copy=True)

    def copy_local_dir(
        self,
        local_path: str | Path,
        remote_path: str = ".",
        ignore: Ignore = [],  # noqa: B006 - it is only read
    ) -> Image:
        """The older name of `add_local_dir(…, copy=True)`; a relative `remote_path` starts at /root."""
        _warn_renamed("copy_local_dir", "add_local_dir(…, copy=True)")
        return self.add_local_dir(local_path, _below_root(remote_path), copy=True, ignore=ignore)

    @property
    def attached(self) -> tuple[LocalFiles, ...]:
        """The local files that are attached when a container starts, the lowest first."""
        return self._attached

    @property
    def local_files(self) -> list[LocalFiles]:
        """All local files that the image is made of, those of its build steps first."""
        from modicum._local_files import Baked

        return [*(step.files for step in self._steps if isinstance(step, Baked)), *self._attached]

    def __repr__(self) -> str:
        return f"Image({len(self._steps)} steps)"

    def _then(self, step: _Step) -> Image:
        if self._attached:
            from modicum._local_files import BUILD_STEP_AFTER

            raise _invalid(BUILD_STEP_AFTER.format(f"`{self._attached[0].words}`"))
        return _make((*self._steps, step))

    def _add_files(self, files: LocalFiles, copy: bool) -> Image:
        from modicum._local_files import Baked

        return self._then(Baked(files)) if copy else _make(self._steps, (*self._attached, files))

    _steps: tuple[_Step, ...]
    _attached: tuple[LocalFiles, ...]


def _make(steps: tuple[_Step, ...], attached: tuple[LocalFiles, ...] = ()) -> Image:
    image = object.__new__(Image)
    image._steps = steps
    image._attached = attached
    return image


def _warn_renamed(old: str, new: str) -> None:
    import warnings

    from modicum.exception import DeprecationError

    warnings.warn(f"Image.{old} has another name now: {new}", DeprecationError, stacklevel=3)


def _below_root(path: str) -> str:
    import posixpath

    joined = posixpath.join("/root", path)
    return posixpath.normpath(joined) + ("/" if path.endswith("/") else "")


def _debian_slim(python_version: str | None, force_build: bool) -> _Step:
    """The local version is looked at only when the steps are needed: a container that imports the user's module may run
    a Python of which no image could be made.
    """

    def complete() -> Step:
        version = python_version or "{}.{}".format(*sys.version_info[:2])
        _check_python_version(version)
        return {"op": "debian_slim", "python": version, **({"force_build": True} if force_build else {})}

    return complete


def _check_python_version(version: str) -> None:
    if version not in PYTHON_VERSIONS:
        known = ", ".join(PYTHON_VERSIONS)
        raise _invalid(f"There is no image with Python {version!r}; `python_version` can be one of {known}.")


def _packages(method: str, packages: tuple[str | list[str], ...]) -> list[str]:
    names: list[str] = []
    for package in packages:
        if isinstance(package, str):
            names.append(package)
        elif _is_str_list(package):
            names += package
        else:
            raise _invalid(f"{method}: packages must be strings or lists of strings, not {package!r}.")
    option = next((name for name in names if name.startswith("-")), None)
    if option is not None:
        raise _invalid(f"{method}: {option!r} is an option, not a package; pass it in `extra_options`.")
    return sorted(names)  # the order means nothing to the installer, so it does not change the layer's identity


def _index_options(
    find_links: str | None, index_url: str | None, extra_index_url: str | None, pre: bool, extra_options: str
) -> Step:
    options = {
        "find_links": find_links,
        "index_url": index_url,
        "extra_index_url": extra_index_url,
        "extra_options": extra_options,
    }
    for name, value in options.items():
        if value is not None and not isinstance(value, str):
            raise _invalid(f"`{name}` must be a string, not {value!r}.")
    _check_shell_words(extra_options)
    return {**{name: value for name, value in options.items() if value}, **({"pre": True} if pre else {})}


def _check_shell_words(text: str) -> None:
    import shlex

    try:
        shlex.split(text)
    except ValueError as error:
        raise _invalid(f"`extra_options` {text!r} cannot be split into words: {error}.") from None


def _common(method: str, force_build: bool, env: dict[str, str | None] | None) -> Step:
    variables = {name: value for name, value in (env or {}).items() if value is not None}
    if not all(isinstance(text, str) for pair in variables.items() for text in pair):
        raise _invalid(f"{method}: `env` must map strings to strings.")
    return {**({"env": variables} if variables else {}), **({"force_build": True} if force_build else {})}


def _is_str_list(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _read_text(path: str) -> str:
    import os

    try:
        with open(os.path.expanduser(path), encoding="utf-8") as file:
            return file.read()
    except OSError as error:
        raise _invalid(f"The requirements file {path!r} cannot be read: {error.strerror}.") from None


def _invalid(message: str) -> Exception:
    from modicum.exception import InvalidError

    return InvalidError(message)
