"""What do facts about a machine mean?"""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from modicum.doctor.facts import Facts, Home, Trial
from modicum.doctor.findings import PROGRAMS, Finding, can_run, judge

GIB = 1 << 30
IDS = "containers need subordinate ids, and /etc/subuid has none for ann; have root run: usermod ann"
NO_LIMITS = "limits not enforced: no writable cgroup"
NO_NETWORK = "no network for containers: slirp4netns is not installed"

WELL = Facts(
    system="Debian 12, Linux 6.1, x86_64",
    kernel=(6, 1),
    user="ann",
    is_root=False,
    runtime="auto",
    trial=Trial(uses="crun works", limits="limits enforced on cgroup v2", network="network by slirp4netns"),
    home=Home("/home/USER/.modicum", file_system="ext4", free_bytes=50 * GIB),
    cgroup_version=2,
    missing=frozenset({"buildah", "pasta"}),
    pythons={"3.11": "Debian bookworm"},
    uv="/venv/bin/uv",
    devices=frozenset({"/dev/net/tun"}),
)


def tried(**changes: str) -> Trial:
    """Return what a node that starts says, but for these."""
    return dataclasses.replace(WELL.trial, **changes)


def found(name: str, **changes: Any) -> Finding:
    """Return what is said of one thing, given a machine that differs from a good one."""
    return next(finding for finding in judge(dataclasses.replace(WELL, **changes)) if finding.name == name)


def test_a_good_machine_runs_functions_and_needs_no_fix() -> None:
    findings = judge(WELL)
    assert can_run(findings)
    assert {finding.level for finding in findings} == {"ok", "note"}
    assert not [finding for finding in findings if finding.fix]
    assert found("runtime").text == "crun works (MODICUM_RUNTIME=auto)"


@pytest.mark.parametrize(
    ("name", "fix", "changes"),
    [
        ("system", "5.12 or newer", {"kernel": (5, 10)}),
        ("namespaces", "sysctl kernel.apparmor_restrict_unprivileged_userns=0",
         {"namespaces": "Operation not permitted", "sysctls": {"kernel.apparmor_restrict_unprivileged_userns": "1"}}),
        ("namespaces", "sysctl user.max_user_namespaces=65536",
         {"namespaces": "No space left on device", "sysctls": {"user.max_user_namespaces": "0"}}),
        ("namespaces", "inside another container", {"namespaces": "Operation not permitted"}),
        ("ids", "have root run: usermod ann", {"ids": IDS}),
        ("programs", "install the package catatonit", {"missing": frozenset({"catatonit"})}),
        ("programs", "install the package crun", {"missing": frozenset({"crun", "runc"})}),
        ("programs", "install the package runc", {"missing": frozenset({"runc"}), "runtime": "runc"}),
        ("programs", "install the package uidmap", {"missing": frozenset({"newuidmap", "newgidmap"})}),
        ("programs", "install the packages mmdebstrap uidmap", {"missing": frozenset({"mmdebstrap", "newuidmap"})}),
        ("runtime", "MODICUM_RUNTIME=process", {"trial": Trial(failure="unshare: Operation not permitted")}),
        ("home", "set MODICUM_HOME", {"home": Home("/h", "it belongs to bob")}),
        ("home", "make room", {"home": Home("/h", file_system="ext4", free_bytes=1 << 20)}),
        ("python", "install a Python", {"pythons": {}}),
    ],
)  # fmt: skip
def test_what_keeps_functions_from_running(name: str, fix: str, changes: dict[str, Any]) -> None:
    finding = found(name, **changes)
    assert finding.level == "error"
    assert fix in finding.fix
    assert not can_run([finding])


@pytest.mark.parametrize(
    ("name", "fix", "changes"),
    [
        ("limits", "Delegate=", {"trial": tried(limits=NO_LIMITS)}),
        ("limits", "as root", {"trial": tried(limits=NO_LIMITS), "cgroup_version": 1}),
        ("network", "install the package slirp4netns",
         {"trial": tried(network=NO_NETWORK), "missing": frozenset({"slirp4netns", "pasta"})}),
        ("network", "install the package nftables",
         {"trial": tried(network="no network: nft"), "missing": frozenset({"nft"})}),
        ("network", "chmod 0666 /dev/net/tun", {"trial": tried(network=NO_NETWORK), "devices": frozenset()}),
        ("home", "make room", {"home": Home("/h", file_system="ext4", free_bytes=2 * GIB)}),
        ("clock", "timedatectl", {"behind_s": 3 * 86400.0}),
        ("uv", "pip install uv", {"uv": ""}),
        ("packages", "proxy", {"packages": "dns error"}),
    ],
)  # fmt: skip
def test_what_is_missing_without_keeping_functions_from_running(name: str, fix: str, changes: dict[str, Any]) -> None:
    finding = found(name, **changes)
    assert finding.level == "warning"
    assert fix in finding.fix
    assert can_run(judge(dataclasses.replace(WELL, **changes)))


def test_plain_processes_need_neither_namespaces_nor_programs_but_are_warned_of() -> None:
    bare = dataclasses.replace(
        WELL, runtime="process", namespaces="no", ids=IDS, missing=frozenset(PROGRAMS), kernel=(4, 4),
        trial=Trial(uses="process: no isolation"),
    )  # fmt: skip
    findings = judge(bare)
    assert can_run(findings)
    assert not {"namespaces", "ids", "programs", "limits", "network"} & {finding.name for finding in findings}
    (runtime,) = [finding for finding in findings if finding.name == "runtime"]
    assert (runtime.level, runtime.text) == ("warning", "process: no isolation")


def test_what_was_said_of_ids_is_not_said_again_of_the_runtime() -> None:
    changes = {"ids": IDS, "trial": Trial(failure=IDS)}
    assert found("runtime", **changes).text == "no container can be started: it has no ids"


def test_root_needs_no_entry_in_subuid() -> None:
    assert "ids" not in {finding.name for finding in judge(dataclasses.replace(WELL, is_root=True, user="root"))}


def test_packages_may_be_left_untried() -> None:
    assert found("packages", packages=None).level == "note"


def test_gpus_are_named() -> None:
    assert found("gpu").text == "none found"
    assert found("gpu", devices=frozenset({"/dev/nvidia0"})).text == "none found, only /dev/nvidia0"
    assert found("gpu", gpus=("H100:2", "T4:1")).text == "H100:2, T4:1"
    assert found("gpu", gpus=("T4:1",), gpus_note="declared by MODICUM_GPUS").text == "T4:1; declared by MODICUM_GPUS"
    broken = found("gpu", gpus=("T4:1",), gpus_problem="no libcuda")
    assert (broken.level, broken.text) == ("warning", "T4:1; functions that ask for one fail: no libcuda")
