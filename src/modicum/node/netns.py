"""Who makes the containers' user and network namespaces: a small helper process of the node.

A namespace is born in a process that unshares it. Forking the node itself for that would be slow and, once it has
threads, unsafe; so the node forks this helper first of all and asks it, off the path of a start. A container's user
namespace maps ids to themselves: it takes away the container's power over the node's namespaces, not its ids. Its
network namespace must be owned by that user namespace, or the runtime would show the host's /sys.
"""

from __future__ import annotations

import ipaddress
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from . import control, netlink, network
from .kernel import CLONE_NEWNET, CLONE_NEWUSER, Kernel, kernel

IDENTITY = ((0, 0, 1), (1, 1, 65535))
"""(inside, outside, count). Two extents: none may cross a border of the node's own map (unprivileged: 1 + 65535)."""

_MAP = "".join(f"{inside} {outside} {count}\n" for inside, outside, count in IDENTITY)


def start_helper() -> tuple[socket.socket, int]:
    """Fork the helper; return the socket to it and its pid. Call it before the node has threads.

    It answers `{"plan": …, "bridge": index}` once with nothing, then `{"number": N}` with the two namespaces as
    descriptors: user, network. `number` None makes a network namespace with only a loopback.
    """
    ours, theirs = control.pair()
    pid = os.fork()
    if pid == 0:
        ours.close()
        code = 1
        try:
            kernel.die_with_parent(signal.SIGKILL)
            _serve(theirs, kernel)
            code = 0
        finally:
            sys.stderr.flush()
            os._exit(code)
    theirs.close()
    return ours, pid


def _serve(end: socket.socket, calls: Kernel) -> None:
    plan: network.Plan | None = None
    bridge = 0
    while (received := control.receive(end)) is not None:
        message, _ = received
        answer: control.Message = {"r": message["r"]}
        descriptors: tuple[int, ...] = ()
        try:
            if "containers" in message:
                plan = network.Plan(
                    ipaddress.IPv4Network(message["containers"]),
                    ipaddress.IPv4Network(message["uplink"]),
                )
                bridge = message["bridge"]
            else:
                descriptors = make_namespaces(calls)
                _furnish(descriptors[1], plan, bridge, message["number"], calls)
            control.send(end, answer, descriptors)
        except OSError as failure:  # sending too: the kernel counts the descriptors in flight of all who share our uid
            control.send(end, {**answer, "error": str(failure)})
        finally:
            _close(descriptors)


def make_namespaces(calls: Kernel = kernel) -> tuple[int, int]:
    """Make a user namespace and a network namespace that it owns; return their descriptors."""
    said, heard = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        _hold(calls, said[1], heard[0])
    try:
        os.close(said[1])
        _expect(said[0], b"u")
        for name in ("uid_map", "gid_map"):
            with open(f"/proc/{child}/{name}", "w", encoding="ascii") as file:
                file.write(_MAP)
        os.write(heard[1], b"m")
        _expect(said[0], b"n")
        user = os.open(f"/proc/{child}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
        return user, os.open(f"/proc/{child}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        _close((said[0], *heard))


def _hold(calls: Kernel, said: int, heard: int) -> None:
    try:
        calls.die_with_parent(signal.SIGKILL)
        calls.unshare(CLONE_NEWUSER)
        os.write(said, b"u")
        os.read(heard, 1)
        calls.unshare(CLONE_NEWNET)
        os.write(said, b"n")
        signal.pause()
    finally:
        os._exit(1)


def _furnish(namespace: int, plan: network.Plan | None, bridge: int, number: int | None, calls: Kernel) -> None:
    if plan is not None and number is not None:
        name = f"ve{number}"
        with netlink.Netlink() as link:
            link.run(netlink.veth(name, bridge, "eth0", namespace, network.MTU))
            link.run(netlink.isolate(socket.if_nametoindex(name)))
    with _inside(namespace, calls):
        link = netlink.Netlink()
        network.disable_ipv6()
        index = socket.if_nametoindex("eth0") if plan is not None and number is not None else 0
    with link:
        if plan is None or number is None:
            link.run(netlink.up(1))
            return
        link.run(
            netlink.up(1),
            netlink.up(index),
            netlink.address(index, plan.address(number)),
            netlink.default_route(plan.gateway.ip),
        )


@contextmanager
def _inside(namespace: int, calls: Kernel) -> Iterator[None]:
    home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        calls.setns(namespace, CLONE_NEWNET)
        try:
            yield
        finally:
            calls.setns(home, CLONE_NEWNET)
    finally:
        os.close(home)


def _expect(descriptor: int, word: bytes) -> None:
    if os.read(descriptor, 1) != word:
        raise OSError("a process that was to make namespaces died; is there a limit on user namespaces?")


def _close(descriptors: tuple[int, ...]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
