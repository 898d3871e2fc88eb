"""Hostile code in real containers: how it tries to get out, to speak to the server, and to reach its caller."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from modicum.wire.messages import CONTAINER, MAY_SEND, RESTRICTED
from tests.real.installation import ROOT, Installation

PROGRAM = ROOT / "tests" / "real" / "hostile.py"


class Report:
    """What the program has told, and what was put into it."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self.began = time.time() - 1
        self.values = {name: secrets.token_hex(16) for name in ("RUN_SECRET", "BUILD_SECRET")}
        self.mark = installation.home / "programs" / "unpickled"
        program = installation.copy(PROGRAM)
        command = installation.python(
            "-m", "modicum.cli.main", "run", str(program), "--mark", str(self.mark), **self.values
        )
        done = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{installation.logs()}"
        self.output = done.stdout + done.stderr
        (line,) = (line for line in done.stdout.splitlines() if line.startswith("REPORT "))
        self.told: dict[str, Any] = json.loads(line.removeprefix("REPORT "))


@pytest.fixture(scope="session")
def report(installation: Installation) -> Report:
    return Report(installation)


EXPECTED = {
    "ENETUNREACH": ["the internet", "the resolver", "metadata"],
    "unresolved": ["a name"],
    "ECONNREFUSED": ["the host's loopback", "an abstract socket of the host"],
    "EADDRNOTAVAIL": ["the host's loopback by IPv6", "the internet by IPv6"],
    "ENOENT": ["a socket file of the host", "physical memory", "its memory", "the home", "cgroups"],
    "ESRCH": ["a process of the host", "tracing it"],
    "ENOSYS": [
        *("a packet socket", "a VM socket", "a VM socket by another number", "a socket of the kernel's ciphers"),
        *("a user namespace for a child", "another's descriptor"),
    ],
    "EROFS": [
        *("our socket removed", "our socket moved", "a link beside our socket", "our code", "our compiled code"),
        "the resolver's address",
    ],
    "EACCES": ["our init", "a better place before the killer"],
    "EACCES or EROFS": ["what handles cores", "forwarding"],  # of a file of the host's root's that is read-only, too
    "ENOENT or EACCES or EROFS": ["sysrq"],  # not every kernel has it
    "not allowed to raise maximum limit": ["a core", "more files"],
    "EPERM": [
        *("an interface", "a route", "a raw socket", "a mount", "our socket's mount made writable"),
        *("a mount by a descriptor", "a user namespace", "a network namespace", "another's namespace", "a key"),
        *("the keyring", "a kernel program", "a kernel module", "another kernel", "performance counters"),
        *("page faults", "a ring", "a file by its handle", "a device", "a better priority", "a set-uid program"),
    ],
}
"""How each attempt must fail, so that it is known to fail for the reason that is meant."""


@pytest.mark.timeout(600)  # the first one builds its image
def test_no_attempt_gets_out(report: Report) -> None:
    addresses = {f"the host at {each}": "ENETUNREACH" for each in report.told["addresses"]}
    expected = {what: ends for ends, attempts in EXPECTED.items() for what in attempts} | addresses
    odd = {what: end for what, end in report.told["tried"].items() if end not in expected[what].split(" or ")}
    assert odd == {}
    assert set(report.told["tried"]) == set(expected)
    assert report.told["reached"] == 0


@pytest.mark.parametrize("principal", [CONTAINER, RESTRICTED])
def test_the_table_holds_row_by_row(report: Report, principal: str) -> None:
    answers: dict[str, list[str]] = report.told["table"][principal]
    assert set(answers) == set(MAY_SEND) - {"agent.hello"}
    for kind, (code, message) in answers.items():
        if principal in MAY_SEND[kind]:
            assert code in ("ok", "invalid", "conflict", "not_found", "failed_precondition"), (kind, code, message)
            assert "may not send" not in message
        else:
            assert (code, "may not send" in message) == ("permission_denied", True), (kind, code, message)


def test_the_platform_is_out_of_reach_and_says_why(report: Report) -> None:
    for what, told in report.told["platform"].items():
        assert told.startswith("RemoteError: modicum.exception.PermissionDeniedError: "), (what, told)
        assert "this container's function has restrict_modal_access=True, so its code cannot use Modicum" in told


def test_callers_take_values_of_built_in_types_alone(report: Report) -> None:
    assert report.told["plain"] == "[1, 'a', {2.5: (None, b'x')}, {3}, 1j]"
    assert report.told["error"].startswith("RemoteError: ZeroDivisionError: division by zero")
    assert 'File "/root/hostile.py"' in report.told["error"]
    for way, told in report.told["forged"].items():
        assert "cannot be told" in told or "is not taken: there is a posix.mkdir in it" in told, (way, told)
    assert not report.mark.exists()


def test_secrets_are_with_those_who_name_them(report: Report) -> None:
    run, build, seen = report.told["secrets"]
    assert [run, build] == report.told["expected"]
    assert seen["LAST"] == "env"
    assert seen["MODAL_TASK_ID"].startswith("ta-")


def test_secrets_are_nowhere_else(report: Report) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, to read what belongs to containers")
    values = report.values.values()
    assert not [value for value in values if value in report.output]
    system = ["-path", "*/layers/*/usr", "-prune", "-o"]  # of the base: much, and nobody writes there
    written = ["find", str(report.installation.home), *system, "-type", "f", "-newerct", f"@{report.began}"]
    grep = ["-exec", "grep", "-lF", *(word for value in values for word in ("-e", value)), "{}", "+"]
    found = subprocess.run([*written, *grep], capture_output=True, text=True, check=False)
    assert (found.stdout, found.stderr) == ("", "")
    environments = [Path(f"/proc/{pid}/environ").read_bytes() for pid in report.installation.processes()]
    assert environments
    assert not [each for each in environments if any(value.encode() in each for value in values)]
