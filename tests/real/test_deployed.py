"""A deployed app in real containers: called from other programs, and there again after the server was stopped."""

from __future__ import annotations

import subprocess

import pytest

from tests.real.installation import ROOT, Installation

PROGRAM = ROOT / "examples" / "guide" / "job_queue.py"


def python(installation: Installation, code: str) -> str:
    """Run code in a process of its own, with the guide's program at hand."""
    folder = installation.home / "programs"
    first = f"import sys, modicum; modicum.install_as_modal(); sys.path.insert(0, {str(folder)!r}); import job_queue"
    code = f"{first}\n{code}"
    return subprocess.check_output(installation.python("-c", code), cwd="/", text=True).strip()


SUBMIT = """
call = job_queue.submit_job({'n': 5})
print(call, job_queue.get_result(call))
"""
FINISH = """
import modal, time
while (result := job_queue.get_result(CALL)) == {'status': 'pending'}:
    time.sleep(0.05)
print(result, modal.Function.from_name('job-queue', 'process_job').remote({'n': 6}))
modal.App.lookup('job-queue').stop()
"""


@pytest.mark.timeout(600)  # the first one builds its image
def test_jobs_are_done_over_a_stop_of_everything(installation: Installation) -> None:
    program = installation.copy(PROGRAM)
    program.write_text(PROGRAM.read_text().replace("time.sleep(10)", "time.sleep(1)"))
    installation.run("deploy", str(program))
    call, _, result = python(installation, SUBMIT).partition(" ")
    assert result == "{'status': 'pending'}"
    installation.stop()
    done = python(installation, FINISH.replace("CALL", repr(call)))
    assert done == "{'status': 'complete', 'data': {'n': 5}} {'status': 'complete', 'data': {'n': 6}}"
