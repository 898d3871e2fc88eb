"""How apps start and end, and how many containers they have meanwhile, through a whole server."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from modicum._running import Run
from modicum.engines.local import NOTICE
from tests.processes import broken, programs, scaling
from tests.processes.watching import eventually, status

pytestmark = pytest.mark.usefixtures("server")


def containers(app: str | None) -> list[str]:
    return [c["id"] for c in status()["containers"] if c["app"] == app]


def test_module_that_does_not_import_fails_its_callers_with_the_error_itself() -> None:
    with broken.app.run(), pytest.raises(ModuleNotFoundError, match="a_package_that_is_not_there"):
        broken.never.remote(1)


def test_app_that_ends_leaves_no_container() -> None:
    with scaling.app.run():
        app = scaling.app.app_id
        scaling.wide.remote(0)
        assert containers(app)
    assert containers(app) == []
    assert scaling.app.app_id is None


def test_min_containers_are_there_before_the_first_call() -> None:
    with scaling.app.run():
        eventually(lambda: len(containers(scaling.app.app_id)) == 1)
        assert scaling.kept.remote() == scaling.kept.remote()


def test_idle_container_goes_after_its_window_and_comes_back() -> None:
    with scaling.app.run():
        first = scaling.brief.remote()
        eventually(lambda: len(containers(scaling.app.app_id)) == 1)  # only the one that is kept
        assert scaling.brief.remote() != first


def test_many_inputs_get_several_containers_but_not_more_than_allowed() -> None:
    with scaling.app.run():
        assert len(set(scaling.wide.map([0.3] * 12))) == 3


def test_many_threads_call_at_once() -> None:
    with programs.app.run(), ThreadPoolExecutor(16) as threads:
        assert list(threads.map(programs.double.remote, range(200))) == [2 * n for n in range(200)]


async def test_async_run() -> None:
    async with programs.app.run():
        assert await programs.double.remote.aio(1) == 2


def test_output_comes_in_whole_lines() -> None:
    heard: list[tuple[str, str, bytes]] = []
    with Run(programs.app, "loud", lambda *entry: heard.append(entry)):
        programs.speak.remote("hello")
    said = {
        stream: b"".join(text for name, source, text in heard if name == stream and source != "modicum")
        for stream in ("stdout", "stderr")
    }
    assert said == {"stdout": b"hello\n", "stderr": b"HELLO\n"}


def test_whoever_starts_an_app_is_told_that_there_is_no_isolation() -> None:
    heard: list[tuple[str, str, bytes]] = []
    with Run(programs.app, "warned", lambda *entry: heard.append(entry)):
        programs.double.remote(1)
    told = [(stream, text) for stream, source, text in heard if source == "modicum"]
    assert told == [("stderr", b"modicum: " + NOTICE.encode() + b"\n")]
    assert status()["runtime"].startswith("process: no isolation")


def test_app_of_a_killed_client_ends(tmp_path: Path) -> None:
    program = (
        "import sys, time\n"
        "from tests.processes import scaling\n"
        "with scaling.app.run():\n"
        "    scaling.kept.remote()\n"
        "    print(scaling.app.app_id, flush=True)\n"
        "    time.sleep(60)\n"
    )
    client = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2])
    assert client.stdout is not None
    app = client.stdout.readline().decode().strip()
    assert app.startswith("ap-")
    assert containers(app)
    client.kill()
    client.wait()
    client.stdout.close()
    eventually(lambda: not containers(app), within_s=5)
    eventually(lambda: app not in [each["id"] for each in status()["apps"]], within_s=5)


def test_call_whose_caller_gave_up_is_cancelled() -> None:
    with programs.app.run():
        results = programs.sleep.map([30.0, 0.0, 0.0, 30.0, 30.0, 30.0], order_outputs=False)
        next(results)
        results.close()  # type: ignore[attr-defined]
        eventually(lambda: programs.double.remote(1) == 2)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # it is what the test is about
def test_fork_does_not_share_connections() -> None:
    with programs.app.run():
        programs.double.remote(1)
        pid = os.fork()
        if pid == 0:
            os._exit(0 if programs.double.remote(20) == 40 else 1)
        assert programs.double.remote(3) == 6
        assert os.waitpid(pid, 0)[1] == 0


def test_session_thread_ends_with_the_app() -> None:
    with programs.app.run():
        assert any(thread.name == "modicum-session" for thread in threading.enumerate())
    assert not any(thread.name == "modicum-session" for thread in threading.enumerate())


_BEHIND_HEAD = """
import sys, time
from modicum._running import Run
from modicum.engines.local import NOTICE
from modicum.output import LinePrinter
from tests.processes import programs

with Run(programs.app, "behind-head", LinePrinter()):
    programs.speak.remote("nobody reads this")
    time.sleep(4)  # an app that nobody follows any longer would be gone by then
    print(programs.double.remote(21), file=sys.stderr)
"""


def test_app_goes_on_when_nobody_reads_its_output() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        program = subprocess.run(
            [sys.executable, "-c", _BEHIND_HEAD],
            check=False,
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    finally:
        os.close(writing)
    assert "42\n" in program.stderr
