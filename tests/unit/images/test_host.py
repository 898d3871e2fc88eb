"""What is read of a machine's settings, and how paths in them are moved."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from modicum.node.images import host


@pytest.fixture
def machine(tmp_path: Path) -> dict[str, str]:
    """Return the environment of a machine with settings of all kinds."""
    index = tmp_path / "mirror/simple"
    wheels = tmp_path / "wheels"
    for folder in (index, wheels, tmp_path / "home/.config/pip", tmp_path / "home/.config/uv"):
        folder.mkdir(parents=True)
    (tmp_path / "ca.crt").write_text("certificate")
    (tmp_path / "home/.config/pip/pip.conf").write_text(
        f"[global]\nfind-links = {wheels}\nindex-url = https://u:p@example.org{index}\n"
        f"extra-index-url =\n    file://{index}\n    https://example.org/simple\n"
        "cache-dir = /elsewhere\nuser = true\n[install]\nno-binary = x\n"
    )
    (tmp_path / "home/.config/uv/uv.toml").write_text(f'find-links = ["{wheels}"]\n')
    return {
        "HOME": str(tmp_path / "home"),
        "SSL_CERT_FILE": str(tmp_path / "ca.crt"),
        "PIP_FIND_LINKS": str(wheels),
        "PIP_TARGET": "/elsewhere",
        "UV_INDEX_MINE_PASSWORD": "p",
        "UV_CACHE_DIR": "/elsewhere",
        "https_proxy": "http://proxy:3128",
        "SECRET": "s",
    }


def test_settings_that_reach_packages_are_taken_and_no_others(machine: dict[str, str], tmp_path: Path) -> None:
    found = host.collect(machine)
    assert found.ca_bundle == tmp_path / "ca.crt"
    assert set(found.environ) == {"PIP_FIND_LINKS", "UV_INDEX_MINE_PASSWORD", "https_proxy"}
    assert "no-binary = x" in found.pip_conf
    assert "elsewhere" not in found.pip_conf
    assert "user" not in found.pip_conf


def test_an_index_of_files_is_mounted_with_what_its_pages_link_to(machine: dict[str, str], tmp_path: Path) -> None:
    assert set(host.collect(machine).paths) >= {tmp_path / "mirror", tmp_path / "wheels"}


def test_the_paths_are_moved_and_urls_are_not(machine: dict[str, str], tmp_path: Path) -> None:
    found = host.collect(machine)
    moved = host.rewrite(found.pip_conf, found.paths, "/run/b")
    assert f"find-links = /run/b{tmp_path}/wheels" in moved
    assert f"extra-index-url = file:///run/b{tmp_path}/mirror/simple" in moved
    assert f"index-url = https://u:p@example.org{tmp_path}/mirror/simple" in moved
    assert host.rewrite(found.uv_toml, found.paths, "/run/b") == f'find-links = ["/run/b{tmp_path}/wheels"]\n'


def test_what_is_not_mounted_is_not_moved() -> None:
    assert host.rewrite("find-links = /a /ab", [Path("/a")], "/b") == "find-links = /b/a /ab"


def test_the_keeper_is_told_every_path_once(machine: dict[str, str], tmp_path: Path) -> None:
    paths = host.host_paths(machine)
    assert {tmp_path / "ca.crt", tmp_path / "wheels", tmp_path / "home/.config/pip/pip.conf"} <= set(paths)
    assert not any(one != other and one.is_relative_to(other) for one in paths for other in paths)


def test_settings_that_cannot_be_read_are_not_there(tmp_path: Path) -> None:
    (tmp_path / ".config/pip").mkdir(parents=True)
    (tmp_path / ".config/pip/pip.conf").write_text("[global\nbroken")
    found = host.collect({"HOME": str(tmp_path), "UV_CONFIG_FILE": "/nowhere"})
    assert found.uv_toml == ""


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("HTTPS_PROXY", True),
        ("no_proxy", True),
        ("PIP_INDEX_URL", True),
        ("UV_DEFAULT_INDEX", True),
        ("PIP_CONFIG_FILE", True),
        ("SSL_CERT_FILE", True),
        ("PIP_REQUIRE_VIRTUALENV", False),
        ("AWS_SECRET_ACCESS_KEY", False),
        ("PATH", False),
    ],
)
def test_which_variables_builds_need(name: str, kept: bool) -> None:
    assert host.is_build_variable(name) is kept


def test_interpreters_are_found_newest_first(tmp_path: Path) -> None:
    for version in ("3.12.9", "3.12.10", "3.1.2"):
        prefix = tmp_path / "versions" / version
        minor = ".".join(version.split(".")[:2])
        for file in (prefix / f"bin/python{minor}", prefix / f"lib/python{minor}/ensurepip/__init__.py"):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
    (tmp_path / "versions/3.12.11/bin").mkdir(parents=True)  # unfinished
    found = host.interpreter_prefixes("3.12", {"HOME": str(tmp_path), "PYENV_ROOT": str(tmp_path)})
    assert [prefix.name for prefix in found if prefix.is_relative_to(tmp_path)] == ["3.12.10", "3.12.9"]


def test_builds_that_begin_together_look_for_uv_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    both_inside = threading.Barrier(2)
    met: list[int] = []

    def find() -> str:
        with suppress(threading.BrokenBarrierError):
            met.append(both_inside.wait(0.1))
        return "/bin/uv"

    monkeypatch.setitem(sys.modules, "uv", SimpleNamespace(find_uv_bin=find))
    with ThreadPoolExecutor(2) as pool:
        found = [pool.submit(host.uv_binary) for _ in range(2)]
    assert [each.result() is not None for each in found] == [True, True]
    assert met == []
