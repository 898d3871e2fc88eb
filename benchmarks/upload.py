"""How long does a tree of 10,000 local files take to a container: first, unchanged, and with one changed."""

from __future__ import annotations

import os
import subprocess
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from harness import SIDES, Figure, Report, Setting, Side, in_turn, median, milliseconds, seconds

FILES, FOLDERS = 10_000, 200
BYTES_MIN, BYTES_MAX = 100, 8_000  # as sources are; 40 MB together

COPY = "`cp -r`"  # to the same disk
ARCHIVE = "`tar c | tar x`"  # as well
HASH = "`find | xargs sha256sum`"


def measure(setting: Setting) -> Report:
    """Write the tree anew, run the program three times, and beside it copy and hash the same tree."""
    with tempfile.TemporaryDirectory(prefix="modicum-tree-", dir=_same_disk()) as scratch:
        tree = Path(scratch, "tree")
        ours = Side("env", f"BENCHMARK_TREE={tree}", setting.python, SIDES / "upload_side.py")
        contestants = {
            "first": lambda: (_write(tree), ours.ask("run"))[1],
            "unchanged": partial(ours.ask, "run"),
            "one changed": lambda: (_change(tree), ours.ask("run"))[1],
            COPY: lambda: _command(scratch, f"cp -r {tree} copy"),
            ARCHIVE: lambda: _command(scratch, f"mkdir copy && tar c -C {tree} . | tar x -C copy"),
            HASH: lambda: _command(scratch, f"find {tree} -type f -print0 | xargs -0 sha256sum > copy"),
        }
        rounds = in_turn(setting.rounds, contestants)
        ours.close()
    assert all(sample["files"] == FILES for name in ("first", "unchanged", "one changed") for sample in rounds[name])
    taken = {name: median(rounds[name]) for name in (COPY, ARCHIVE, HASH)}
    rows = [_row(name, rounds[name]) for name in ("first", "unchanged", "one changed")]
    rows += [[name, milliseconds(found), ""] for name, found in taken.items()]
    figures = [_figure(name, rounds[name], peer, taken[peer]) for name, peer in (("first", COPY), ("unchanged", HASH))]
    headers = ["10,000 files, 40 MB", "until the app runs", "until a function has counted them"]
    return Report("Upload of a source tree", headers, rows, figures, LIMITS)


def _same_disk() -> Path:
    """Return a directory on the file system on which the files end up."""
    home = Path(os.environ.get("MODICUM_HOME", "~/.modicum")).expanduser().absolute()
    home.parent.mkdir(parents=True, exist_ok=True)
    return home.parent


def _write(tree: Path) -> None:
    """Write files that nobody has seen yet."""
    for number in range(FILES):
        folder = tree / f"package_{number % FOLDERS}"
        if number < FOLDERS:
            folder.mkdir(parents=True, exist_ok=True)
        size = BYTES_MIN + number * (BYTES_MAX - BYTES_MIN) // FILES
        (folder / f"module_{number}.py").write_bytes(os.urandom(size))


def _change(tree: Path) -> None:
    (tree / "package_0" / "module_0.py").write_bytes(os.urandom(BYTES_MIN))


def _command(scratch: str, command: str) -> float:
    taken = seconds(lambda: subprocess.run(command, shell=True, cwd=scratch, check=True))
    subprocess.run(["rm", "-r", "copy"], cwd=scratch, check=True)
    return taken


def _row(name: str, samples: list[dict[str, Any]]) -> list[str]:
    return [
        f"Modicum, {name}",
        *(milliseconds(median([each[key] for each in samples])) for key in ("uploaded", "counted")),
    ]


def _figure(name: str, samples: list[dict[str, Any]], peer: str, peer_s: float) -> Figure:
    ours = median([each["uploaded"] for each in samples])
    what = f"upload of 10,000 files, {name}"
    return Figure(what, milliseconds(ours), f"{peer} {milliseconds(peer_s)}", f"{ours / peer_s:.2f}×", "")


LIMITS = ""
