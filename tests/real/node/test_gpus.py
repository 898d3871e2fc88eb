"""Does a container get the devices and the driver of its own GPUs, and of no other? With harmless ones in their place.

A CDI file says that the first GPU is /dev/zero, the second /dev/null, the control device /dev/full; the "driver" is a
library that any machine has, under the driver's names.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modicum.wire.channel import RemoteFailure
from tests.real.node.harness import Bench

PROGRAM = """
import ctypes, json, os, subprocess, sys
fails = {}
for name in ("nvidiactl", "nvidia0", "nvidia1"):
    try:
        with open(f"/dev/{name}", "r+b", buffering=0) as file:
            fails[name] = file.read(2).hex()
            file.write(b"x")
    except OSError as error:
        fails[name] = error.strerror
library = ctypes.CDLL("libcuda.so.1")
library.zlibVersion.restype = ctypes.c_char_p
print(json.dumps({
    "there": sorted(name for name in os.listdir("/dev") if "nvidia" in name),
    "opened": fails,
    "library": library.zlibVersion().decode(),
    "program": subprocess.check_output(["nvidia-smi"], text=True).strip(),
    "file": open("/etc/nvidia/stand-in.conf").read(),
    "told": {name: value for name, value in os.environ.items() if "VISIBLE" in name or name == "FROM_CDI"},
}))
"""


@pytest.fixture
def machine() -> Iterator[Path]:
    """A folder with the files of a driver and the CDI file that names them."""
    folder = Path(tempfile.mkdtemp(prefix="modicum-gpus-"))
    folder.chmod(0o755)
    (folder / "lib").mkdir()
    (folder / "bin").mkdir()
    library = next(Path(base, name) for base in LIBRARIES for name in os.listdir(base) if name.startswith("libz.so.1."))
    shutil.copy(library, folder / "lib/libcuda.so.535.1")
    (folder / "lib/libcuda.so.1").symlink_to("libcuda.so.535.1")
    (folder / "bin/nvidia-smi").write_text("#!/bin/sh\necho stand-in\n")
    (folder / "bin/nvidia-smi").chmod(0o755)
    (folder / "some.conf").write_text("configured")
    (folder / "nvidia.json").write_text(json.dumps(cdi(folder)))
    yield folder
    shutil.rmtree(folder)


LIBRARIES = [path for path in ("/lib/x86_64-linux-gnu", "/lib/aarch64-linux-gnu", "/lib64") if os.path.isdir(path)]


def cdi(folder: Path) -> dict[str, Any]:
    mounts = {
        f"{folder}/lib/libcuda.so.535.1": "/usr/lib/x86_64-linux-gnu/libcuda.so.535.1",
        f"{folder}/bin/nvidia-smi": "/usr/bin/nvidia-smi",
        f"{folder}/some.conf": "/etc/nvidia/stand-in.conf",
    }
    return {
        "cdiVersion": "0.5.0",
        "kind": "nvidia.com/gpu",
        "devices": [
            {"name": "0", "containerEdits": {"deviceNodes": [{"path": "/dev/nvidia0", "hostPath": "/dev/zero"}]}},
            {"name": "1", "containerEdits": {"deviceNodes": [{"path": "/dev/nvidia1", "hostPath": "/dev/null"}]}},
        ],
        "containerEdits": {
            "env": ["NVIDIA_VISIBLE_DEVICES=void", "FROM_CDI=yes"],
            "deviceNodes": [{"path": "/dev/nvidiactl", "hostPath": "/dev/full"}],
            "mounts": [{"hostPath": source, "containerPath": target} for source, target in mounts.items()],
        },
    }


async def test_exactly_those_that_were_granted_are_there(idle: Bench, machine: Path) -> None:
    await idle.start(MODICUM_GPUS="H100,T4", MODICUM_CDI_DIRS=str(machine))
    first, second = idle.server.hello["gpus"]
    assert (first["type"], second["type"], second["index"]) == ("H100", "T4", 1)
    assert "declared by MODICUM_GPUS" in idle.server.hello["gpus_note"]

    said = json.loads(await idle.python(PROGRAM, devices=[first["id"]]))
    assert said["there"] == ["nvidia0", "nvidiactl"]
    assert said["opened"] == {
        "nvidiactl": "No space left on device",
        "nvidia0": "0000",
        "nvidia1": "No such file or directory",
    }
    assert said["library"][0].isdigit()
    assert (said["program"], said["file"]) == ("stand-in", "configured")
    assert said["told"] == {"NVIDIA_VISIBLE_DEVICES": first["id"], "FROM_CDI": "yes"}

    both = json.loads(await idle.python(PROGRAM, devices=[second["id"], first["id"]]))
    assert both["there"] == ["nvidia0", "nvidia1", "nvidiactl"]
    assert (await idle.shell("ls /dev/nvidia* /usr/local/nvidia"))[1] == ""

    holder = await idle.begin("sleep", "600", devices=[second["id"]])
    with pytest.raises(RemoteFailure, match=f"the GPU {second['id']} is that of {holder}"):
        await idle.begin("true", devices=[second["id"]])
    await idle.server.stop()
    await idle.server.start()
    await idle.until(lambda: idle.server.hellos == 2, "the node's return", within_s=20)
    assert {each["id"]: each["devices"] for each in idle.server.hello["containers"]} == {holder: [second["id"]]}
    await idle.server.ask("container.kill", container=holder, reason="test")
    await idle.ended(holder)
    assert (await idle.shell("true", devices=[second["id"]]))[0] == 0
    with pytest.raises(RemoteFailure, match="the GPU GPU-7 is not there"):
        await idle.begin("true", devices=["GPU-7"])
