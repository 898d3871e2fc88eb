"""A deployed app in real containers: called from other programs, and there again after the server was stopped."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from tests.real.installation import ROOT, Installation, wait_until

GUIDE = ROOT / "examples" / "guide"
PROGRAM = GUIDE / "job_queue.py"


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


@pytest.mark.timeout(600)
def test_the_guides_schedules(installation: Installation) -> None:
    program = installation.copy(GUIDE / "scheduling.py")
    told = installation.run("deploy", str(program)).stderr
    for function, schedule in (
        ("hourly_task", "Period(hours=1)"),
        ("daily_report", "Cron('0 9 * * *', UTC)"),
        ("frequent_check", "Period(minutes=5)"),
    ):
        assert f"{function} runs by itself: {schedule}, next 20" in told
    installation.run("app", "run-now", "scheduling", "hourly_task")
    wait_until(lambda: hourly(installation)["state"] == "succeeded", lambda: str(hourly(installation)), within_s=60)
    printed = installation.run("app", "logs", "scheduling").stdout.splitlines()
    assert printed == ["Running hourly task"]
    installation.run("app", "stop", "scheduling", "--yes")


def hourly(installation: Installation) -> dict[str, Any]:
    """Return the last run of the function that has one."""
    facts = json.loads(installation.run("app", "info", "scheduling", "--json").stdout)
    run: dict[str, Any] = facts["schedules"][2]["last_run"]
    return run
