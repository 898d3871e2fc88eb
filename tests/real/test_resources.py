"""What functions ask of the machine, as their user sees it: limits that hold, words when they do not, and a report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.real.installation import Installation

pytestmark = pytest.mark.timeout(600)  # the first one may build the base

PROGRAM = """
import time
import modicum

app = modicum.App("resources", tags={"team": "blue"})

@app.function(memory=(128, 192))
def hog():
    return len(bytearray(256 << 20))

@app.local_entrypoint()
def main():
    try:
        print(hog.remote() >> 20, "MiB")
    except Exception as error:
        print(error)
"""

OUT_OF_MEMORY = "(oom: it ran out of memory: limit 192 MiB, peak 19"


def test_limits_and_reports(installation: Installation, tmp_path: Path) -> None:
    program = tmp_path / "resources.py"
    program.write_text(PROGRAM)
    done = installation.run("run", str(installation.copy(program)))
    if installation.status()["limits"].startswith("limits enforced"):
        assert OUT_OF_MEMORY in done.stdout, done.stdout + done.stderr
        assert done.stdout.endswith(" MiB; ask for more with memory=…)\n")
    else:
        assert done.stdout == "256 MiB\n", done.stdout
        assert done.stderr.count("warning: limits not enforced") == 1, done.stderr
    arguments = ("--for", "today", "--show-resources", "-t", "team", "--json")
    rows = json.loads(installation.run("billing", "report", *arguments).stdout)
    rows += json.loads(installation.run("billing", "report", "--for", "yesterday", *arguments[2:]).stdout)  # midnight
    found = {row["resource"]: float(row["cost"]) for row in rows if row["description"] == "resources"}
    assert found.keys() == {"CPU", "Memory"}
    assert all(found.values())
