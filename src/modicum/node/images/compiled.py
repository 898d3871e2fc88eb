"""How the agent's compiled files get beside its source, which no container may write."""

from __future__ import annotations

import os
import stat
from pathlib import Path

SOURCE, OUTPUT = "/run/modicum-agent", "/run/modicum-compiled"
"""Where the compiling container has the agent's source, read-only, and an empty directory for what it makes."""

PROGRAM = (
    "import compileall, py_compile, sys; "
    "sys.pycache_prefix = sys.argv[2]; "
    "sys.exit(not compileall.compile_dir(sys.argv[1], quiet=1, "
    "invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH))"
)
"""What it runs, with these two as arguments. Python puts a file's compiled form below the prefix at the file's path."""


def take(made: Path, agent: Path) -> None:
    """Move the compiled files of `agent`'s modules from `made` into its `__pycache__` directories.

    Only regular files, and only beside a module that is there; no link is followed. `made` must be on the same file
    system, and nothing may still write to it.
    """
    top = made / SOURCE.lstrip("/")
    for folder, _, names, handle in os.fwalk(made):
        place = Path(os.path.normpath(agent / os.path.relpath(folder, top)))
        if not place.is_relative_to(agent):
            continue
        for name in names:
            if name.endswith(".pyc") and (place / f"{name.partition('.')[0]}.py").is_file():
                _take_file(handle, name, place / "__pycache__")


def _take_file(folder: int, name: str, cache: Path) -> None:
    if stat.S_ISREG(os.lstat(name, dir_fd=folder).st_mode):
        os.chmod(name, 0o644, dir_fd=folder)
        cache.mkdir(exist_ok=True)
        os.rename(name, cache / name, src_dir_fd=folder)
