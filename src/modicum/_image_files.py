"""How files of this machine get into an image: the `add_local_…` methods of `Image`."""

from __future__ import annotations

from modicum.file_pattern_matcher import NON_PYTHON_FILES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

    from modicum._local_files import LocalFiles
    from modicum.file_pattern_matcher import Ignore
    from modicum.image import Image, Resolve


class Files:
    """What `Image` inherits."""

    __slots__ = ()

    if TYPE_CHECKING:

        def _then_resolved(self, resolve: Resolve) -> Image: ...
        def _then_attached(self, files: LocalFiles) -> Image: ...

    def add_local_file(self, local_path: str | Path, remote_path: str, *, copy: bool = False) -> Image:
        """Add a file of this machine at the absolute `remote_path`; one that ends in "/" is the directory to put it in.

        It is attached when a container starts, so a change of it builds nothing anew, and no build step can follow.
        With `copy` it becomes part of the image. A relative `local_path` starts at the working directory.
        """
        from modicum import _local_files

        return self._add(_local_files.file(local_path, remote_path), copy)

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

        return self._add(_local_files.folder(local_path, remote_path, ignore), copy)

    def add_local_python_source(self, *modules: str, copy: bool = False, ignore: Ignore = NON_PYTHON_FILES) -> Image:
        """Add modules or packages, by the names under which this machine imports them, so that containers can too.

        They go to `/root`, as `add_local_file` does it. Without `ignore` only Python files are added.
        """
        from modicum import _local_files

        return self._add(_local_files.python_source(modules, ignore), copy)

    def copy_local_file(self, local_path: str | Path, remote_path: str | Path = "./") -> Image:
        """The older name of `add_local_file(…, copy=True)`; a relative `remote_path` starts at /root."""
        _warn_renamed("copy_local_file", "add_local_file")
        return self.add_local_file(local_path, _below_root(remote_path), copy=True)

    def copy_local_dir(
        self,
        local_path: str | Path,
        remote_path: str | Path = ".",
        ignore: Ignore = [],  # noqa: B006 - it is only read
    ) -> Image:
        """The older name of `add_local_dir(…, copy=True)`; a relative `remote_path` starts at /root."""
        _warn_renamed("copy_local_dir", "add_local_dir")
        return self.add_local_dir(local_path, _below_root(remote_path), copy=True, ignore=ignore)

    def _add(self, files: LocalFiles, copy: bool) -> Image:
        return self._then_resolved(files.resolve) if copy else self._then_attached(files)


def _warn_renamed(old: str, new: str) -> None:
    import warnings

    from modicum.exception import DeprecationError

    warnings.warn(f"Image.{old} has another name now: Image.{new}(…, copy=True)", DeprecationError, stacklevel=3)


def _below_root(path: str | Path) -> str:
    import posixpath

    joined = posixpath.join("/root", str(path))
    return posixpath.normpath(joined) + ("/" if str(path).endswith(("/", "./")) else "")
