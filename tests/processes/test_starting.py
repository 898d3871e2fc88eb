"""What a user reads when no server can be had: one sentence, with what is wrong and where."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from modicum import _server
from tests.processes.conftest import start_server
from tests.processes.test_command_line import command


def told(home: Path, *words: str, code: int = 1, **variables: str) -> str:
    """Return what a command says on stderr for a home."""
    environment = {**os.environ, "MODICUM_HOME": str(home), **variables}
    done = subprocess.run(command(*words), env=environment, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def test_a_home_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert told(tmp_path / "file", "server", "start") == (
        f"Error: {tmp_path}/file cannot be used: File exists; set MODICUM_HOME to a directory of your own\n"
    )
    assert "Not a directory; set MODICUM_HOME" in told(tmp_path / "file" / "below", "server", "start")


def test_a_setting_that_makes_no_sense(tmp_path: Path) -> None:
    said = told(tmp_path, "server", "start", MODICUM_RECOVERY_S="soon")
    assert said == "Error: the server did not start: MODICUM_RECOVERY_S='soon' is not a float\n"
    assert "Traceback" in (tmp_path / "server.log").read_text(), "the log has it all"


def test_a_database_that_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "store.db").mkdir()
    said = told(tmp_path, "server", "start")
    assert said == "Error: the server did not start: the database: unable to open database file\n"


def test_only_what_this_start_said_is_shown(tmp_path: Path) -> None:
    (tmp_path / "server.log").write_text("modicum-server: of an earlier start\n")
    assert "of an earlier start" not in told(tmp_path, "server", "start", MODICUM_RECOVERY_S="soon")


def processes_of(home: Path) -> list[str]:
    """Return the command lines of a home's keeper and node."""
    return [text for text in map(command_line, Path("/proc").glob("[0-9]*/cmdline")) if f"--home\0{home}\0" in text]


def command_line(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""  # it has just ended


def test_a_server_that_cannot_listen_leaves_no_keeper(tmp_path: Path) -> None:
    (tmp_path / "sock").touch()
    assert f"{tmp_path}/sock: File exists" in told(tmp_path, "server", "start", MODICUM_RUNTIME="process")
    assert (tmp_path / "keeper.log").exists(), "a keeper was started"
    assert processes_of(tmp_path) == []


def test_a_home_that_is_gone_under_its_server(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    server = start_server(home)
    with connected(home) as link:
        while not _server.ask(link, {"t": "server.status"})["node_ready"]:
            time.sleep(0.02)
    home.rename(tmp_path / "gone")  # at once: a keeper that is started meanwhile would make the home anew
    server.terminate()
    assert server.wait(30) == 0
    assert processes_of(home) == []


@contextmanager
def connected(home: Path) -> Iterator[socket.socket]:
    link = _server._try_connect(str(home / "sock"))
    assert link is not None
    with link:
        _server.say_hello(link)
        yield link


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    home = tmp_path / "full"
    home.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", home], check=False, capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("mounting is not allowed here")
    yield home
    subprocess.run(["umount", home], check=True)


def test_a_full_disk(full_disk: Path) -> None:
    try:
        (full_disk / "filling").write_bytes(bytes(1 << 20))
    except OSError:
        pass  # it is full
    assert "no space is left on the disk of" in told(full_disk, "server", "start").lower()


def test_a_broken_configuration(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text("[default")
    for words in (["run", "x.py"], ["app", "list"], ["config", "show"]):
        said = told(tmp_path, *words, MODICUM_CONFIG_PATH=str(file))
        assert said.startswith(f"Error: {file} is no TOML: ")


def test_an_app_of_no_file(tmp_path: Path) -> None:
    assert told(tmp_path, "run", str(tmp_path / "none.py")) == (
        f"Error: there is no file {tmp_path}/none.py; to name a module use `-m`\n"
    )
    assert not list(tmp_path.iterdir()), "nothing is started for it"
