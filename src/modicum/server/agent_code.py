"""Where containers get the agent from: a copy per build, never the installed package.

An upgrade must not pull the code from under a running container.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import cloudpickle

import modicum
from modicum.wire.version import build_id


def install_agent(folder: Path, owner: int) -> None:
    """Copy this build's SDK, agent and cloudpickle below `folder`, owned by `owner`, unless they are there."""
    target = folder / build_id()
    if target.exists():
        return
    partial = target.with_name(target.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    package = Path(modicum.__file__).parent
    for source in [*package.glob("*.py"), *package.glob("wire/*.py"), *package.glob("agent/*.py")]:
        _copy(source, partial / "modicum" / source.relative_to(package))
    for source in Path(cloudpickle.__file__).parent.glob("*.py"):
        _copy(source, partial / "cloudpickle" / source.name)
    for path in [folder, partial, *partial.rglob("*")]:
        os.chown(path, owner, -1)
    partial.rename(target)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
