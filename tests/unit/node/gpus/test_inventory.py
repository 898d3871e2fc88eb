"""Which GPUs does a machine say that it has, and as what?"""

from __future__ import annotations

import inspect
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest

from modicum.node.gpus.inventory import CONTROL, Gpu, Inventory, take
from modicum.node.gpus.names import type_of


class NvmlError(Exception):
    pass


class Nvml:
    """NVIDIA's library, as far as it is asked; `broken` raise when they are looked at, `divided` are in MIG mode."""

    NVMLError = NvmlError
    NVML_DEVICE_MIG_ENABLE = 1

    def __init__(self, *names: Any, broken: tuple[int, ...] = (), divided: tuple[int, ...] = (), why: str = "") -> None:
        self.names = names
        self.broken = broken
        self.divided = divided
        self.why = why
        self.is_open = False

    def nvmlInit(self) -> None:
        if self.why:
            raise NvmlError(self.why)
        self.is_open = True

    def nvmlShutdown(self) -> None:
        self.is_open = False

    def nvmlDeviceGetCount(self) -> int:
        return len(self.names)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        if index in self.broken:
            raise NvmlError("GPU is lost")
        return index

    def nvmlDeviceGetMigMode(self, device: int) -> list[int]:
        if device in self.divided:
            return [1, 1]
        raise NvmlError("Not Supported")

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> Any:
        return SimpleNamespace(total=80 << 30)

    def nvmlDeviceGetName(self, handle: int) -> Any:
        return self.names[handle]

    def nvmlDeviceGetMinorNumber(self, handle: int) -> int:
        return 7 - handle

    def nvmlDeviceGetUUID(self, handle: int) -> Any:
        return f"GPU-{handle}".encode() if handle else "GPU-0"


def test_the_stand_in_has_what_the_real_one_has() -> None:
    for name, value in inspect.getmembers(Nvml, inspect.isfunction):
        if name.startswith("nvml"):
            given = list(inspect.signature(value).parameters)[1:]
            inspect.signature(getattr(pynvml, name)).bind(*given)  # it can be called so
    assert pynvml.NVML_DEVICE_MIG_ENABLE == Nvml.NVML_DEVICE_MIG_ENABLE
    assert issubclass(pynvml.NVMLError, Exception)


def test_the_driver_names_them() -> None:
    nvml = Nvml("NVIDIA H100 80GB HBM3", b"NVIDIA A100-SXM4-80GB")
    found = take({}, lambda: nvml)
    assert found.gpus == (Gpu("GPU-0", "H100", 81920, 0, 7), Gpu("GPU-1", "A100-80GB", 81920, 1, 6))
    assert found.note == ""
    assert not nvml.is_open
    assert found.told()[1] == {"id": "GPU-1", "type": "A100-80GB", "memory_mib": 81920, "index": 1}


def test_what_cannot_be_given_away_whole_is_left_out() -> None:
    found = take({}, lambda: Nvml("NVIDIA A30", "NVIDIA A30", "NVIDIA A30", broken=(0,), divided=(1,)))
    assert [gpu.index for gpu in found.gpus] == [2]
    assert found.note == (
        "left out: GPU 0: GPU is lost; left out: GPU 1 is in MIG mode, and only whole GPUs are given away"
    )


def test_a_driver_that_does_not_work_is_no_error() -> None:
    found = take({}, lambda: Nvml(why="Driver/library version mismatch"))
    assert found == Inventory((), "NVIDIA's driver cannot be asked for GPUs: Driver/library version mismatch")

    def missing() -> Any:
        raise ModuleNotFoundError("No module named 'pynvml'")

    assert "No module named 'pynvml'" in take({}, missing).note


def test_without_a_driver_nothing_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modicum.node.gpus.inventory.CONTROL", f"{CONTROL}-not-there")
    monkeypatch.setattr("modicum.node.gpus.inventory._load", lambda: pytest.fail("it was loaded"))
    assert take({}) == Inventory()


def test_others_may_be_declared() -> None:
    found = take({"MODICUM_GPUS": "h100:2, A100, rtx-4090"}, lambda: pytest.fail("the driver was asked"))
    assert [gpu.type for gpu in found.gpus] == ["H100", "H100", "A100-40GB", "RTX-4090"]
    assert [gpu.memory_mib for gpu in found.gpus] == [81_920, 81_920, 40_960, 16_384]
    assert len({gpu.id for gpu in found.gpus}) == 4
    assert found.note.startswith("declared by MODICUM_GPUS, not found")
    assert take({"MODICUM_GPUS": "H100:x"}).note.startswith("MODICUM_GPUS: 'H100:x': the number must be")


@pytest.mark.parametrize(
    ("name", "memory_mib", "kind"),
    [
        ("NVIDIA H100 80GB HBM3", 81_559, "H100"),
        ("NVIDIA H100 PCIe", 81_559, "H100"),
        ("NVIDIA H100 NVL", 95_830, "H100"),
        ("NVIDIA H200", 143_771, "H200"),
        ("NVIDIA GH200 480GB", 97_871, "GH200-480GB"),
        ("NVIDIA B200", 183_359, "B200"),
        ("NVIDIA A100-SXM4-40GB", 40_960, "A100-40GB"),
        ("NVIDIA A100-PCIE-40GB", 40_960, "A100-40GB"),
        ("NVIDIA A100-SXM4-80GB", 81_920, "A100-80GB"),
        ("NVIDIA A100 80GB PCIe", 81_920, "A100-80GB"),
        ("NVIDIA A10G", 23_028, "A10"),
        ("NVIDIA A10", 23_028, "A10"),
        ("NVIDIA L4", 23_034, "L4"),
        ("NVIDIA L40", 46_068, "L40"),
        ("NVIDIA L40S", 46_068, "L40S"),
        ("Tesla T4", 15_360, "T4"),
        ("Tesla V100-SXM2-16GB", 16_160, "V100-SXM2-16GB"),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", 97_887, "RTX-PRO-6000"),
        ("NVIDIA GeForce RTX 4090", 24_564, "RTX-4090"),
        ("NVIDIA GeForce RTX 3080 Ti", 12_288, "RTX-3080-TI"),
        ("NVIDIA RTX A6000", 49_140, "RTX-A6000"),
        ("", 0, "GPU"),
    ],
)
def test_names_become_types(name: str, memory_mib: int, kind: str) -> None:
    assert type_of(name, memory_mib) == kind
