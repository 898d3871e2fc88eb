"""A small root directory for containers, copied from this machine: a shell, some tools, Python."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

PROGRAMS = (
    "cat",
    "dash",
    "env",
    "id",
    "ls",
    "mkdir",
    "mount",
    "nproc",
    "rm",
    "setsid",
    "sleep",
    "touch",
    "true",
    "unshare",
)
PYTHON = "/usr/bin/python3"
_LEFT_OUT = shutil.ignore_patterns(
    "test", "tests", "idlelib", "lib2to3", "tkinter", "ensurepip", "__pycache__", "config-*"
)


def make_root(root: Path) -> None:
    """Fill `root`."""
    for folder in ("dev", "etc", "proc", "root", "run", "sys", "tmp", "usr/bin", "usr/lib", "usr/lib64", "var"):
        (root / folder).mkdir(parents=True)
    (root / "tmp").chmod(0o1777)
    for name in ("bin", "lib", "lib64"):
        (root / name).symlink_to(f"usr/{name}")
    for name in PROGRAMS:
        shutil.copy2(shutil.which(name) or name, root / "usr/bin" / name)
    (root / "usr/bin/sh").symlink_to("dash")
    _copy_python(root)
    for library in _libraries([*(root / "usr/bin").iterdir(), *root.rglob("lib-dynload/*.so")]):
        target = root / library.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(library, target)
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\nnogroup:x:65534:\n")
    (root / "etc/nsswitch.conf").write_text("hosts: files dns\n")


def _copy_python(root: Path) -> None:
    real = os.path.realpath(PYTHON)
    library = subprocess.check_output(
        [PYTHON, "-c", "import os; print(os.path.dirname(os.__file__))"], text=True
    ).strip()
    shutil.copy2(real, root / "usr/bin/python3")
    shutil.copytree(library, root / library.lstrip("/"), symlinks=True, ignore=_LEFT_OUT, ignore_dangling_symlinks=True)


def _libraries(programs: list[Path]) -> set[str]:
    found: set[str] = set()
    for program in programs:
        said = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
        found.update(re.findall(r"(/\S+)", said.replace(f"{program}:", "")))
    return found
