"""What an image is: an immutable list of steps that a node turns into layers.

An `Image` describes; nothing is built until an app that uses it runs. Each method returns a new image with one more
step, and each step becomes one layer, cached by what it says and by the steps before it.

The methods that install Python packages are in `_image_packages.py`. Adding a step takes a method, what it sends in
`_image_steps.py`, and its command in `node/images/steps.py`.
"""

from __future__ import annotations

import sys

from modicum._image_packages import Packages
from modicum._missing import Explained
from modicum.file_pattern_matcher import NON_PYTHON_FILES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from contextlib import AbstractContextManager
    from os import PathLike
    from pathlib import Path
    from typing import Any, Concatenate, ParamSpec

    from modicum._building import BuildNow
    from modicum._files import FileSet
    from modicum._local_files import LocalFiles
    from modicum.file_pattern_matcher import Ignore

    P = ParamSpec("P")
    Env = Mapping[str, "str | None"]
    Step = dict[str, Any]
    Resolve = Callable[["Resolution"], list[Step]]
    """Returns a step, as one or more that are sent, when those before it are in the resolution."""

PYTHON_VERSIONS = ("3.11", "3.12", "3.13", "3.14")


class Resolution:
    """What is sent of an image: its steps, and the files of the program that they run, by id."""

    __slots__ = ("steps", "uploads")

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.uploads: dict[str, FileSet] = {}

    def force(self) -> None:
        """Have every layer built anew."""
        self.steps = [s if s["op"] == "configure" else {**s, "force_build": True} for s in self.steps]


class Image(Explained, Packages):
    """A container image: a base and what is installed on it.

    Start from a class method, then chain:

        image = modicum.Image.debian_slim(python_version="3.12").pip_install("numpy", "pandas")

    What the methods share: `env` is set while the step runs only; `force_build` makes the step's layer anew even if it
    is there, and whoever has the same step then gets the new one. `secrets` are variables that only the step sees; it
    runs again when they change. `volumes` and `gpu` are not there yet. All raise `InvalidError` for arguments that
    cannot work.
    """

    __slots__ = ("_attached", "_failed_imports", "_object_id", "_steps")

    def __init__(self, *args: object, **kwargs: object) -> None:
        raise _invalid("An Image is made by a class method, such as `Image.debian_slim()`.")

    @property
    def steps(self) -> list[Step]:
        """The steps as they are sent to the server; files that they name are read now.

        Raises `InvalidError` if a file is missing or this Python has no image of its own version.
        """
        return self.resolve().steps

    def resolve(self) -> Resolution:
        """Return the steps, and what must be with the server before they are built. Raises as `steps` does."""
        from modicum import config

        resolution = Resolution()
        for resolve in self._steps:
            resolution.steps += resolve(resolution)
        if config.flag("FORCE_BUILD"):
            resolution.force()
        return resolution

    @property
    def object_id(self) -> str:
        """The image's id, `im-…`. Raises `ExecutionError` before it was built."""
        if self._object_id is None:
            from modicum.exception import ExecutionError

            raise ExecutionError("this Image has not been built; call `.build()`, or run an app that uses it")
        return self._object_id

    @property
    def build(self) -> BuildNow:
        """Build the image now, unless it is there, and return it: `image.build()`, or `await image.build.aio()`.

        What the build prints goes to the output of `app`, which must run, or else to that of an app of its own.
        Raises `ImageBuildError` if it cannot be built.
        """
        from modicum._building import BuildNow

        return BuildNow(self)

    def set_built(self, object_id: str) -> None:
        """Note under which id the server has the image."""
        self._object_id = object_id

    # -- bases ---------------------------------------------------------------------------------------------

    @classmethod
    def debian_slim(cls, python_version: str | None = None, force_build: bool = False) -> Image:
        """Start from Debian with CPython, a C, C++ and Fortran compiler and make.

        `python_version` is a minor version such as "3.12"; by default that of this interpreter. Raises `InvalidError`
        for a version that no image can be made of.
        """
        if python_version is not None and not isinstance(python_version, str):
            raise TypeError(f"The `python_version` argument must be a string like '3.12', not {python_version!r}.")
        if python_version is not None:
            _check_python_version(python_version)
        return _make((_debian_slim(python_version, force_build),))

    # -- the system ----------------------------------------------------------------------------------------

    def apt_install(
        self,
        *packages: str | list[str],
        force_build: bool = False,
        env: Env | None = None,
        secrets: Collection[object] | None = None,
        gpu: str | None = None,
    ) -> Image:
        """Install Debian packages, such as "git" or "libpq-dev"."""
        from modicum import _image_steps as made

        names = made.packages("apt_install", packages)
        common = made.common("apt_install", force_build, env, secrets=secrets, gpu=gpu)
        return self._then({"op": "apt_install", "packages": names, **common}) if names else self

    def run_commands(
        self,
        *commands: str | list[str],
        env: Env | None = None,
        secrets: Collection[object] | None = None,
        volumes: Mapping[Any, object] | None = None,
        gpu: str | None = None,
        force_build: bool = False,
    ) -> Image:
        """Run shell commands, each in a shell of its own, until one fails.

        They run as root in the image's working directory and environment, by the shell that `shell` has set.
        """
        from modicum import _image_steps as made

        lines = made.flat("run_commands", "commands", commands)
        common = made.common("run_commands", force_build, env, secrets=secrets, volumes=volumes, gpu=gpu)
        return self._then({"op": "run_commands", "commands": lines, **common}) if lines else self

    def dockerfile_commands(
        self,
        *dockerfile_commands: str | list[str],
        context_files: Mapping[str, str] | None = None,
        env: Env | None = None,
        secrets: Collection[object] | None = None,
        gpu: str | None = None,
        context_dir: Path | str | None = None,
        force_build: bool = False,
        ignore: Ignore | None = None,
        build_args: Mapping[str, str] | None = None,
    ) -> Image:
        """Extend the image with the lines of a Dockerfile, all but `FROM`.

        `COPY` and `ADD` take files from `context_dir`, by default the current directory, or from `context_files`: path
        in the context → local path. `ignore` are patterns of files in it that are left out, by default those of its
        .dockerignore. `build_args` are the values of `ARG`s.
        """
        from modicum import _image_steps as made

        lines = made.flat("dockerfile_commands", "dockerfile_commands", dockerfile_commands)
        common = made.common("dockerfile_commands", force_build, env, secrets=secrets, gpu=gpu)
        files = made.mapping("dockerfile_commands", "context_files", context_files)
        arguments = made.mapping("dockerfile_commands", "build_args", build_args)

        def resolve(so_far: Resolution) -> list[Step]:
            from modicum import _dockerfile
            from modicum._dockerfile_context import Context

            context = Context(context_dir, files, ignore, so_far.uploads)
            return _dockerfile.steps(lines, so_far.steps, arguments, common, context.copy)

        return self._then_resolved(resolve) if lines else self

    def run_function(
        self,
        raw_f: Callable[..., Any],
        *,
        env: Env | None = None,
        secrets: Collection[object] | None = None,
        volumes: Mapping[Any, object] | None = None,
        network_file_systems: Mapping[Any, object] | None = None,
        gpu: str | list[str] | None = None,
        cpu: float | None = None,
        memory: int | None = None,
        timeout: int = 60 * 60,
        cloud: str | None = None,
        region: str | Sequence[str] | None = None,
        force_build: bool = False,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        include_source: bool = True,
    ) -> Image:
        """Run a function of this program in a container of the image so far; what it writes becomes a layer.

        It is run again when its source, `args`, `kwargs` or the global variables and functions that it names change.
        `timeout` is in seconds. `cpu`, `memory`, `cloud` and `region` ask for what a build here has anyway. With
        `include_source=False` the program's files are not there, and the function's module must be in the image.
        Its exception is the build's failure.
        """
        from modicum import _build_function
        from modicum import _image_steps as made

        made.refuse("run_function", network_file_systems=network_file_systems)
        function = _build_function.check(raw_f, timeout)
        common = made.common("run_function", force_build, env, secrets=secrets, volumes=volumes, gpu=gpu)

        def resolve(so_far: Resolution) -> list[Step]:
            step = _build_function.step(function, args, kwargs or {}, include_source, so_far.uploads)
            return [{**step, "timeout": timeout, **common}]

        return self._then_resolved(resolve)

    # -- configuration: no layer, no container -------------------------------------------------------------

    def env(self, vars: Mapping[str, str]) -> Image:  # noqa: A002 - the API's name
        """Set environment variables, for the steps that follow and for functions."""
        from modicum import _image_steps as made

        return self._then({"op": "configure", "env": made.variables("env", "vars", vars)})

    def workdir(self, path: str | PathLike[str]) -> Image:
        """Set the working directory, for the steps that follow and for functions; it is made where it is missing."""
        from os import fspath

        text = fspath(path) if hasattr(path, "__fspath__") or isinstance(path, str) else None
        if not isinstance(text, str) or not text:
            raise _invalid(f"workdir: `path` must be the path of a directory in the image, not {path!r}.")
        return self._then({"op": "configure", "workdir": text})

    def entrypoint(self, entrypoint_commands: list[str]) -> Image:
        """Set what containers start with; an empty list clears it.

        It gets the command that is to run as its arguments, and must end with `exec "$@"` for functions to work.
        """
        from modicum import _image_steps as made

        words = made.strings("entrypoint", "entrypoint_commands", entrypoint_commands, is_needed=True)
        return self._then({"op": "configure", "entrypoint": words})

    def cmd(self, cmd: list[str]) -> Image:
        """Set the command that a Sandbox runs by default; functions do not run it."""
        from modicum import _image_steps as made

        return self._then({"op": "configure", "cmd": made.strings("cmd", "cmd", cmd, is_needed=True)})

    def shell(self, shell_commands: list[str]) -> Image:
        """Set the shell by which later commands run, such as `["/bin/bash", "-c"]`."""
        from modicum import _image_steps as made

        words = made.strings("shell", "shell_commands", shell_commands, is_needed=True)
        if not words:
            raise _invalid("shell: `shell_commands` must name a program.")
        return self._then({"op": "configure", "shell": words})

    # -- for programs --------------------------------------------------------------------------------------

    def pipe(self, func: Callable[Concatenate[Image, P], Image], *args: P.args, **kwargs: P.kwargs) -> Image:
        """Return `func(self, *args, **kwargs)`: a recipe of yours in the middle of a chain."""
        return func(self, *args, **kwargs)

    def imports(self) -> AbstractContextManager[None]:
        """Import in the block what only containers of this image have.

            with image.imports():
                import torch

        An `ImportError` is ignored on your own machine and in containers of other images, and raised in containers of
        this one. Any other exception is, where it is ignored, a warning.
        """
        from modicum._imports import imports

        return imports(self._failed_imports)

    @property
    def failed_imports(self) -> Sequence[Exception]:
        """What failed in `imports()` blocks up to now."""
        return self._failed_imports

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
        from modicum._old_names import say

        say("Image.copy_local_file(…)", "Image.add_local_file(…, copy=True)")
        return self.add_local_file(local_path, _below_root(remote_path), copy=True)

    def copy_local_dir(
        self,
        local_path: str | Path,
        remote_path: str = ".",
        ignore: Ignore = [],  # noqa: B006 - it is only read
    ) -> Image:
        """The older name of `add_local_dir(…, copy=True)`; a relative `remote_path` starts at /root."""
        from modicum._old_names import say

        say("Image.copy_local_dir(…)", "Image.add_local_dir(…, copy=True)")
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

    def _then(self, *steps: Step) -> Image:
        return self._then_resolved(lambda _: list(steps)) if steps else self

    def _then_resolved(self, resolve: Resolve) -> Image:
        """Return this image with more steps. `resolve` is called when they are needed: it may read local files."""
        if self._attached:
            from modicum._local_files import BUILD_STEP_AFTER

            raise _invalid(BUILD_STEP_AFTER.format(f"`{self._attached[0].words}`"))
        return _make((*self._steps, resolve))

    def _add_files(self, files: LocalFiles, copy: bool) -> Image:
        from modicum._local_files import Baked

        return self._then_resolved(Baked(files)) if copy else _make(self._steps, (*self._attached, files))

    _steps: tuple[Resolve, ...]
    _attached: tuple[LocalFiles, ...]
    _failed_imports: list[Exception]
    _object_id: str | None


def _make(steps: tuple[Resolve, ...], attached: tuple[LocalFiles, ...] = ()) -> Image:
    image = object.__new__(Image)
    image._steps = steps
    image._attached = attached
    image._failed_imports = []
    image._object_id = None
    return image


def _below_root(path: str) -> str:
    import posixpath

    joined = posixpath.join("/root", path)
    return posixpath.normpath(joined) + ("/" if path.endswith("/") else "")


def _debian_slim(python_version: str | None, force_build: bool) -> Resolve:
    """The local version is looked at only when the steps are needed: a container that imports the user's module may run
    a Python of which no image could be made.
    """

    def resolve(_: Resolution) -> list[Step]:
        version = python_version or "{}.{}".format(*sys.version_info[:2])
        _check_python_version(version)
        return [{"op": "debian_slim", "python": version, **({"force_build": True} if force_build else {})}]

    return resolve


def _check_python_version(version: str) -> None:
    if version not in PYTHON_VERSIONS:
        known = ", ".join(PYTHON_VERSIONS)
        raise _invalid(f"There is no image with Python {version!r}; `python_version` can be one of {known}.")


def _invalid(message: str) -> Exception:
    from modicum.exception import InvalidError

    return InvalidError(message)
