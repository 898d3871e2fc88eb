"""Is a container's configuration as closed as it should be?"""

from __future__ import annotations

import dataclasses
import resource
from pathlib import Path

import pytest

from modicum.runtimes.base import BindMount, ContainerSpec, Exit, Limits
from modicum.runtimes.oci import seccomp
from modicum.runtimes.oci.binary import Binary, close_door, exit_of
from modicum.runtimes.oci.config import build_config, open_files_for

SPEC = ContainerSpec("ta-1", Path("/r"), ("python3",), {"A": "b=c"}, "/root", "box", 1, 2)


def config_of(spec: ContainerSpec) -> dict[str, object]:
    return build_config(spec, "/usr/bin/init", "/u", "/n", open_files=1024)


def test_every_namespace_is_its_own() -> None:
    linux = build_config(SPEC, "/i", "/u", "/n", 1024)["linux"]
    kinds = {namespace["type"] for namespace in linux["namespaces"]}
    assert kinds == {"user", "network", "pid", "mount", "ipc", "uts", "cgroup"}


def test_no_host_path_but_the_declared() -> None:
    spec = dataclasses.replace(SPEC, mounts=(BindMount(Path("/a"), "/b"), BindMount(Path("/c"), "/d", read_only=False)))
    mounts = build_config(spec, "/i", "/u", "/n", 1024)["mounts"]
    binds = {mount["source"]: mount["options"][-1] for mount in mounts if mount["type"] == "bind"}
    assert binds == {"/i": "ro", "/a": "ro", "/c": "rw"}
    assert all({"nosuid", "nodev"} <= set(mount["options"]) for mount in mounts if mount["type"] == "bind")
    assert "cgroup" not in {mount["type"] for mount in mounts}


def test_the_process() -> None:
    process = build_config(SPEC, "/i", "/u", "/n", 1024)["process"]
    assert process["args"] == ["/run/modicum-init", "--", "python3"]
    assert process["env"] == ["A=b=c"]
    assert process["noNewPrivileges"] is True
    assert set(process["capabilities"]) == {"bounding", "effective", "permitted"}


def test_a_container_opens_fewer_files_than_the_node() -> None:
    assert [open_files_for(limit) for limit in (1024, 20000, 1 << 20)] == [256, 4096, 4096]  # 1024 / 4 = 256
    process = build_config(SPEC, "/i", "/u", "/n", open_files=256)["process"]
    assert process["rlimits"][0] == {"type": "RLIMIT_NOFILE", "hard": 256, "soft": 256}
    core = min(1, resource.getrlimit(resource.RLIMIT_CORE)[1] & 0xFFFF)  # -1 is no limit
    assert process["rlimits"][1:] == [{"type": "RLIMIT_CORE", "hard": core, "soft": core}]


def test_shared_memory_counts_within_the_limit() -> None:
    spec = dataclasses.replace(SPEC, limits=Limits(memory_bytes=1 << 20))
    mounts = build_config(spec, "/i", "/u", "/n", 1024)["mounts"]
    assert next(mount for mount in mounts if mount["destination"] == "/dev/shm")["options"][-1] == "size=1048576"


def test_a_filter_is_always_there() -> None:
    compiled, plain = Binary("crun", "/c", (), (), b"bpf"), Binary("runc", "/r", (), ())
    with_bytes, with_names = config_of(SPEC), config_of(SPEC)
    close_door(with_bytes, compiled)
    close_door(with_names, plain)
    assert with_bytes["annotations"] == {"run.oci.seccomp_bpf_data": "YnBm"}
    assert with_names["linux"]["seccomp"]["defaultAction"] == "SCMP_ACT_ERRNO"  # type: ignore[index]


def test_what_is_refused_is_not_allowed_elsewhere() -> None:
    assert not set(seccomp.REFUSED.split()) & set(seccomp.allowed_names())
    assert not {"clone3", "clone", "socket", "socketpair", "personality"} & set(seccomp.allowed_names())
    assert not {"io_setup", "io_submit"} & set(seccomp.allowed_names())
    assert {"mount", "unshare", "setns", "bpf", "keyctl", "io_uring_setup"} <= set(seccomp.REFUSED.split())


def test_sockets_are_of_families_that_are_named() -> None:
    """A rule that excludes one lets in what differs from it in bits at which the kernel does not look."""
    rules = [rule for rule in seccomp.profile("x86_64")["syscalls"] if rule["names"][0] in ("socket", "socketpair")]
    argued = [(rule["names"], argument["value"], argument["op"]) for rule in rules for argument in rule["args"]]
    named = [(["socket"], family, "SCMP_CMP_EQ") for family in (1, 2, 10, 16)]
    assert argued == [*named, (["socketpair"], 1, "SCMP_CMP_EQ")]


def test_only_the_native_architecture() -> None:
    assert seccomp.profile("aarch64")["architectures"] == ["SCMP_ARCH_AARCH64"]
    assert "architectures" not in seccomp.profile("unheard-of")


@pytest.mark.parametrize(
    ("status", "oom", "expected"),
    [
        (0, False, Exit(0)),
        (3, False, Exit(3)),
        (137, False, Exit(137, 9)),  # 128 + 9
        (137, True, Exit(137, 9, oom=True)),
        (1, True, Exit(1)),
        (-9, False, Exit(137, 9)),
        (255, False, Exit(255)),  # 127 is no signal
    ],
)
def test_exit_statuses(status: int, oom: bool, expected: Exit) -> None:
    assert exit_of(status, oom) == expected
