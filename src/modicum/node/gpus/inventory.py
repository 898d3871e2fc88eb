"""Which GPUs does this machine have? NVIDIA's driver knows, unless a setting declares others to try things out."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from modicum.wire.gpus import MEMORY_MIB, parse

from .names import type_of

SETTING = "MODICUM_GPUS"

CONTROL = "/dev/nvidiactl"
"""Where this device is missing there is no driver, and nothing needs to be loaded to know it."""

_DECLARED_MIB = 16_384
"""What a declared GPU is taken to have whose type is not known here."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """One of them. `minor` is the number of its device; there is none of a declared one."""

    id: str
    type: str
    memory_mib: int
    index: int
    minor: int | None = None


@dataclass(frozen=True, slots=True)
class Inventory:
    """All that can be given away, and what there is to say of it."""

    gpus: tuple[Gpu, ...] = ()
    note: str = ""

    def told(self) -> list[dict[str, Any]]:
        """Return them as `node.hello` tells them."""
        return [{name: value for name, value in asdict(gpu).items() if name != "minor"} for gpu in self.gpus]


def take(environ: Mapping[str, str] = os.environ, load: Callable[[], Any] | None = None) -> Inventory:
    """Return what is declared, else what the driver names. Never fails: what cannot be used is noted."""
    declared = environ.get(SETTING, "").strip()
    if declared:
        return _declared(declared)
    if load is None:
        if not os.path.exists(CONTROL):
            return Inventory()
        load = _load
    try:
        nvml = load()
        nvml.nvmlInit()
    except Exception as failure:  # noqa: BLE001 - it has dozens of errors of its own, and a machine without is ordinary
        return Inventory((), f"NVIDIA's driver cannot be asked for GPUs: {failure}")
    try:
        return _found(nvml)
    except Exception as failure:  # noqa: BLE001 - as above
        return Inventory((), f"NVIDIA's driver does not tell what GPUs there are: {failure}")
    finally:
        nvml.nvmlShutdown()


def _load() -> Any:
    return importlib.import_module("pynvml")


def _declared(text: str) -> Inventory:
    try:
        kinds = [kind for kind, number in parse(text) for _ in range(number)]
    except ValueError as error:
        return Inventory((), f"{SETTING}: {error}")
    gpus = [Gpu(f"declared-{at}", kind, MEMORY_MIB.get(kind, _DECLARED_MIB), at) for at, kind in enumerate(kinds)]
    return Inventory(tuple(gpus), f"declared by {SETTING}, not found: containers get no device but a CDI file's")


def _found(nvml: Any) -> Inventory:
    gpus, left_out = [], []
    for index in range(nvml.nvmlDeviceGetCount()):
        try:
            gpu = _look(nvml, index)
        except nvml.NVMLError as failure:  # one that has fallen off the bus must not cost the others
            left_out.append(f"GPU {index}: {failure}")
            continue
        if gpu is None:
            left_out.append(f"GPU {index} is in MIG mode, and only whole GPUs are given away")
        else:
            gpus.append(gpu)
    return Inventory(tuple(gpus), "; ".join(f"left out: {each}" for each in left_out))


def _look(nvml: Any, index: int) -> Gpu | None:
    """Return one; None if it is divided. Raises `NVMLError`."""
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    try:
        divided = nvml.nvmlDeviceGetMigMode(handle)[0] == nvml.NVML_DEVICE_MIG_ENABLE
    except nvml.NVMLError:
        divided = False  # it cannot be
    if divided:
        return None
    memory_mib = int(nvml.nvmlDeviceGetMemoryInfo(handle).total) >> 20
    kind = type_of(_text(nvml.nvmlDeviceGetName(handle)), memory_mib)
    minor = int(nvml.nvmlDeviceGetMinorNumber(handle))
    return Gpu(_text(nvml.nvmlDeviceGetUUID(handle)), kind, memory_mib, index, minor)


def _text(value: str | bytes) -> str:
    """Older releases of the library return bytes."""
    return value.decode() if isinstance(value, bytes) else value
