"""Which files of the user's program a container needs: the module's own file, or its whole package."""

from __future__ import annotations

import os
import sys

from modicum import _files
from modicum._local_files import REMOTE_ROOT, package
from modicum.exception import InvalidError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

    from modicum._files import FileSet


class Source:
    """The files of one module, as they are now, and the name by which a container imports it."""

    def __init__(self, module: str, files: FileSet) -> None:
        self.module = module
        self.files = files


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
    top = name.partition(".")[0]
    is_init = os.path.basename(file) == "__init__.py"
    if "." not in name and not is_init:
        return Source(name, _files.read([(f"{REMOTE_ROOT}/{os.path.basename(file)}", file)], f"the source of {name}"))
    folder = file
    for _ in range(name.count(".") + is_init):
        folder = os.path.dirname(folder)
    folder = folder if os.path.isdir(folder) else os.path.dirname(folder)
    return Source(name, _files.read(package(folder, f"{REMOTE_ROOT}/{top}"), f"the source of the package {top}"))


def _name(module: ModuleType, file: str) -> str:
    if module.__name__ != "__main__":
        return module.__name__
    if module.__spec__ is not None and module.__spec__.name:  # python -m package.module
        return module.__spec__.name
    return os.path.splitext(os.path.basename(file))[0]
