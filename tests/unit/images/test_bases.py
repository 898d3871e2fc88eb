"""Where the Python of a base comes from when the archive lacks its suite."""

from __future__ import annotations

from pathlib import Path

import pytest

from modicum.node.images import apt, bases, interpreter


class Archive:
    """Has some suites; what else is asked of it fails as mmdebstrap does."""

    def __init__(self, *suites: str) -> None:
        self.suites = suites
        self.asked: list[str] = []

    async def run(self, environ: dict[str, str], log: Path, suite: str) -> None:
        self.asked.append(suite)
        if suite not in self.suites:
            raise bases._SuiteMissing(f"the package archive that this machine uses has no Debian {suite}")


@pytest.fixture
def archive(monkeypatch: pytest.MonkeyPatch) -> Archive:
    archive = Archive("bookworm")
    monkeypatch.setattr(bases, "_run", archive.run)
    monkeypatch.setattr(apt, "host_settings", lambda suite: apt.AptSettings())
    return archive


async def build(minor: str, folder: Path) -> list[str]:
    said: list[str] = []
    (folder / "work").mkdir()
    config = await bases.build(minor, folder / "target", folder / "work", said.append)
    assert config["python_minor"] == minor
    return said


async def test_the_suites_own_python_comes_first(archive: Archive, tmp_path: Path) -> None:
    await build("3.11", tmp_path)
    assert archive.asked == ["bookworm"]


async def test_without_the_suite_it_is_looked_for_elsewhere(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def find(minor: str, why: str, *_: object) -> interpreter.Interpreter:
        return interpreter.Interpreter(tmp_path, f"{minor}.0", "a test", (2, 17))

    monkeypatch.setattr(interpreter, "find", find)
    monkeypatch.setattr(interpreter, "stage", lambda *_: None)
    said = await build("3.14", tmp_path)
    assert archive.asked == ["forky", "bookworm"]
    assert "has no Debian forky; looking for a Python 3.14" in said[1]
    assert "Bootstrapping Debian bookworm with CPython 3.14.0 from a test" in said[2]


async def test_where_there_is_none_it_is_said(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fetch(minor: str, scratch: Path) -> tuple[None, str]:
        return None, "dns error"

    monkeypatch.setattr(interpreter, "_fetch", fetch)
    monkeypatch.setattr(interpreter, "interpreter_prefixes", lambda minor: [])
    with pytest.raises(bases.BaseFailed) as caught:
        await build("3.14", tmp_path)
    assert str(caught.value) == (
        "No CPython 3.14 can be had: the package archive that this machine uses has no Debian forky, uv could not "
        "fetch it (dns error), and this machine has none with its library complete (found here: none). Install one, "
        "for example with `uv python install 3.14` or pyenv, or choose another python_version."
    )
