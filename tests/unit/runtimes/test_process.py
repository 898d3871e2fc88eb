"""Where are a plain process' things, and which processes are below another?"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from modicum.runtimes.base import BindMount, ContainerSpec
from modicum.runtimes.process import descendants as module
from modicum.runtimes.process.descendants import descendants, end_descendants, end_marked
from modicum.runtimes.process.locator import Locator

ROOT = Path("/h/containers/ta-1/files")


def locator(*mounts: BindMount) -> Locator:
    env = {"HOME": "/root"}
    return Locator(ContainerSpec("ta-1", ROOT, (), env, "/root", "box", 1, 2, mounts=mounts))


LINK = BindMount(Path("/h/links/ta-1"), "/run/modicum")
AGENT = BindMount(Path("/h/agent/b1"), "/run/modicum-agent")
BUILD = BindMount(Path("/h/view"), "/run/modicum-build")
CACHE = BindMount(Path("/h/cache/pip"), "/run/modicum-build/cache/pip")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("/run/modicum", "/h/links/ta-1"),
        ("/run/modicum-agent/modicum/agent/boot.py", "/h/agent/b1/modicum/agent/boot.py"),
        ("touch /run/modicum-build/started; exit 0", "touch /h/view/started; exit 0"),
        ("/run/modicum-build/cache/pip:/run/modicum-build/cache/uv", "/h/cache/pip:/h/view/cache/uv"),
        ("file:///run/modicum-build/x", "file:///h/view/x"),
        ("/run/modicum-builder", "/run/modicum-builder"),
        ("/srv/run/modicum", "/srv/run/modicum"),
        ("/root/x", "/root/x"),
    ],
)
def test_a_mount_is_found_by_its_target(text: str, found: str) -> None:
    assert locator(LINK, AGENT, BUILD, CACHE).paths_in(text) == found


@pytest.mark.parametrize(
    ("word", "found"),
    [("/root", f"{ROOT}/root"), ("/root/a.py", f"{ROOT}/root/a.py"), ("/rootless", "/rootless"), ("-c", "-c")],
)
def test_an_argument_below_the_home_is_below_the_root(word: str, found: str) -> None:
    assert locator(LINK).word(word) == found


def test_a_directory_is_below_the_root_or_in_a_mount() -> None:
    assert locator(LINK).directory("/app") == f"{ROOT}/app"
    assert locator(LINK).directory("/run/modicum") == "/h/links/ta-1"
    assert locator().directory("/run/modicum") == f"{ROOT}/run/modicum"


def test_all_below_a_process_are_found_and_ended() -> None:
    script = "import subprocess, sys; c = subprocess.Popen(['sleep', '100']); print(c.pid, flush=True); c.wait()"
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, start_new_session=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert descendants(parent.pid) == {child}
        assert {parent.pid, child} <= descendants(os.getpid())
        assert end_descendants(parent.pid, 5)
        assert parent.wait() == 0


def test_what_is_no_longer_below_a_process_is_not_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = iter([{11, 12}, {11}, set[int]()])  # the number 12 may be somebody else's after the first look
    killed: list[int] = []
    monkeypatch.setattr(module, "descendants", lambda ancestor: next(looks))
    monkeypatch.setattr(os, "kill", lambda pid, number: killed.append(pid) if number == signal.SIGKILL else None)
    assert end_descendants(10, 5)
    assert killed == [11]


def test_what_is_marked_is_ended_wherever_it_is() -> None:
    mark = f"MODICUM_TEST_MARK={os.urandom(8).hex()}"
    name, value = mark.split("=")
    with (
        subprocess.Popen(["sleep", "100"], env={**os.environ, name: value}) as marked,
        subprocess.Popen(["sleep", "100"], env={**os.environ, name: "other"}) as other,
    ):
        assert end_marked(mark, 5)
        assert marked.wait() == -signal.SIGKILL
        assert other.poll() is None
        other.kill()
