"""Does each OCI runtime keep what `runtimes/base.py` promises?"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.runtime_checks import CHECKS
from tests.real.installation import myself
from tests.real.node.harness import give, maps_of, remove
from tests.real.node.rootfs import make_root

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module", params=["crun", "runc"])
def results(request: pytest.FixtureRequest) -> Iterator[dict[str, str | None]]:
    """What each check said of one runtime."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    if shutil.which(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    home = Path(tempfile.mkdtemp(prefix="modicum-conformance-"))
    try:
        yield run_checks(request.param, home)
    finally:
        remove(home)


def run_checks(runtime: str, home: Path) -> dict[str, str | None]:
    root = home / "node/root"
    root.mkdir(parents=True)
    make_root(root)
    give(home / "node", maps_of(myself()))
    command = [sys.executable, "-m", "tests.conformance.node_stand_in", str(home), runtime, str(root)]
    environment = {**os.environ, "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY}/src"}
    done = subprocess.run(command, cwd="/", env=environment, capture_output=True, text=True, timeout=100, check=False)
    found = dict(json.loads(line) for line in done.stdout.splitlines() if line.startswith("["))
    assert found, done.stdout + done.stderr
    return found


@pytest.mark.parametrize("check", [*(check.__name__ for check in CHECKS), "nothing is left"])
def test_runtime(results: dict[str, str | None], check: str) -> None:
    assert results[check] is None, results[check]
