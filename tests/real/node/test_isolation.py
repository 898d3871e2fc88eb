"""What can a container reach, and what is closed to it?"""

from __future__ import annotations

import asyncio
import json
import os
import re
import resource
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from modicum.node import netlink
from modicum.node.slots import STOCK
from modicum.runtimes.oci.config import CAPABILITIES, open_files_for
from tests.real.node.harness import Bench
from tests.real.node.outside import Outside, outside

ASK = """
import json, socket, sys
answers = {}
for address, port in %r:
    try:
        with socket.create_connection((address, port), timeout=2) as link:
            answers[address] = link.recv(100).decode()
    except OSError as failure:
        answers[address] = type(failure).__name__
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def world() -> Iterator[Outside]:
    if os.geteuid() != 0:
        pytest.skip("needs root, to make a network beyond the host")
    with outside() as made:
        yield made


async def ask(node: Bench, *places: tuple[str, int], **fields: object) -> dict[str, str]:
    answers: dict[str, str] = json.loads(await node.python(ASK % (places,), **fields))
    return answers


async def test_the_way_out_is_open(world: Outside, node: Bench) -> None:
    assert await ask(node, (world.beyond, world.port)) == {world.beyond: f"hello from {world.beyond}"}


async def test_no_address_of_the_host_answers(world: Outside, node: Bench) -> None:
    with netlink.Netlink() as link:
        addresses = {*link.addresses(), world.host, "127.0.0.1", "127.0.0.2", "10.0.2.2", "10.87.0.1"}
    assert world.host in addresses
    answers = await ask(node, *((address, world.port) for address in sorted(addresses)))
    assert set(answers) == addresses
    assert not [answer for answer in answers.values() if answer.startswith("hello")], answers


async def test_an_address_that_the_host_gains_is_closed_too(world: Outside, node: Bench) -> None:
    gained = [f"{world.spare}/32", "dev", world.device]
    subprocess.run(["ip", "addr", "add", *gained], check=True)
    try:
        await node.until(lambda: world.spare in rules(node), "the rule")
        answers = await ask(node, (world.spare, world.port), (world.beyond, world.port))
        assert [answer[:5] for answer in answers.values()] == ["OSErr", "hello"]
    finally:
        subprocess.run(["ip", "addr", "del", *gained], check=True)


@pytest.mark.skipif(shutil.which("pasta") is None, reason="this release has no passt")
async def test_pasta_is_as_closed_as_slirp4netns(world: Outside, idle: Bench) -> None:
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    broken = folder / "slirp4netns"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    await idle.start(PATH=f"{folder}:{os.environ['PATH']}")
    shutil.rmtree(folder)
    assert idle.server.hello["network"] == "network by pasta"
    answers = await ask(
        idle, *((address, world.port) for address in (world.beyond, world.host, "10.0.2.2", "127.0.0.1"))
    )
    assert [address for address, answer in answers.items() if answer.startswith("hello")] == [world.beyond]


async def test_metadata_services_are_closed(node: Bench) -> None:
    answers = await ask(node, ("169.254.169.254", 80), ("100.100.100.200", 80))
    assert set(answers.values()) == {"OSError"}


async def test_containers_cannot_reach_each_other(node: Bench) -> None:
    program = """
import shutil
import socket
listener = socket.create_server(("0.0.0.0", 7777))
probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
probe.connect(("198.51.100.2", 1))
print(probe.getsockname()[0], flush=True)
socket.create_connection(("127.0.0.1", 7777)).close()
import time; time.sleep(100)
"""
    listening = await node.begin("python3", "-S", "-c", program)
    await node.until(lambda: "\n" in node.server.of(listening).text(), "its address")
    address = node.server.of(listening).text().strip()
    assert address.startswith("10.87.")
    assert await ask(node, (address, 7777)) in ({address: "TimeoutError"}, {address: "OSError"})


async def test_without_a_network_there_is_only_a_loopback(node: Bench) -> None:
    script = "ls /sys/class/net; cat /proc/net/route"
    for together in (1, 1, 6):  # made now, and of the stock that is kept once there was a use for it
        ends = await asyncio.gather(*(node.shell(script, network=False) for _ in range(together)))
        for code, out, _ in ends:
            assert (code, out.split()[0]) == (0, "lo")
            assert "eth0" not in out


async def test_names_are_resolved_as_the_host_does(node: Bench) -> None:
    name = next((name for name in packagers() if resolves(name)), None)
    if name is None:
        pytest.skip("this host resolves no names")
    program = f"import socket; print(socket.getaddrinfo({name!r}, 80)[0][4][0], socket.gethostbyname('box'))"
    assert (await node.python(program)).split()[1] == "127.0.1.1"


def packagers() -> list[str]:
    """The hosts from which this machine gets its packages: names that it can resolve, if any."""
    texts = [path.read_text() for path in Path("/etc/apt").rglob("*") if path.suffix in (".list", ".sources")]
    return re.findall(r"https?://([^/\s:]+)", "\n".join(texts))


def resolves(name: str) -> bool:
    try:
        return bool(socket.getaddrinfo(name, 80))
    except OSError:
        return False


async def test_no_ipv6(node: Bench) -> None:
    code, out, _ = await node.shell("cat /proc/net/if_inet6")
    assert (code, out) == (0, "")


FORBIDDEN = {
    "mount": "mount -t tmpfs none /tmp",
    "a bind mount": "mount --bind /etc /tmp",
    "a mount namespace": "unshare --mount true",
    "a user namespace": "unshare --user true",
    "a network namespace": "unshare --net true",
    "a device": "python3 -S -c 'import os, stat; os.mknod(\"/root/d\", stat.S_IFBLK | 0o600, os.makedev(254, 0))'",
    "a raw socket": "python3 -S -c 'import socket; socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)'",
    "a packet socket": "python3 -S -c 'import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW)'",
    "a vm socket": "python3 -S -c 'import socket; socket.socket(40, socket.SOCK_STREAM)'",
    "a pair of other sockets": "python3 -S -c 'import socket; socket.socketpair(30, socket.SOCK_STREAM)'",
    "the host name": "python3 -S -c 'import socket; socket.sethostname(\"x\")'",
    "a kernel setting": "echo 1 > /proc/sys/kernel/hostname",
    "a network setting": "echo 1 > /proc/sys/net/ipv4/ip_forward",
    "sysrq": "echo h > /proc/sysrq-trigger",
    "kernel memory": "cat /proc/kcore",
    "a change of sysfs": "echo 0 > /sys/class/net/lo/mtu",
    "our init": "echo > /run/modicum-init",
    "a lower rank": "python3 -S -c 'import os; os.nice(-5)'",
}


REFUSALS = ("ermitted", "denied", "Read-only", "not implemented", "not supported", "No such file", "nonexistent")


async def test_what_is_forbidden(node: Bench) -> None:
    ends = await asyncio.gather(*(node.shell(command) for command in FORBIDDEN.values()))
    allowed = [what for what, (code, _, _) in zip(FORBIDDEN, ends) if code == 0]
    assert allowed == []
    odd = {what: err for what, (_, _, err) in zip(FORBIDDEN, ends) if not any(word in err for word in REFUSALS)}
    assert odd == {}


async def test_privileges_are_reduced(node: Bench) -> None:
    lines = (await node.shell("cat /proc/self/status"))[1].splitlines()
    status = dict(line.split(":\t") for line in lines if ":\t" in line)
    bits = {"CHOWN": 0, "DAC_OVERRIDE": 1, "FOWNER": 3, "FSETID": 4, "KILL": 5, "SETGID": 6, "SETUID": 7, "SETPCAP": 8}
    bits |= {"NET_BIND_SERVICE": 10, "SYS_CHROOT": 18, "SETFCAP": 31}
    assert {f"CAP_{name}" for name in bits} == set(CAPABILITIES)
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == sum(1 << bit for bit in bits.values())
    assert (status["CapInh"], status["CapAmb"]) == ("0" * 16, "0" * 16)
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")


async def test_the_cgroups_of_the_host_are_not_visible(node: Bench) -> None:
    _, out, _ = await node.shell("cat /proc/self/cgroup; ls /sys/fs/cgroup")
    assert {line.split(":")[2] for line in out.splitlines()} <= {"/"} or not node.maps.privileged
    assert "modicum" not in out or not node.maps.privileged


async def test_host_processes_cannot_be_signalled_or_seen(node: Bench) -> None:
    code, out, _ = await node.shell("ls -d /proc/[0-9]*")
    assert code == 0
    assert len(out.split()) <= 4


async def test_no_descriptor_is_inherited(node: Bench) -> None:
    program = "import os; print(sorted(int(n) for n in os.listdir('/proc/self/fd')))"
    assert await node.python(program) == "[0, 1, 2, 3]\n"  # 3 is the directory that it lists


HOARD = """
import array, errno, resource, socket, time
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
pairs = [socket.socketpair() for _ in range(8)]
many = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0] * 250))]
said = set()
for end, _ in pairs:
    end.setblocking(False)
    try:
        while True:
            end.sendmsg([b"x"], many)
    except OSError as failure:
        said.add(errno.errorcode[failure.errno])
print(*said, flush=True)
time.sleep(100)
"""


async def test_a_hoard_of_descriptors_does_not_end_the_node(node: Bench) -> None:
    hoarder = await node.begin("python3", "-S", "-c", HOARD)
    await node.until(lambda: node.server.of(hoarder).text().count("\n") == 2, "the hoard")
    allowed = open_files_for(resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    assert node.server.of(hoarder).text() == f"{allowed} {allowed}\nETOOMANYREFS\n"
    starts = [node.shell("true") for _ in range(STOCK + 2)]  # more than are in stock
    said = {str(failure) for failure in await asyncio.gather(*starts, return_exceptions=True)}
    assert len(said) == 1
    assert "Too many references" in said.pop()
    await node.server.ask("container.kill", container=hoarder, reason="test")
    await node.ended(hoarder)
    assert (await node.shell("true"))[0] == 0
    assert node.server.hellos == 1


async def test_nobody_else_may_enter_what_containers_write(node: Bench) -> None:
    layout = node.layout
    closed = {path: path.stat().st_mode & 0o7777 for path in (layout.home, layout.containers, layout.temporary)}
    assert closed == dict.fromkeys(closed, 0o700)
    assert {path.stat().st_mode & 0o077 for path in (layout.keeper_facts, layout.lock)} == {0}
    mounts = Path(f"/proc/{node.facts()['node_pid']}/mountinfo").read_text().splitlines()
    options = {line.split()[4]: set(line.split()[5].split(",")) for line in mounts}
    for path in (layout.node, layout.links):
        assert {"rw", "nosuid", "nodev"} <= options[str(path)]


async def test_the_machines_budget_of_asynchronous_requests_is_out_of_reach(node: Bench) -> None:
    program = """
import ctypes, errno, os
io_setup = {"x86_64": 206, "aarch64": 0}[os.uname().machine]
result = ctypes.CDLL(None, use_errno=True).syscall(io_setup, 65536, ctypes.byref(ctypes.c_ulong()))
print(result, errno.errorcode[ctypes.get_errno()])
"""
    assert await node.python(program) == "-1 ENOSYS\n"


def rules(node: Bench) -> str:
    pid = str(node.facts()["node_pid"])
    listed = ["nsenter", "--target", pid, "--user", "--net", "nft", "list", "set", "inet", "modicum", "host"]
    return subprocess.run(listed, capture_output=True, text=True, check=False).stdout
