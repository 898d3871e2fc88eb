"""How builds share, fail and end early, with a launcher that only pretends."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from modicum.node.images import bases, mounts
from modicum.node.images.builder import ImageBuilder
from modicum.node.images.filesets import BadFileSet
from modicum.node.launch import Launch
from modicum.runtimes.base import Exit, RuntimeFailure
from modicum.wire import filesets
from tests.unit.images.fileserver import FileServer

Layers = list[dict[str, Any]]

BASE = {"id": "im-base", "step": {"op": "debian_slim", "python": "3.12"}}
NUMPY = {"id": "im-numpy", "step": {"op": "pip_install", "packages": ["numpy"]}}
ATTRS = {"id": "im-attrs", "step": {"op": "uv_pip_install", "packages": ["attrs"]}}


@dataclass
class FakeRunning:
    launch: Launch
    gate: asyncio.Event
    exit: Exit
    says: bytes
    killed: bool = False

    async def wait(self) -> Exit:
        await self.gate.wait()
        if self.killed:
            return Exit(0, signal=9)
        self.launch.on_output("stdout", self.says)
        if self.launch.upper is not None:
            (self.launch.upper / "made").touch()
        return self.exit

    def kill(self) -> None:
        self.killed = True
        self.gate.set()

    def flush(self) -> None:
        """Nothing is held back."""


@dataclass
class FakeLauncher:
    """Its containers end when `gate` is set, which it is unless a test clears it."""

    gate: asyncio.Event = field(default_factory=asyncio.Event)
    exit: Exit = field(default_factory=lambda: Exit(0))
    says: bytes = b"one\ntwo"
    refuses: str = ""
    running: list[FakeRunning] = field(default_factory=list)

    async def launch(self, launch: Launch) -> FakeRunning:
        if self.refuses:
            raise RuntimeFailure(self.refuses)
        self.running.append(FakeRunning(launch, self.gate, self.exit, self.says))
        return self.running[-1]


class Site:
    """A builder, its launcher, and what it sent."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.launcher = FakeLauncher()
        self.launcher.gate.set()
        self.sent: list[tuple[dict[str, Any], bytes]] = []
        self.server = FileServer()
        self.builder = ImageBuilder(self.launcher, home, lambda *frame: self.sent.append(frame), self.server)

    def output(self, build: str) -> str:
        parts = [payload for header, payload in self.sent if header["t"] == "build.output" and header["build"] == build]
        return b"".join(parts).decode()

    def result(self, build: str) -> dict[str, Any]:
        (header,) = [h for h, _ in self.sent if h["build"] == build and h["t"] in ("build.done", "build.failed")]
        return header

    async def files(self, set_id: str) -> Path:
        """Return the directory of a file set, which nobody holds any longer."""
        async with self.builder.holding_files(set_id, ["im-base"]) as folder:
            return folder

    async def scratch(self) -> list[Path]:
        """Return what is left to work in, when what goes on behind builds has ended: it writes records there."""
        await asyncio.gather(*self.builder._chores)
        return list((self.home / "tmp").iterdir())


@pytest.fixture
async def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    async def build_base(minor: str, target: Path, work: Path, tell: Callable[[str], None]) -> dict[str, Any]:
        tell("bootstrapping")
        (target / "etc").mkdir()
        return {"env": {"PATH": "/bin"}, "workdir": "/root", "python": "/bin/python", "python_minor": minor}

    monkeypatch.setattr(bases, "build", build_base)
    return Site(tmp_path)


async def settled() -> None:
    """Let everything that can run do so; files are touched in threads."""
    for _ in range(50):
        await asyncio.sleep(0.002)


async def test_layers_are_built_in_order_once(site: Site) -> None:
    await site.builder.build("bu-1", [BASE, NUMPY, ATTRS])
    assert site.builder.layers() == ["im-attrs", "im-base", "im-numpy"]
    (first, second) = (running.launch for running in site.launcher.running)
    assert [path.name for path in first.layers] == ["im-base"]
    assert [path.name for path in second.layers] == ["im-numpy", "im-base"]
    assert first.env["PATH"] == "/bin"
    assert site.result("bu-1")["config"]["python"] == "/bin/python"
    assert "Step 2/3: pip install numpy\none\ntwo\nStep 2/3: done in" in site.output("bu-1")
    assert await site.scratch() == []
    await site.builder.build("bu-2", [BASE, NUMPY, ATTRS])
    assert site.output("bu-2") == ""
    assert site.result("bu-2")["t"] == "build.done"
    assert len(site.launcher.running) == 2


async def test_a_failing_step_says_what_and_why(site: Site) -> None:
    site.launcher.exit = Exit(3)
    await site.builder.build("bu-1", [BASE, NUMPY])
    result = site.result("bu-1")
    assert (result["t"], result["layer"], result["code"]) == ("build.failed", "im-numpy", 3)
    assert "`pip install numpy` exited with status 3:" in result["message"]
    assert result["message"].endswith("one\ntwo")
    assert site.builder.layers() == ["im-base"]
    assert await site.scratch() == []


@pytest.mark.parametrize(
    ("layers", "says"),
    [
        ([BASE, {"id": "im-x", "step": {"op": "new_thing"}}], "no build step 'new_thing'"),
        ([NUMPY], "needs an image to stand on"),
    ],
)
async def test_what_cannot_be_run_is_a_failure(site: Site, layers: Layers, says: str) -> None:
    await site.builder.build("bu-1", layers)
    assert site.result("bu-1")["code"] == -1
    assert says in site.result("bu-1")["message"]


async def test_a_runtime_that_refuses_is_a_failure(site: Site) -> None:
    site.launcher.refuses = "no cgroups here"
    await site.builder.build("bu-1", [BASE, NUMPY])
    assert "no cgroups here" in site.result("bu-1")["message"]
    assert await site.scratch() == []


async def test_two_builds_share_a_layer(site: Site) -> None:
    site.launcher.gate.clear()
    builds = [asyncio.create_task(site.builder.build(f"bu-{n}", [BASE, NUMPY])) for n in (1, 2)]
    await settled()
    assert len(site.launcher.running) == 1
    site.launcher.gate.set()
    await asyncio.gather(*builds)
    for build in ("bu-1", "bu-2"):
        assert site.result(build)["t"] == "build.done"
        assert "one\ntwo\n" in site.output(build)


async def test_whoever_joins_late_sees_what_was_said(site: Site) -> None:
    site.launcher.gate.clear()
    first = asyncio.create_task(site.builder.build("bu-1", [BASE, NUMPY]))
    await settled()
    site.launcher.running[0].launch.on_output("stdout", b"early\n")
    second = asyncio.create_task(site.builder.build("bu-2", [BASE, NUMPY]))
    await settled()
    assert "early\n" in site.output("bu-2")
    site.launcher.gate.set()
    await asyncio.gather(first, second)


async def test_cancelling_kills_the_step_and_leaves_nothing(site: Site) -> None:
    site.launcher.gate.clear()
    build = asyncio.create_task(site.builder.build("bu-1", [BASE, NUMPY]))
    await settled()
    site.builder.cancel("bu-1")
    await build
    assert site.launcher.running[0].killed
    assert all(header["t"] == "build.output" for header, _ in site.sent)
    assert site.builder.layers() == ["im-base"]
    assert await site.scratch() == []


async def test_a_cancelled_build_leaves_the_step_to_another(site: Site) -> None:
    site.launcher.gate.clear()
    builds = [asyncio.create_task(site.builder.build(f"bu-{n}", [BASE, NUMPY])) for n in (1, 2)]
    await settled()
    site.builder.cancel("bu-1")
    await builds[0]
    assert not site.launcher.running[0].killed
    site.launcher.gate.set()
    await builds[1]
    assert site.result("bu-2")["t"] == "build.done"


async def test_a_build_begins_afresh_beside_a_cancelled_one(site: Site) -> None:
    site.launcher.gate.clear()
    first = asyncio.create_task(site.builder.build("bu-1", [BASE, NUMPY]))
    await settled()
    site.builder.cancel("bu-1")
    second = asyncio.create_task(site.builder.build("bu-1", [BASE, NUMPY]))
    await asyncio.gather(first, second)
    assert site.result("bu-1")["t"] == "build.done"
    assert await site.scratch() == []


async def test_a_build_that_is_asked_for_again_is_the_same(site: Site) -> None:
    site.launcher.gate.clear()
    first = asyncio.create_task(site.builder.build("bu-1", [BASE, NUMPY]))
    await settled()
    await site.builder.build("bu-1", [BASE, NUMPY])
    site.launcher.gate.set()
    await first
    assert site.result("bu-1")["t"] == "build.done"
    assert site.output("bu-1").count("one\n") == 1


async def test_cancelling_what_is_not_building_is_nothing(site: Site) -> None:
    site.builder.cancel("bu-9")


async def test_a_lost_awaiter_ends_the_build(site: Site) -> None:
    site.launcher.gate.clear()
    build = asyncio.create_task(site.builder.build("bu-1", [BASE, NUMPY]))
    await settled()
    build.cancel()
    with pytest.raises(asyncio.CancelledError):
        await build
    assert site.launcher.running[0].killed
    assert await site.scratch() == []


async def test_a_file_set_is_made_once(site: Site) -> None:
    set_id = site.server.add({"root/main.py": b"x"})
    await site.builder.build("bu-1", [BASE])
    paths = await asyncio.gather(*(site.files(set_id) for _ in range(3)))
    assert len(site.server.asked) == 2  # its manifest and its content
    assert {(path / "root/main.py").read_text() for path in paths} == {"x"}
    assert await site.scratch() == []


async def test_a_changed_set_fetches_what_changed(site: Site) -> None:
    await site.builder.build("bu-1", [BASE])
    files = {f"root/{n}.py": b"%d" % n for n in range(100)}
    await site.files(site.server.add(files))
    site.server.asked.clear()
    changed = site.server.add({**files, "root/7.py": b"new"})
    path = await site.files(changed)
    assert (path / "root/7.py").read_text() == "new"
    assert (path / "root/8.py").read_text() == "8"
    assert site.server.asked == [filesets.manifest_blob(changed), hashlib.sha256(b"new").hexdigest()]


async def test_a_set_that_is_not_what_its_name_says_leaves_nothing(site: Site) -> None:
    await site.builder.build("bu-1", [BASE])
    good = site.server.add({"root/main.py": b"x"})
    for blob, bad in list(site.server.kept.items()):
        site.server.kept[blob] = b"y" if bad == b"x" else bad.replace(b"main", b"evil")
        with pytest.raises(BadFileSet, match="is another"):
            await site.files(good)
        site.server.kept[blob] = bad
    assert site.builder.layers() == ["im-base"]
    assert await site.scratch() == []
    assert (await site.files(good) / "root/main.py").read_text() == "x"


async def test_a_baked_set_is_a_layer(site: Site) -> None:
    set_id = site.server.add({"data/run.sh": b"run"})
    layer = {"id": "im-baked", "step": {"op": "add_files", "files": set_id, "words": "add_local_dir /data"}}
    await site.builder.build("bu-1", [BASE, layer])
    assert site.result("bu-1")["config"]["env"] == {"PATH": "/bin"}
    assert "Step 2/2: add_local_dir /data" in site.output("bu-1")
    made = site.builder.path("im-baked") / "data/run.sh"
    assert (made.read_text(), made.stat().st_mode & 0o777) == ("run", 0o755)


async def test_a_baked_set_that_the_server_lost_fails_its_step(site: Site) -> None:
    step = {"op": "add_files", "files": "fs-" + "0" * 64, "words": "add_local_dir /data"}
    site.server.kept["sha-" + "0" * 64] = b"[]"
    await site.builder.build("bu-1", [BASE, {"id": "im-baked", "step": step}])
    assert "Step 2/2 failed: the manifest of fs-000" in site.result("bu-1")["message"]
    assert site.builder.layers() == ["im-base"]


async def test_the_agent_is_compiled_once_per_python(site: Site) -> None:
    (site.home / "agent/b1").mkdir(parents=True)
    await site.builder.build("bu-1", [BASE])
    await asyncio.gather(*(site.builder.ensure_agent(["im-base"], "b1") for _ in range(2)))
    assert await site.scratch() == []
    await ImageBuilder(site.launcher, site.home, lambda *_: None, site.server).ensure_agent(["im-base"], "b1")
    (running,) = site.launcher.running
    assert running.launch.argv[0] == "/bin/python"
    assert not running.launch.network
    assert await site.scratch() == []


async def test_no_image_can_write_what_others_run(site: Site) -> None:
    agent = site.home / "agent/b1"
    agent.mkdir(parents=True)
    await site.builder.build("bu-1", [BASE, NUMPY])
    await site.builder.ensure_agent(["im-base", "im-numpy"], "b1")
    launch = site.launcher.running[-1].launch
    assert [path.name for path in launch.layers] == ["im-base"]
    source, output = launch.mounts
    assert (source.source, source.read_only) == (agent, True)
    assert output.source.parent == site.home / "tmp"


async def test_an_agent_that_does_not_compile_is_an_error(site: Site) -> None:
    (site.home / "agent/b1").mkdir(parents=True)
    await site.builder.build("bu-1", [BASE])
    site.launcher.exit = Exit(1)
    with pytest.raises(RuntimeFailure, match="two"):
        await site.builder.ensure_agent(["im-base"], "b1")


RUN = {"id": "im-run", "step": {"op": "run_commands", "commands": ["make"]}}
CONFIGURED: Layers = [
    {"op": "configure", "env": {"A": "1", "PIP_NO_INPUT": "0"}},
    {"op": "configure", "workdir": "src"},
]


async def test_a_step_sees_what_was_configured_before_it_and_the_image_has_all(site: Site) -> None:
    after = [*CONFIGURED, {"op": "configure", "env": {"A": "2"}, "entrypoint": ["e"]}]
    await site.builder.build("bu-1", [BASE, {**RUN, "configured": CONFIGURED}], after)
    launch = site.launcher.running[0].launch
    assert (launch.cwd, launch.env["A"], launch.env["PIP_NO_INPUT"]) == (
        "/root/src",
        "1",
        "0",
    )  # the user's word counts
    config = site.result("bu-1")["config"]
    assert (config["env"]["A"], config["workdir"], config["entrypoint"]) == ("2", "/root/src", ["e"])
    await site.builder.build("bu-2", [BASE, RUN])
    assert site.result("bu-2")["config"]["workdir"] == "/root"


async def test_a_step_that_takes_too_long_is_ended(site: Site) -> None:
    site.launcher.gate.clear()
    shipped = {"arguments": "", "module": "m"}
    step = {"op": "run_function", "function": "f", "timeout": 0.01, "shipped": shipped}
    await site.builder.build("bu-1", [BASE, {"id": "im-f", "step": step}])
    assert "`run_function f` did not end within its 0.01 s" in site.result("bu-1")["message"]
    assert site.launcher.running[0].killed
    assert (site.builder.layers(), await site.scratch()) == (["im-base"], [])


async def test_a_functions_program_lies_over_the_image_and_is_not_kept(site: Site) -> None:
    files = site.server.add({"root/main.py": b"x"})
    shipped = {"arguments": "", "module": "main", "files": files}
    step = {"op": "run_function", "function": "f", "timeout": 9, "shipped": shipped}
    await site.builder.build("bu-1", [BASE, {"id": "im-f", "step": step, "agent": "b1"}])
    launch = site.launcher.running[0].launch
    assert [path.name for path in launch.layers] == [launch.layers[0].name, "im-base"]
    assert (launch.layers[0] / "root/main.py").read_text() == "x"
    assert not (site.builder.path("im-f") / "root").exists()
    (agent,) = [mount.source for mount in launch.mounts if mount.target == "/run/modicum-agent"]
    assert agent == site.home / "agent/b1"


async def test_a_full_disk_is_named(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/cache")

    monkeypatch.setattr(mounts, "lay_out", no_room)
    await site.builder.build("bu-1", [BASE, RUN])
    message = site.result("bu-1")["message"]
    assert "Step 2/2 failed: [Errno 28] No space left on device: '/cache'" in message
    assert "A disk is full" in message
    assert (site.builder.layers(), await site.scratch()) == (["im-base"], [])
