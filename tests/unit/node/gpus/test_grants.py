"""What does a container get with its GPUs, and who has them?"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from modicum.node.gpus import cdi, driver
from modicum.node.gpus.driver import Driver
from modicum.node.gpus.grants import TARGET, Grants, find
from modicum.node.gpus.inventory import Gpu, Inventory
from modicum.runtimes.base import BindMount, RuntimeFailure
from modicum.runtimes.oci.config import _bind

FIRST, SECOND = Gpu("GPU-a", "H100", 81_920, 0, 3), Gpu("GPU-b", "H100", 81_920, 1, 4)
DECLARED = Gpu("declared-0", "T4", 16_384, 0)

YAML = """
cdiVersion: 0.5.0
kind: nvidia.com/gpu
devices:
- name: "0"
  containerEdits:
    deviceNodes:
    - path: /dev/nvidia3
    - path: /dev/dri/card1
- name: GPU-b
  containerEdits:
    deviceNodes:
    - path: /dev/nvidia4
      hostPath: /dev/other4
- name: all
  containerEdits:
    deviceNodes:
    - path: /dev/nvidia3
    - path: /dev/nvidia4
containerEdits:
  env: [NVIDIA_VISIBLE_DEVICES=void, CUDA_MODULE_LOADING=LAZY]
  deviceNodes:
  - path: /dev/nvidiactl
  hooks:
  - hookName: createContainer
    path: /usr/bin/nvidia-cdi-hook
    args: [nvidia-cdi-hook, update-ldcache]
  mounts:
  - hostPath: /usr/lib/x86_64-linux-gnu/libcuda.so.535.1
    containerPath: /usr/lib/x86_64-linux-gnu/libcuda.so.535.1
    options: [ro, nosuid, nodev, bind]
  - hostPath: /usr/bin/nvidia-smi
    containerPath: /usr/bin/nvidia-smi
  - hostPath: /run/nvidia-persistenced/socket
    containerPath: /run/nvidia-persistenced/socket
"""


def installed(folder: Path, *names: str) -> list[Path]:
    """Libraries of a driver, with the links that the linker asks for."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"\x7fELF")
        (folder / f"{name.partition('.so')[0]}.so.1").symlink_to(name)
    return [folder / name for name in names]


def grants(folder: Path, found: Driver | None, *gpus: Gpu, isolated: bool = True) -> Grants:
    return Grants(Inventory(gpus), isolated, folder / "nvidia", lambda _: found)


def test_a_gpu_is_granted_to_one_container_at_a_time(tmp_path: Path) -> None:
    made = grants(tmp_path, Driver(own={"GPU-a": (), "GPU-b": ()}), FIRST, SECOND)
    made.grant("ta-1", ["GPU-a"], {})
    with pytest.raises(RuntimeFailure, match="container ta-2: the GPU GPU-a is that of ta-1"):
        made.grant("ta-2", ["GPU-b", "GPU-a"], {})
    made.grant("ta-2", ["GPU-b"], {})  # the refused request took nothing
    made.give_back("ta-1")
    made.grant("ta-3", ["GPU-a"], {})
    with pytest.raises(RuntimeFailure, match="the GPU GPU-c is not there"):
        made.grant("ta-4", ["GPU-c"], {})


def test_the_driver_comes_under_all_its_names(tmp_path: Path) -> None:
    [library] = installed(tmp_path / "lib", "libcuda.so.535.1")
    found = Driver(
        libraries=(library,),
        programs=(Path("/bin/sh"),),
        files=((Path("/etc/passwd"), "/etc/nvidia/conf"),),
        common=((Path("/dev/full"), "/dev/nvidiactl"),),
        own={"GPU-a": ((Path("/dev/zero"), "/dev/nvidia3"),), "GPU-b": ((Path("/dev/null"), "/dev/nvidia4"),)},
        environ={"FROM": "cdi"},
    )
    given = {"PATH": "/bin", "LD_LIBRARY_PATH": "/opt/lib"}
    grant = grants(tmp_path, found, FIRST, SECOND).grant("ta-1", ["GPU-b"], given)
    assert grant.mounts == (
        BindMount(tmp_path / "nvidia", TARGET),
        BindMount(library, f"{TARGET}/lib64/libcuda.so.535.1"),
        BindMount(Path("/bin/sh"), f"{TARGET}/bin/sh"),
        BindMount(Path("/etc/passwd"), "/etc/nvidia/conf"),
        BindMount(Path("/dev/full"), "/dev/nvidiactl", is_device=True),
        BindMount(Path("/dev/null"), "/dev/nvidia4", is_device=True),
    )
    assert os.readlink(tmp_path / "nvidia/lib64/libcuda.so.1") == "libcuda.so.535.1"
    assert (tmp_path / "nvidia/lib64/libcuda.so.535.1").read_bytes() == b""
    assert grant.environ == {
        "FROM": "cdi",
        "LD_LIBRARY_PATH": f"/opt/lib:{TARGET}/lib64",
        "PATH": f"/bin:{TARGET}/bin",
        "NVIDIA_VISIBLE_DEVICES": "GPU-b",
    }


def test_devices_that_cannot_be_opened_are_said(tmp_path: Path) -> None:
    absent = tmp_path / "nvidia3"
    found = Driver(own={"GPU-a": ((absent, "/dev/nvidia3"),)})
    with pytest.raises(RuntimeFailure, match=f"^{absent} is missing on this machine: run `nvidia-modprobe"):
        grants(tmp_path, found, FIRST).grant("ta-1", ["GPU-a"], {})


def test_devices_that_are_not_everybodys_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: str(path) != "/dev/zero")
    found = Driver(
        common=((Path("/dev/null"), "/dev/nvidiactl"),), own={"GPU-a": ((Path("/dev/zero"), "/dev/nvidia3"),)}
    )
    with pytest.raises(RuntimeFailure, match=r"^/dev/zero must be open to everybody for containers: run `chmod 666"):
        grants(tmp_path, found, FIRST).grant("ta-1", ["GPU-a"], {})


def test_only_devices_may_be_used_as_devices() -> None:
    assert "nodev" not in _bind(BindMount(Path("/dev/zero"), "/dev/nvidia0", is_device=True))["options"]
    assert "nodev" in _bind(BindMount(Path("/lib"), "/lib"))["options"]


def test_who_asks_for_none_gets_nothing(tmp_path: Path) -> None:
    grant = Grants(Inventory((FIRST,)), True, tmp_path, lambda _: pytest.fail("looked")).grant("ta-1", [], {})
    assert (grant.mounts, grant.environ) == ((), {})


def test_a_driver_that_will_not_do_says_why_and_is_looked_for_again(tmp_path: Path) -> None:
    said = [Driver(problem="libcuda.so.1 is not found"), Driver(own={"GPU-a": ()})]
    made = Grants(Inventory((FIRST,)), True, tmp_path, lambda _: said.pop(0))
    with pytest.raises(RuntimeFailure, match=r"libcuda\.so\.1 is not found"):
        made.grant("ta-1", ["GPU-a"], {})
    made.grant("ta-2", ["GPU-a"], {})
    assert said == []


def test_declared_ones_are_told_and_not_given(tmp_path: Path) -> None:
    grant = grants(tmp_path, find([DECLARED], {}), DECLARED).grant("ta-1", ["declared-0"], {"PATH": "/bin"})
    assert grant.mounts == ()
    assert grant.environ == {"NVIDIA_VISIBLE_DEVICES": "declared-0"}


def test_declared_ones_may_have_files_of_their_own(tmp_path: Path) -> None:
    problem = find([DECLARED], {"MODICUM_CDI_DIRS": str(tmp_path)})
    assert problem is not None
    assert problem.problem == f"no CDI file in {tmp_path} names each of the GPUs that MODICUM_GPUS declares"
    (tmp_path / "nvidia.yaml").write_text(YAML)
    found = find([DECLARED], {"MODICUM_CDI_DIRS": f"/nowhere:{tmp_path}"})
    assert found is not None
    assert found.own["declared-0"][0] == (Path("/dev/nvidia3"), "/dev/nvidia3")


def test_plain_processes_are_told_which_are_theirs(tmp_path: Path) -> None:
    made = grants(tmp_path, None, FIRST, SECOND, isolated=False)
    both = "GPU-b,GPU-a"
    grant = made.grant("ta-1", ["GPU-b", "GPU-a"], {})
    assert (grant.mounts, grant.environ) == ((), {"CUDA_VISIBLE_DEVICES": both, "NVIDIA_VISIBLE_DEVICES": both})
    none = made.grant("ta-2", [], {}).environ
    assert none == {"CUDA_VISIBLE_DEVICES": "", "NVIDIA_VISIBLE_DEVICES": "void"}
    assert grants(tmp_path, None, isolated=False).grant("ta-1", [], {}).environ == {}


def test_a_cdi_file_says_what_is_needed(tmp_path: Path) -> None:
    (tmp_path / "nvidia.yaml").write_text(YAML)
    (tmp_path / "broken.yaml").write_text("kind: [")
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "other.json").write_text('{"kind": "vendor.com/net"}')
    found = cdi.read([FIRST, SECOND], [tmp_path / "nothing", tmp_path])
    assert found == Driver(
        libraries=(Path("/usr/lib/x86_64-linux-gnu/libcuda.so.535.1"),),
        programs=(Path("/usr/bin/nvidia-smi"),),
        files=((Path("/run/nvidia-persistenced/socket"), "/run/nvidia-persistenced/socket"),),
        common=((Path("/dev/nvidiactl"), "/dev/nvidiactl"),),
        own={
            "GPU-a": ((Path("/dev/nvidia3"), "/dev/nvidia3"), (Path("/dev/dri/card1"), "/dev/dri/card1")),
            "GPU-b": ((Path("/dev/other4"), "/dev/nvidia4"),),
        },
        environ={"CUDA_MODULE_LOADING": "LAZY"},
    )


def test_a_cdi_file_that_lacks_one_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "nvidia.yaml").write_text(YAML)
    assert cdi.read([FIRST, Gpu("GPU-z", "T4", 1, 9, 9)], [tmp_path]) is None
    assert cdi.read([], [tmp_path]) is None


LDCONFIG = """1024 libs found in cache `/etc/ld.so.cache'
\tlibcudart.so.12 (libc6,x86-64) => {0}/libcudart.so.12
\tlibcuda.so.1 (libc6) => {0}/32/libcuda.so.1
\tlibcuda.so.1 (libc6,x86-64) => {0}/lib/libcuda.so.1
"""


def test_libraries_are_found_by_the_linkers_cache_else_by_looking(tmp_path: Path) -> None:
    libraries = installed(tmp_path / "lib", "libcuda.so.535.1", "libnvidia-ml.so.535.1")
    installed(tmp_path / "32", "libcuda.so.535.1")
    installed(tmp_path / "lib", "libother.so.2")
    cached = driver.cuda_in(LDCONFIG.format(tmp_path), [])
    looked = driver.cuda_in("", [str(tmp_path), str(tmp_path / "lib")])
    assert cached == looked == tmp_path / "lib/libcuda.so.1"
    assert driver.cuda_in("", [str(tmp_path)]) is None
    assert driver._libraries(cached) == tuple(libraries)
    assert driver.names_of(libraries[0]) == ["libcuda.so.1"]


def test_a_machine_without_the_driver_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "_cuda", lambda: None)
    found: Any = find([FIRST], {"MODICUM_CDI_DIRS": "/nowhere"})
    assert (
        found.problem == "libcuda.so.1 of NVIDIA's driver is not found on this machine: install the driver's libraries"
    )


def test_missing_devices_are_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    installed(tmp_path, "libcuda.so.535.1")
    monkeypatch.setattr(driver, "_cuda", lambda: tmp_path / "libcuda.so.1")
    gpu = Gpu("GPU-a", "T4", 1, 0, 99)
    assert driver.look([gpu]).problem.startswith("the devices of GPU-a are missing in /dev: run `nvidia-modprobe")
    monkeypatch.setattr(os.path, "exists", lambda path: path == "/dev/nvidia99")
    assert driver.look([gpu]).problem.startswith("/dev/nvidia-uvm is missing in /dev")
    monkeypatch.setattr(os.path, "exists", lambda path: True)
    found = driver.look([gpu])
    assert found.problem == ""
    assert found.own == {"GPU-a": ((Path("/dev/nvidia99"), "/dev/nvidia99"),)}
    assert [target for _, target in found.common][:2] == ["/dev/nvidiactl", "/dev/nvidia-uvm"]
