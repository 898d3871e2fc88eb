"""What is a user told where something is missing that containers need, and how does he get by without?"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.real.installation import ROOT, Installation, Person, myself, wait_until

JAIL = Path(__file__).parents[1] / "jail.py"
PROGRAM = Path(__file__).parent / "programs" / "hello.py"

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to take things away")

HIDING = 'for path in $1; do [ ! -e "$path" ] || mount --bind /dev/null "$path" || exit 9; done; shift; exec "$@"'


@dataclass(frozen=True)
class Deprived(Person):
    """Somebody from whom something is kept by the command before all of his."""

    by: tuple[str, ...] = ()

    def command(self, *argv: str) -> list[str]:
        """Return the command line that runs `argv` without it."""
        return [*self.by, *super().command(*argv)]


def without(*programs: str) -> tuple[str, ...]:
    """Return what hides programs, in a mount namespace of its own."""
    paths = [f"{folder}/{name}" for folder in ("/usr/bin", "/usr/sbin", "/usr/local/bin") for name in programs]
    return "unshare", "--mount", "sh", "-c", HIDING, "sh", " ".join(paths)


@pytest.fixture
def home() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="modicum-place-"))
    yield folder
    shutil.rmtree(folder)


def at(home: Path, *by: str, **variables: str) -> Installation:
    """Return this machine's Modicum for somebody deprived."""
    me = myself()
    environment = {**me.environment, "PYTHONPATH": f"{ROOT / 'src'}"}
    return Installation(Deprived(me.name, me.python, environment, by), home, variables)


def refusal(place: Installation) -> str:
    """Return the error of a program that cannot run; nothing of it is left."""
    try:
        return place.run("run", str(PROGRAM), code=1).stderr
    finally:
        place.run("server", "stop")
        wait_until(lambda: not place.processes(), lambda: f"left running: {place.processes()}")


def test_a_program_that_is_missing_is_named_with_its_package(home: Path) -> None:
    told = refusal(at(home, *without("crun", "runc")))
    assert told.startswith("Error: there is no node to run containers: ")
    assert "crun is not installed; runc is not installed; install the package crun" in told
    assert "MODICUM_RUNTIME=process" in told


def test_where_no_namespace_can_be_made_it_says_so_and_plain_processes_run(home: Path) -> None:
    jailed = (sys.executable, str(JAIL))
    place, plain = at(home, *jailed), at(home, *jailed, MODICUM_RUNTIME="process")
    judged = json.loads(place.run("doctor", "--json", "--offline", code=1).stdout)
    errors = {finding["name"] for finding in judged["findings"] if finding["level"] == "error"}
    assert errors == {"namespaces", "runtime"}
    try:
        told = place.run("run", str(PROGRAM), code=1).stderr
        done = plain.run("run", str(PROGRAM))  # as it was told
    finally:
        plain.stop()
    assert "no namespaces may be made here: have root run sysctl user.max_user_namespaces=" in told
    assert "MODICUM_RUNTIME=process" in told
    assert done.stdout == "'hello, world'\n"
    assert "without isolation from this machine" in done.stderr


def test_a_disk_that_is_full_is_named(home: Path) -> None:
    script = f'mount -t tmpfs -o size=64k none {home} && head -c 60000 /dev/zero >{home}/fill; exec "$@"'
    place = at(home, "unshare", "--mount", "sh", "-c", script, "sh")
    told = place.run("run", str(PROGRAM), code=1).stderr
    assert "the server did not start: " in told
    assert "disk" in told and ("make room" in told or "no space is left" in told)


def test_a_machine_that_is_well_is_found_to_be(home: Path) -> None:
    place = at(home)
    judged = json.loads(place.run("doctor", "--json", "--offline").stdout)
    assert judged["runs"]
    assert not [finding for finding in judged["findings"] if finding["level"] == "error"]
    assert list(home.iterdir()) == [], "it leaves nothing"
    assert subprocess.run(["pgrep", "-f", str(home)], capture_output=True, check=False).returncode == 1
