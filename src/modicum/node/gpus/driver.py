"""What of the machine's driver does a program in a container need: devices, libraries, programs, other files?"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from .inventory import Gpu

_FOLDERS = (
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/usr/lib",
    "/usr/local/nvidia/lib64",
    "/run/opengl-driver/lib",
)
"""Where distributions put the driver's libraries, if the linker's cache does not say."""

_CUDA = "libcuda.so.1"

_PROGRAMS = ("nvidia-smi", "nvidia-debugdump", "nvidia-cuda-mps-control", "nvidia-cuda-mps-server")

_MEMORY = "/dev/nvidia-uvm"
"""Without it CUDA does not begin; it appears when somebody who may loads its module."""

_COMMON_DEVICES = ("/dev/nvidiactl", _MEMORY, "/dev/nvidia-uvm-tools", "/dev/nvidia-modeset")

_SOCKET = "/run/nvidia-persistenced/socket"
"""Where the driver's helper listens that keeps GPUs awake; its library looks for it there."""

_LDCONFIG_S = 10.0


@dataclass(frozen=True, slots=True)
class Driver:
    """Paths on this machine; where two are given the second is the container's. `own` has the devices of each GPU."""

    libraries: tuple[Path, ...] = ()
    programs: tuple[Path, ...] = ()
    files: tuple[tuple[Path, str], ...] = ()
    common: tuple[tuple[Path, str], ...] = ()
    own: dict[str, tuple[tuple[Path, str], ...]] = field(default_factory=dict)
    environ: dict[str, str] = field(default_factory=dict)
    problem: str = ""
    """Why programs will not find a GPU with this."""


def look(gpus: Iterable[Gpu]) -> Driver:
    """Return what is found by looking where NVIDIA's own tools look."""
    libraries = _libraries(_cuda())
    programs = [Path(found) for name in _PROGRAMS if (found := shutil.which(name)) is not None]
    own = {gpu.id: _devices((f"/dev/nvidia{gpu.minor}",)) for gpu in gpus}
    return Driver(
        libraries=libraries,
        programs=tuple(programs),
        files=((Path(_SOCKET), _SOCKET),) if os.path.exists(_SOCKET) else (),
        common=_devices(_COMMON_DEVICES),
        own=own,
        problem=_problem(libraries, own),
    )


def _problem(libraries: tuple[Path, ...], own: dict[str, tuple[tuple[Path, str], ...]]) -> str:
    if not libraries:
        return f"{_CUDA} of NVIDIA's driver is not found on this machine: install the driver's libraries"
    missing = [gpu for gpu, devices in own.items() if not devices]
    if missing or not os.path.exists(_MEMORY):
        devices = f"the devices of {', '.join(missing)} are" if missing else f"{_MEMORY} is"
        return f"{devices} missing in /dev: run `nvidia-modprobe -u -c=0` as root"
    return ""


def _devices(paths: Iterable[str]) -> tuple[tuple[Path, str], ...]:
    return tuple((Path(path), path) for path in paths if os.path.exists(path))


def _cuda() -> Path | None:
    try:
        done = subprocess.run(["ldconfig", "-p"], capture_output=True, text=True, timeout=_LDCONFIG_S, check=False)
        said = done.stdout
    except (OSError, subprocess.TimeoutExpired):
        said = ""
    return cuda_in(said, _FOLDERS)


def cuda_in(ldconfig: str, folders: Iterable[str]) -> Path | None:
    """Return where the 64-bit libcuda is, by what `ldconfig -p` says, else in one of these folders."""
    lines = [line.strip() for line in ldconfig.splitlines() if line.strip().startswith(f"{_CUDA} ")]
    named = [line.rpartition("=> ")[2] for line in lines if "64" in line.partition("=>")[0]]
    places = (*named, *(f"{each}/{_CUDA}" for each in folders))
    return next((Path(path) for path in places if os.path.exists(path)), None)


def _libraries(cuda: Path | None) -> tuple[Path, ...]:
    """Return all of the driver's: they lie beside libcuda, and end in the same version."""
    if cuda is None:
        return ()
    real = Path(os.path.realpath(cuda))
    version = real.name.partition(".so.")[2]
    pattern = f"lib*.so.{version}" if "." in version else "lib[cn][uv]*.so.*"
    return tuple(sorted(each for each in real.parent.glob(pattern) if not each.is_symlink()))


def names_of(library: Path) -> list[str]:
    """Return the names under which programs ask for a library: those of the links beside it that lead to it."""
    links = [each for each in library.parent.glob(f"{library.name.partition('.so')[0]}.so*") if each.is_symlink()]
    return sorted(each.name for each in links if os.path.realpath(each) == os.path.realpath(library))
