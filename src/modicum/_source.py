"""Which files of the user's program a container needs: the module's own file, or its whole package."""

from __future__ import annotations

import hashlib
import io
import os
import sys
import tarfile

from modicum.exception import InvalidError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType
    from typing import Any

REMOTE_ROOT = "root"
"""Where the source goes in a container: `/root`, its working directory."""


class Source:
    """The files of one module, packed; its id is a hash of its content."""

    def __init__(self, module: str, archive: bytes) -> None:
        self.module = module
        self.archive = archive
        digest = hashlib.sha256(archive).hexdigest()[:32]
        self.blob = f"src-{digest}"
        self.layer = f"la-{digest}"


def of(function: Any) -> Source:
    """Return the source of the module in which `function` is defined.

    Raises `InvalidError` if it has no file, such as in an interactive session.
    """
    module = sys.modules.get(function.__module__)
    file = getattr(module, "__file__", None)
    if module is None or file is None:
        raise InvalidError(
            f"{function.__qualname__!r} is defined in {function.__module__!r}, which has no file that a container "
            "could import; move it to a file or use @app.function(serialized=True)"
        )
    file = os.path.abspath(file)
    name = _name(module, file)
    package = name.partition(".")[0]
    if "." in name or os.path.basename(file) == "__init__.py":
        folder = file
        for _ in range(name.count(".") + (os.path.basename(file) == "__init__.py")):
            folder = os.path.dirname(folder)
        folder = folder if os.path.isdir(folder) else os.path.dirname(folder)
        return Source(name, _pack(_tree(folder, package)))
    return Source(name, _pack([(file, os.path.basename(file))]))


def module_of(function: Any) -> str:
    """Return the name under which a container imports the module of `function`, whose source comes with its image."""
    module = sys.modules[function.__module__]
    file = getattr(module, "__file__", None)
    return module.__name__ if file is None else _name(module, os.path.abspath(file))


def _name(module: ModuleType, file: str) -> str:
    if module.__name__ != "__main__":
        return module.__name__
    if module.__spec__ is not None and module.__spec__.name:  # python -m package.module
        return module.__spec__.name.removesuffix(".__main__")
    return os.path.splitext(os.path.basename(file))[0]


def _tree(folder: str, package: str) -> Iterator[tuple[str, str]]:
    for path, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if name != "__pycache__" and not name.startswith("."))
        for name in sorted(files):
            if not name.endswith(".pyc"):
                full = os.path.join(path, name)
                yield full, os.path.join(package, os.path.relpath(full, folder))


def _pack(files: Any) -> bytes:
    """Return a tar archive that depends on names, modes and contents alone."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        _add_folder(archive, REMOTE_ROOT, 0o700)
        known = {REMOTE_ROOT}
        for path, name in files:
            target = f"{REMOTE_ROOT}/{name}"
            for folder in _parents(target):
                if folder not in known:
                    known.add(folder)
                    _add_folder(archive, folder, 0o755)
            info = tarfile.TarInfo(target)
            with open(path, "rb") as file:
                data = file.read()
            info.size = len(data)
            info.mode = 0o755 if os.access(path, os.X_OK) else 0o644
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def _add_folder(archive: tarfile.TarFile, name: str, mode: int) -> None:
    info = tarfile.TarInfo(name)
    info.type = tarfile.DIRTYPE
    info.mode = mode
    archive.addfile(info)


def _parents(path: str) -> list[str]:
    parts = path.split("/")[:-1]
    return ["/".join(parts[: n + 1]) for n in range(len(parts))]
