"""What do the Container Device Interface's files of this machine say that a container with a GPU needs?

They are written by NVIDIA's container toolkit (`nvidia-ctk cdi generate`). Their hooks are not run: what these do,
links and the linker's cache, comes of how the libraries are mounted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .driver import Driver
from .inventory import Gpu

FOLDERS = (Path("/etc/cdi"), Path("/var/run/cdi"))
"""A later one's devices replace those of the same name in an earlier."""

KIND = "nvidia.com/gpu"

_LIBRARY = re.compile(r"lib.+\.so(\.[0-9.]+)?")


def read(gpus: Sequence[Gpu], folders: Iterable[Path] = FOLDERS) -> Driver | None:
    """Return what containers need by these files; None if none of them names all of these GPUs."""
    found = [spec for folder in folders for spec in _specs(folder)]
    for spec in reversed(found):
        named = {str(each.get("name")): each.get("containerEdits") or {} for each in spec.get("devices") or ()}
        own = {gpu.id: named.get(gpu.id, named.get(str(gpu.index))) for gpu in gpus}
        if own and all(edits is not None for edits in own.values()):
            return _driver(spec.get("containerEdits") or {}, {gpu: edits or {} for gpu, edits in own.items()})
    return None


def _specs(folder: Path) -> list[Mapping[str, Any]]:
    specs = []
    for path in sorted([*folder.glob("*.json"), *folder.glob("*.yaml"), *folder.glob("*.yml")]):
        try:
            spec = _parse(path)
        except (OSError, ValueError) as failure:
            print(f"{path} is not read: {failure}", flush=True)
            continue
        if isinstance(spec, Mapping) and spec.get("kind") == KIND:
            specs.append(spec)
    return specs


def _parse(path: Path) -> Any:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".json":
        return json.loads(text)
    import yaml  # only machines with a GPU have such a file

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def _driver(shared: Mapping[str, Any], own: Mapping[str, Mapping[str, Any]]) -> Driver:
    edits = [shared, *own.values()]
    mounts = [mount for each in edits for mount in each.get("mounts") or ()]
    pairs = dict.fromkeys((Path(mount["hostPath"]), str(mount["containerPath"])) for mount in mounts)
    libraries = [path for path, _ in pairs if _LIBRARY.fullmatch(path.name)]
    programs = [path for path, _ in pairs if path.parent.name in ("bin", "sbin")]
    environ = dict(line.split("=", 1) for each in edits for line in each.get("env") or () if "=" in line)
    environ.pop("NVIDIA_VISIBLE_DEVICES", None)
    return Driver(
        libraries=tuple(libraries),
        programs=tuple(programs),
        files=tuple(pair for pair in pairs if pair[0] not in libraries and pair[0] not in programs),
        common=_devices(shared),
        own={gpu: _devices(each) for gpu, each in own.items()},
        environ=environ,
    )


def _devices(edits: Mapping[str, Any]) -> tuple[tuple[Path, str], ...]:
    nodes = edits.get("deviceNodes") or ()
    return tuple((Path(each.get("hostPath") or each["path"]), str(each["path"])) for each in nodes)
