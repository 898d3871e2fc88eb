"""How the facts are found out: everything is looked at or tried, bounded in time, without a server and without root."""

from __future__ import annotations

import json
import os
import platform
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from modicum.engines.local import keeper_environment
from modicum.node.gpus import grants, inventory
from modicum.node.ids import NoSubordinateIds, id_maps
from modicum.node.images import host
from modicum.node.images.bases import SUITES
from modicum.node.images.venvs import interpreters
from modicum.node.layout import package_parent
from modicum.node.removal import remove_tree
from modicum.runtimes import PROCESS

from .facts import Facts, Home, Trial
from .findings import PROGRAMS, SYSCTLS

TRIAL_S = 20.0
PACKAGES_S = 3.0
_COMMAND_S = 3.0
_DEVICES = ("/dev/kvm", "/dev/fuse", "/dev/net/tun", "/dev/nvidia0", "/dev/nvidiactl", "/dev/nvidia-uvm")
_A_DAY_S = 86400.0

T = TypeVar("T")


def probe(home: Path, runtime: str, minors: Sequence[str], offline: bool = False) -> Facts:
    """Find everything out about this machine. Takes about a second, and half a minute at the very most.

    `minors` are the versions of Python that images may have.
    """
    path = keeper_environment(os.environ)["PATH"]
    uid = os.geteuid()
    uv = host.uv_binary()  # before there are threads: sysconfig, which it asks, is not made for them
    with ThreadPoolExecutor(max_workers=4) as pool:  # most of it waits for programs
        trial = pool.submit(try_node, home, runtime)
        packages = pool.submit(_unreachable, None if offline else uv)
        namespaces = pool.submit(_no_namespaces)
        gpus = pool.submit(_gpus)
        pythons = _pythons(runtime, minors)
        return Facts(
            system=_system(),
            kernel=_kernel(platform.release()),
            user="root" if uid == 0 else _name(uid),
            is_root=uid == 0,
            runtime=runtime,
            trial=trial.result(),
            home=look_at_home(home),
            namespaces=namespaces.result(),
            sysctls=_sysctls(),
            ids=_ids(),
            cgroup_version=2 if os.path.exists("/sys/fs/cgroup/cgroup.controllers") else 1,
            missing=frozenset(name for name in PROGRAMS if shutil.which(name, path=path) is None),
            pythons=pythons,
            uv=str(uv or ""),
            behind_s=_behind_s(),
            packages=packages.result(),
            devices=frozenset(device for device in _DEVICES if os.access(device, os.R_OK | os.W_OK)),
            gpus=gpus.result()[0],
            gpus_note=gpus.result()[1],
            gpus_problem=gpus.result()[2],
        )


def try_node(home: Path, runtime: str) -> Trial:
    """Start a node in a new directory on the home's disk, and say what came of it."""
    try:
        folder = Path(tempfile.mkdtemp(prefix=".modicum-doctor-", dir=_standing(home)))
    except OSError as failure:
        return Trial(failure=f"{failure.strerror}: {failure.filename}")
    command = [sys.executable, "-m", "modicum.node.trial", "--home", str(folder), "--runtime", runtime]
    try:
        said = subprocess.run(
            command,
            cwd="/",
            env=keeper_environment(os.environ),
            capture_output=True,
            text=True,
            timeout=TRIAL_S,
            check=False,
        )
        facts = json.loads((folder / "keeper.json").read_text()) if said.returncode == 0 else {}
        why = facts["failure"] if facts else said.stdout.strip() or _last_line(said.stderr)
        return Trial(why, facts.get("uses", ""), facts.get("limits", ""), facts.get("network", ""))
    except subprocess.TimeoutExpired:
        return Trial(failure=f"a node did not start within {TRIAL_S:.0f} s")
    except (OSError, ValueError) as failure:
        return Trial(failure=str(failure))
    finally:
        _safely(lambda: remove_tree(folder), None)


def look_at_home(home: Path) -> Home:
    """Return whether the home can be used; it need not be there."""
    place = _standing(home)
    status = place.stat()
    if home.exists() and status.st_uid != os.geteuid():
        return Home(str(home), f"it belongs to {_name(status.st_uid)}")
    if not os.access(place, os.W_OK | os.X_OK):
        return Home(str(home), f"{place} cannot be written by this user")
    if not place.is_dir():
        return Home(str(home), f"{place} is not a directory")
    return Home(str(home), "", _file_system(place), shutil.disk_usage(place).free)


def _standing(path: Path) -> Path:
    """Return the path, or what is there of the directories above it."""
    return next(each for each in (path, *path.parents) if os.path.lexists(each))


def _file_system(path: Path) -> str:
    """Return the type of the file system that holds a path."""
    best, kind = "", "?"
    for line in _read("/proc/self/mountinfo").splitlines():
        fields = line.split()
        target = fields[4]
        if path.is_relative_to(target) and len(target) >= len(best):
            best, kind = target, fields[fields.index("-") + 1]
    return kind


def _no_namespaces() -> str:
    command = ["unshare", "--user", "--map-root-user", "--mount", "--net", "--pid", "--fork", "true"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_COMMAND_S, check=False)
    except FileNotFoundError:
        return ""  # that program is missed elsewhere
    except subprocess.TimeoutExpired:
        return "the attempt did not end"
    return "" if done.returncode == 0 else _last_line(done.stderr).removeprefix("unshare: ")


def _sysctls() -> dict[str, str]:
    values = {name: _read(f"/proc/sys/{name.replace('.', '/')}").strip() for name in SYSCTLS}
    return {name: value for name, value in values.items() if value}


def _ids() -> str:
    try:
        id_maps()
    except NoSubordinateIds as failure:
        return str(failure)
    return ""


def _pythons(runtime: str, minors: Sequence[str]) -> dict[str, str]:
    """Return where the interpreter of an image would come from, without asking anybody else's machine."""
    found = {}
    for minor in minors:
        suite = SUITES.get(minor) if runtime != PROCESS else None
        here = None if suite else next((found.python for found in interpreters(minor)), None)
        if suite or here:
            found[minor] = f"Debian {suite}" if suite else str(here)
    return found


def _behind_s() -> float:
    """Return by how much the clock is behind the newest thing of ours that it certainly is not older than."""
    newest = _safely(lambda: Path(package_parent(), "modicum").stat().st_mtime, 0.0)
    return max(0.0, newest - _A_DAY_S - time.time())


def _unreachable(uv: Path | None) -> str | None:
    """Return why uv cannot learn of a package, as it would while an image is built."""
    if uv is None:
        return None
    settings = host.collect()
    index = next(
        (line.split("=", 1)[1].strip() for line in settings.pip_conf.splitlines() if line.startswith("index-url")), ""
    )
    certificates = {"SSL_CERT_FILE": str(settings.ca_bundle)} if settings.ca_bundle else {}
    environ = {**certificates, **os.environ, "UV_HTTP_RETRIES": "0", "UV_HTTP_TIMEOUT": f"{PACKAGES_S:.0f}"}
    options = ["--default-index", index] if index and not settings.uv_toml else []
    command = [str(uv), "pip", "compile", "-", "--quiet", "--no-cache", "--no-deps", *options]
    try:
        done = subprocess.run(
            command, input="pip\n", env=environ, capture_output=True, text=True, timeout=PACKAGES_S, check=False
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {PACKAGES_S:.0f} s"
    return "" if done.returncode == 0 else _last_line(done.stderr)


def _gpus(environ: Mapping[str, str] = os.environ) -> tuple[tuple[str, ...], str, str]:
    """Return the GPUs by type, what there is to say of them, and why containers would not find them."""
    found = inventory.take(environ)
    counts = Counter(gpu.type for gpu in found.gpus)
    driver = grants.find(found.gpus, environ) if found.gpus else None
    problem = driver.problem if driver is not None else ""
    return tuple(f"{kind}:{count}" for kind, count in counts.items()), found.note, problem


def _system() -> str:
    release: Mapping[str, str] = _safely(platform.freedesktop_os_release, {})
    return f"{release.get('PRETTY_NAME', 'unknown system')}, Linux {platform.release()}, {platform.machine()}"


def _kernel(release: str) -> tuple[int, int]:
    major, _, rest = release.partition(".")
    minor = "".join(character for character in rest.split(".")[0].split("-")[0] if character.isdigit())
    return (int(major) if major.isdigit() else 0, int(minor or 0))


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given"


def _read(path: str) -> str:
    return _safely(lambda: Path(path).read_text(encoding="utf-8", errors="replace"), "")


def _safely(look: Callable[[], T], otherwise: T) -> T:
    try:
        return look()
    except OSError:
        return otherwise
