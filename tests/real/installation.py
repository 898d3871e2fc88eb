"""A whole Modicum under test: its own home, commands run by root or an ordinary user, nothing left at the end."""

from __future__ import annotations

import json
import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.real.bases import share

ROOT = Path(__file__).resolve().parents[2]
ORDINARY = "modicum-test"
GONE_WITHIN_S = 5.0


@dataclass(frozen=True)
class Person:
    """Who runs the commands, and with which copy of the code."""

    name: str
    python: str
    environment: dict[str, str]

    def command(self, *argv: str) -> list[str]:
        """Return the command line that runs `argv` as this person."""
        account = pwd.getpwnam(self.name)
        if account.pw_uid == os.geteuid():
            return list(argv)
        ids = [f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--init-groups"]
        variables = [f"{name}={value}" for name, value in self.environment.items()]
        return ["setpriv", *ids, "--reset-env", "env", *variables, *argv]


def myself() -> Person:
    """Return whoever runs the tests."""
    return Person(pwd.getpwuid(os.geteuid()).pw_name, sys.executable, dict(os.environ))


def ordinary() -> Iterator[Person]:
    """Make an account without any privilege; remove it afterwards."""
    made = subprocess.run(["useradd", "--create-home", ORDINARY], capture_output=True, check=False).returncode == 0
    kept = {name: value for name, value in os.environ.items() if name in KEPT or name.startswith("PIP_")}
    environment = {**kept, "HOME": pwd.getpwnam(ORDINARY).pw_dir, "USER": ORDINARY}
    with tempfile.TemporaryDirectory(prefix="modicum-code-") as folder:
        python = sys.executable
        if not all(part.stat().st_mode & 0o005 == 0o005 for part in ROOT.parents):  # a checkout below /root
            os.chmod(folder, 0o755)
            shutil.copytree(ROOT / "src", f"{folder}/src")
            shutil.copytree(sys.prefix, f"{folder}/venv", symlinks=True)
            environment["PYTHONPATH"], python = f"{folder}/src", f"{folder}/venv/bin/python"
        yield Person(ORDINARY, python, environment)
    if made:
        subprocess.run(["userdel", "--remove", ORDINARY], capture_output=True, check=True)


KEPT = {"PATH", "LANG", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "http_proxy", "https_proxy", "no_proxy"}


class Installation:
    """One home and the processes that serve it."""

    def __init__(self, person: Person, home: Path, variables: dict[str, str] | None = None) -> None:
        self.person = person
        self.home = home
        self.variables = variables or {}

    def argv(self, *arguments: str) -> list[str]:
        """Return the command line of `modicum ARGUMENTS`."""
        return self.python("-m", "modicum.cli.main", *arguments)

    def python(self, *arguments: str, **variables: str) -> list[str]:
        """Return the command line of `python ARGUMENTS`, with more variables."""
        environment = {"MODICUM_HOME": str(self.home), **self.variables, **variables}
        settings = [f"{name}={value}" for name, value in environment.items()]
        return self.person.command("env", *settings, self.person.python, *arguments)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start `modicum ARGUMENTS` with its output in pipes."""
        pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
        return subprocess.Popen(self.argv(*arguments), cwd="/", text=True, stdin=nothing, stdout=pipe, stderr=pipe)

    def run(self, *arguments: str, code: int = 0, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run `modicum ARGUMENTS` to its end, which must be `code`; skip where the Python that it wants is nowhere."""
        done = subprocess.run(
            self.argv(*arguments),
            cwd=folder or "/",
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        if missing := re.search(r"No CPython \S+ can be had", done.stderr):
            pytest.skip(f"{missing[0]} by {self.person.name} on this machine")
        assert done.returncode == code, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}\n{self.logs()}"
        return done

    def copy(self, program: Path) -> Path:
        """Put a copy of a program where the person can read it."""
        folder = self.home / "programs"
        folder.mkdir(exist_ok=True)
        os.chmod(folder, 0o755)
        return Path(shutil.copy(program, folder))

    def status(self) -> dict[str, Any]:
        """Return what `modicum server status --json` says."""
        found: dict[str, Any] = json.loads(self.run("server", "status", "--json").stdout)
        return found

    def logs(self) -> str:
        """Return the ends of the daemons' logs."""
        ends = []
        for log in ("server.log", "keeper.log"):
            path = self.home / log
            if path.exists():
                ends.append(f"--- {log}\n" + "\n".join(path.read_text(errors="replace").splitlines()[-40:]))
        return "\n".join(ends)

    def stop(self) -> None:
        """End the server and everything below it; fail if anything of it is left."""
        self.run("server", "stop")
        wait_until(lambda: not self.processes(), lambda: f"left running: {self.processes()}")

    def processes(self) -> dict[int, str]:
        """Return the processes that belong to this home: pid → command line."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                spoken = (folder / "environ").read_bytes() + (folder / "cmdline").read_bytes()
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            except OSError:
                continue  # it has just ended
            if str(self.home).encode() in spoken and command:
                found[int(folder.name)] = command
        return found


def install(
    person: Person, variables: dict[str, str] | None = None, folder: Path | None = None
) -> Iterator[Installation]:
    """Give `person` a fresh home; at the end stop everything in it, see that nothing is left, and remove it."""
    home = folder or Path(tempfile.mkdtemp(prefix="modicum-home-"))
    account = pwd.getpwnam(person.name)
    os.chown(home, account.pw_uid, account.pw_gid)
    share(person.name, home)
    installation = Installation(person, home, variables)
    yield installation
    installation.stop()
    assert str(home) not in Path("/proc/self/mountinfo").read_text()
    if os.geteuid() == 0:
        shutil.rmtree(home)
    else:  # files of subordinate ids need a user namespace in which they are ours
        subprocess.run(["unshare", "--map-root-user", "--map-auto", "rm", "-r", "--one-file-system", home], check=True)


def wait_until(condition: Callable[[], object], otherwise: Callable[[], str], within_s: float = GONE_WITHIN_S) -> None:
    """Wait until `condition` holds; fail with what `otherwise` says if it does not in time."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, otherwise()
        time.sleep(0.02)
