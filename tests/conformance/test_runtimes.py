"""Does each runtime keep what `runtimes/base.py` promises?"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import pytest

from modicum.runtimes.oci import OciRuntime
from modicum.runtimes.process import ProcessRuntime
from tests.conformance.runtime_checks import checks_of
from tests.real.installation import myself
from tests.real.node.harness import give, maps_of, remove
from tests.real.node.rootfs import make_root

REPOSITORY = Path(__file__).resolve().parents[2]


RUNTIMES = {"crun": OciRuntime.capabilities, "runc": OciRuntime.capabilities, "process": ProcessRuntime.capabilities}
CASES = [
    (name, check)
    for name, capabilities in RUNTIMES.items()
    for check in (*(check.__name__ for check in checks_of(capabilities)), "nothing is left")
]


@pytest.fixture(scope="module")
def results() -> Iterator[Callable[[str], dict[str, str | None]]]:
    """What each check said of a runtime."""
    with ExitStack() as stack:

        @cache
        def of(runtime: str) -> dict[str, str | None]:
            home = Path(tempfile.mkdtemp(prefix="modicum-conformance-"))
            stack.callback(remove, home)
            return check_plain(home) if runtime == ProcessRuntime.name else check_isolated(runtime, home)

        yield of


def check_isolated(runtime: str, home: Path) -> dict[str, str | None]:
    root = home / "node/root"
    root.mkdir(parents=True)
    make_root(root)
    give(home / "node", maps_of(myself()))
    return run("tests.conformance.node_stand_in", str(home), runtime, str(root))


def check_plain(home: Path) -> dict[str, str | None]:
    return run("tests.conformance.runtime_checks", "--home", str(home), ProcessRuntime.name, str(home))


def run(*module: str) -> dict[str, str | None]:
    environment = {**os.environ, "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY}/src"}
    done = subprocess.run(
        [sys.executable, "-m", *module],
        cwd="/",
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    found = dict(json.loads(line) for line in done.stdout.splitlines() if line.startswith("["))
    assert found, done.stdout + done.stderr
    return found


@pytest.mark.parametrize(("runtime", "check"), CASES)
def test_runtime(results: Callable[[str], dict[str, str | None]], runtime: str, check: str) -> None:
    if RUNTIMES[runtime].isolation and os.geteuid() != 0:
        pytest.skip("needs root")
    if RUNTIMES[runtime].isolation and shutil.which(runtime) is None:
        pytest.skip(f"{runtime} is not installed")
    assert results(runtime)[check] is None, results(runtime)[check]
