"""Does the local engine keep a keeper, and leave nothing when it stops?"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from modicum.engines.local import LocalEngine, keeper_environment
from tests.real.installation import myself
from tests.real.node.harness import Bench, kill, maps_of, remove


@pytest.fixture
async def home() -> AsyncIterator[Bench]:
    """An empty home of whoever runs the tests."""
    folder = Path(tempfile.mkdtemp(prefix="modicum-engine-"))
    yield Bench(myself(), folder, maps_of(myself()))
    remove(folder)


async def test_from_start_to_stop(home: Bench) -> None:
    engine = LocalEngine(home.layout.home)
    assert engine.status() == {}
    await engine.start()
    await engine.start()
    owner = home.layout.node.stat()
    assert (owner.st_uid, owner.st_gid) == home.maps.root
    await home.until(engine.status, "a keeper")
    facts = engine.status()
    assert {"pid", "node_pid", "build", "limits"} <= set(facts)
    kill(facts["pid"])
    await home.until(lambda: engine.status().get("pid") not in (None, facts["pid"]), "another keeper")
    await engine.stop()
    assert engine.status() == {}
    await home.until(lambda: not home.left(), f"the end of {home.left()}")
    await engine.stop()


async def test_a_keeper_outlives_its_engine_and_is_found_by_the_next(home: Bench) -> None:
    first, second = LocalEngine(home.layout.home), LocalEngine(home.layout.home)
    await first.start()
    await home.until(first.status, "a keeper")
    pid = first.status()["pid"]
    await second.start()
    await asyncio.sleep(1.2)  # longer than an engine takes to look again
    assert second.status()["pid"] == pid
    await second.stop()
    assert first.status() == {}
    await first.stop()


async def test_stopped_while_it_starts(home: Bench) -> None:
    engine = LocalEngine(home.layout.home)
    await engine.start()
    await engine.stop()
    await asyncio.sleep(0.5)
    assert not home.left()


def test_a_keeper_gets_what_it_needs_and_no_secrets() -> None:
    environ = {"PATH": "/bin", "HOME": "/h", "TOKEN": "x", "https_proxy": "p", "MODICUM_X": "1", "PYTHONHOME": "/p"}
    kept = keeper_environment(environ)
    assert set(kept) == {"PATH", "HOME", "https_proxy", "MODICUM_X", "PYTHONPATH"}
    assert kept["PATH"].split(":")[0] == "/bin"
    assert "/usr/sbin" in kept["PATH"].split(":")
    assert os.path.isdir(kept["PYTHONPATH"])
