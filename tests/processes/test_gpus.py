"""Who has which GPU, over the death of a server? On a machine that is taken to have some."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from modicum import _blocking, _server
from modicum.exception import InternalFailure, InvalidError
from tests.processes import graphic
from tests.processes.watching import eventually, status


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder to meet in, and a home of its own for servers that are killed."""
    _blocking.close_idle()
    monkeypatch.setenv("MODICUM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MODICUM_RUNTIME", "process")
    monkeypatch.setenv("MODICUM_GPUS", "H100:2,T4")
    (tmp_path / "held").mkdir()
    yield tmp_path / "held"
    with _server.connect() as link:
        _server.ask(link, {"t": "server.stop", "all": True})
    _blocking.close_idle()


def free() -> dict[str, int]:
    return {each["type"]: each["free"] for each in status()["gpus"]}


def test_each_has_its_own_until_its_container_has_gone(machine: Path) -> None:
    impossible = "^calls of 'eight' fail: .* the GPU H100:8 or H200:8"
    with pytest.warns(UserWarning, match=impossible), graphic.app.run():  # noqa: PT031 - the program warns
        first, second = [graphic.hold.with_options(timeout=200 + n).spawn(str(machine)) for n in range(2)]
        eventually(lambda: len(os.listdir(machine)) == 2, within_s=30)
        assert free() == {"H100": 0, "T4": 1}
        waiting = graphic.both.spawn()
        os.kill(status()["pid"], signal.SIGKILL)
        assert graphic.ranked.remote() == ["declared-2"]  # it has another server started
        assert free()["H100"] == 0
        with pytest.raises(TimeoutError):
            waiting.get(timeout=0)
        (machine / "go").touch()
        assert sorted([*first.get(), *second.get()]) == ["declared-0", "declared-1"]
        assert sorted(waiting.get(timeout=60)) == ["declared-0", "declared-1"]

        assert graphic.none.remote() == [""]
        with pytest.raises(InternalFailure, match=r"^'eight': .* the GPU H100:8 or H200:8, more than any machine"):
            graphic.eight.remote()
        with pytest.raises(InvalidError, match=r"^'none' asks for the GPU type 'H10', .*; your machines have H"):
            graphic.none.with_options(gpu="H10").remote()
