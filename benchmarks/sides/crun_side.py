"""The bare runtime, as a floor: `crun run` of a Python on an image's layers.

Runs as root, in a mount namespace of its own:

    unshare --mount --propagation private python3 crun_side.py FOLDER LOWERDIR
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from harness import seconds, serve

CONTROLLERS = {"cpu", "cpuacct", "memory", "pids", "devices", "freezer"}


def main(folder: Path, lower: str) -> None:
    rootfs = folder / "rootfs"
    for part in (rootfs, folder / "upper", folder / "work"):
        part.mkdir()
    layers = f"lowerdir={lower},upperdir={folder}/upper,workdir={folder}/work"
    mount("-t", "overlay", "overlay", "-o", layers, str(rootfs))
    hide_unified_cgroup()
    subprocess.run(["crun", "spec"], cwd=folder, check=True)
    config = json.loads((folder / "config.json").read_text())
    config["process"] |= {"args": ["python3", "-c", "import socket"], "terminal": False}
    config["process"]["env"] = ["PATH=/usr/local/bin:/usr/bin:/bin"]
    config["root"]["readonly"] = False
    (folder / "config.json").write_text(json.dumps(config))
    command = ["crun", "--root", str(folder / "state"), "run", "--bundle", str(folder), "modicum-floor"]

    def run() -> float:
        return seconds(lambda: subprocess.run(command, check=True, stdin=subprocess.DEVNULL))

    state = ("--root", str(folder / "state"))
    held = Held(folder, config, state)

    def execute() -> float:
        held.begin()
        words = ["crun", *state, "--cgroup-manager", "disabled", "exec", held.NAME, "true"]
        return seconds(lambda: subprocess.run(words, check=True, stdin=subprocess.DEVNULL))

    serve({"run": run, "execute": execute})
    held.end()


class Held:
    """A container that stays, for commands to be executed in."""

    NAME = "modicum-floor-held"

    def __init__(self, folder: Path, config: dict[str, Any], state: tuple[str, ...]) -> None:
        self._folder = folder / "held"
        root = {**config["root"], "path": str(folder / "rootfs")}
        self._config = {**config, "root": root, "process": {**config["process"], "args": ["sleep", "100000"]}}
        self._state = state
        self._container: subprocess.Popen[bytes] | None = None

    def begin(self) -> None:
        """Start it, once."""
        if self._container is not None:
            return
        self._folder.mkdir()
        (self._folder / "config.json").write_text(json.dumps(self._config))
        command = ["crun", *self._state, "run", "--bundle", str(self._folder), self.NAME]
        self._container = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        asked = ["crun", *self._state, "state", self.NAME]
        while b"running" not in subprocess.run(asked, capture_output=True, check=False).stdout:
            assert self._container.poll() is None, "the container ended at once"

    def end(self) -> None:
        """End it, if it was started."""
        if self._container is not None:
            subprocess.run(["crun", *self._state, "kill", self.NAME, "KILL"], check=True)
            self._container.wait()


def hide_unified_cgroup() -> None:
    """Cover a hybrid host's cgroups, which crun refuses, with a view of the v1 controllers alone."""
    if not Path("/sys/fs/cgroup/unified").is_dir():
        return
    kept = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        place, (kind, _, options) = line.split()[4], line.split(" - ")[1].split(" ", 2)
        if kind == "cgroup" and set(options.split(",")) & CONTROLLERS:
            kept.append((os.path.basename(place), os.open(place, os.O_PATH)))
    mount("-t", "tmpfs", "cgroup", "/sys/fs/cgroup")
    for name, descriptor in kept:
        os.mkdir(f"/sys/fs/cgroup/{name}")
        mount("--no-canonicalize", "--bind", f"/proc/{os.getpid()}/fd/{descriptor}", f"/sys/fs/cgroup/{name}")


def mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
