"""The guide's job queue, as its users use it: deployed, with jobs submitted from other processes, over a restart."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from modicum import _server
from tests.processes.conftest import start_server

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "examples" / "guide" / "job_queue.py"
SLEEP = "time.sleep(10)"
WAIT = """
    import pathlib
    while not pathlib.Path(data["go"]).exists():
        time.sleep(0.01)"""

FINISH = """
import time
while (result := job_queue.get_result({0!r})) == {{'status': 'pending'}}:
    time.sleep(0.02)
print(result)
"""


def python(folder: Path, code: str) -> str:
    """Run code in a process of its own, in the folder of the program."""
    code = f"import modicum; modicum.install_as_modal()\nimport job_queue\n{code}"
    return subprocess.check_output([sys.executable, "-c", code], cwd=folder, text=True).strip()


def test_jobs_are_submitted_and_done_over_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODICUM_HOME", str(tmp_path))
    program = tmp_path / "job_queue.py"
    text = PROGRAM.read_text()
    assert text.count(SLEEP) == 1
    program.write_text(text.replace(SLEEP, WAIT.strip()))  # it works until it is told to be done
    server = start_server(tmp_path)
    command = [sys.executable, "-m", "modicum.cli.main", "deploy", str(program)]
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "job-queue is version 1 now: 1 function, 1 image" in told.stderr
    job = {"go": str(tmp_path / "go"), "n": 5}
    submit = f"call = job_queue.submit_job({job})\nprint(call, job_queue.get_result(call))"
    call, _, result = python(tmp_path, submit).partition(" ")
    assert (call[:3], result) == ("fc-", "{'status': 'pending'}")
    server.kill()
    server.wait()
    server = start_server(tmp_path)
    (tmp_path / "go").touch()
    assert python(tmp_path, FINISH.format(call)) == str({"status": "complete", "data": job})
    link = _server.running()
    assert link is not None
    with link:
        _server.ask(link, {"t": "server.stop", "all": True})
    assert server.wait(20) == 0
