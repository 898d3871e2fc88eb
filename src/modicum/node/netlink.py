"""How network interfaces are made and set up: the few rtnetlink messages that the node needs.

Structures and numbers are those of rtnetlink(7) and linux/if_link.h. A socket stays in the network namespace in
which it was opened, whatever its process enters later.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import struct

_NEWLINK, _GETLINK, _SETLINK, _NEWADDR, _GETADDR, _NEWROUTE = 16, 18, 19, 20, 22, 24
_ERROR, _DONE = 2, 3
_REQUEST, _ACK, _EXCL, _CREATE, _DUMP = 1, 4, 0x200, 0x400, 0x300

_IFLA_IFNAME, _IFLA_MTU, _IFLA_MASTER, _IFLA_PROTINFO, _IFLA_LINKINFO, _IFLA_NET_NS_FD = 3, 4, 10, 12, 18, 28
_INFO_KIND, _INFO_DATA, _VETH_PEER, _BRPORT_ISOLATED = 1, 2, 1, 33
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_RTA_GATEWAY = 5
_IFF_UP = 1
_NESTED = 0x8000
_RT_TABLE_MAIN, _RTPROT_STATIC, _RT_SCOPE_UNIVERSE, _RTN_UNICAST = 254, 4, 0, 1

_HEADER = struct.Struct("=IHHII")
_LINK = struct.Struct("=BxHiII")
_ADDRESS = struct.Struct("=BBBBi")
_ROUTE = struct.Struct("=BBBBBBBBI")

ADDRESS_CHANGES = 0x10
"""The multicast group RTMGRP_IPV4_IFADDR: a message whenever this machine gains or loses an address."""

Request = tuple[int, int, bytes]
"""Message type, flags, body."""


class Netlink:
    """A rtnetlink socket in the network namespace that was current when it was made."""

    def __init__(self, groups: int = 0) -> None:
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self.socket.bind((0, groups))
        self._sequence = 0

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()

    def __enter__(self) -> Netlink:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, *requests: Request) -> None:
        """Perform the requests in one datagram, in order. Raises `OSError` with the first one's refusal."""
        first = self._sequence + 1
        data = b"".join(self._encode(kind, flags | _REQUEST | _ACK, body) for kind, flags, body in requests)
        self.socket.send(data)
        waiting = set(range(first, self._sequence + 1))
        refusal = 0
        while waiting:
            for kind, sequence, body in _messages(self.socket.recv(1 << 16)):
                if kind == _ERROR and sequence in waiting:
                    waiting.discard(sequence)
                    refusal = refusal or -struct.unpack_from("=i", body)[0]
        if refusal:
            raise OSError(refusal, f"rtnetlink: {os.strerror(refusal)}")

    def addresses(self) -> list[str]:
        """Return every IPv4 address of this network namespace, loopback too."""
        self.socket.send(self._encode(_GETADDR, _REQUEST | _DUMP, _ADDRESS.pack(socket.AF_INET, 0, 0, 0, 0)))
        found: list[str] = []
        while True:
            for kind, sequence, body in _messages(self.socket.recv(1 << 16)):
                if sequence != self._sequence:
                    continue
                if kind in (_DONE, _ERROR):
                    return found
                attributes = _attributes(body[_ADDRESS.size :])
                address = attributes.get(_IFA_LOCAL, attributes.get(_IFA_ADDRESS))
                if kind == _NEWADDR and address is not None:
                    found.append(str(ipaddress.IPv4Address(address)))

    def _encode(self, kind: int, flags: int, body: bytes) -> bytes:
        self._sequence += 1
        return _HEADER.pack(_HEADER.size + len(body), kind, flags, self._sequence, 0) + body


def bridge(name: str) -> Request:
    """Make a bridge, up."""
    info = _attribute(_IFLA_LINKINFO, _attribute(_INFO_KIND, b"bridge"), nested=True)
    return _NEWLINK, _CREATE | _EXCL, _link(up=True) + _name(name) + info


def veth(name: str, master: int, peer: str, peer_namespace: int, mtu: int) -> Request:
    """Make a pair: `name`, up, here on the bridge `master`; `peer` in the namespace of that descriptor."""
    size = _attribute(_IFLA_MTU, struct.pack("=I", mtu))
    other = _link() + _name(peer) + size + _attribute(_IFLA_NET_NS_FD, struct.pack("=I", peer_namespace))
    data = _attribute(_INFO_DATA, _attribute(_VETH_PEER, other), nested=True)
    info = _attribute(_IFLA_LINKINFO, _attribute(_INFO_KIND, b"veth") + data, nested=True)
    body = _link(up=True) + _name(name) + size + _attribute(_IFLA_MASTER, struct.pack("=I", master)) + info
    return _NEWLINK, _CREATE | _EXCL, body


def isolate(index: int) -> Request:
    """Mark a bridge port isolated: isolated ports cannot reach each other, whatever the rules say."""
    flag = _attribute(_IFLA_PROTINFO, _attribute(_BRPORT_ISOLATED, b"\x01"), nested=True)
    return _SETLINK, 0, _link(index, family=socket.AF_BRIDGE) + flag


def up(index: int) -> Request:
    """Bring an interface up."""
    return _NEWLINK, 0, _link(index, up=True)


def address(index: int, value: ipaddress.IPv4Interface) -> Request:
    """Give an interface an address."""
    body = _ADDRESS.pack(socket.AF_INET, value.network.prefixlen, 0, _RT_SCOPE_UNIVERSE, index)
    packed = value.ip.packed
    return _NEWADDR, _CREATE | _EXCL, body + _attribute(_IFA_LOCAL, packed) + _attribute(_IFA_ADDRESS, packed)


def default_route(gateway: ipaddress.IPv4Address) -> Request:
    """Route everything by a gateway."""
    body = _ROUTE.pack(socket.AF_INET, 0, 0, 0, _RT_TABLE_MAIN, _RTPROT_STATIC, _RT_SCOPE_UNIVERSE, _RTN_UNICAST, 0)
    return _NEWROUTE, _CREATE | _EXCL, body + _attribute(_RTA_GATEWAY, gateway.packed)


def _link(index: int = 0, up: bool = False, family: int = socket.AF_UNSPEC) -> bytes:
    flags = _IFF_UP if up else 0
    return _LINK.pack(family, 0, index, flags, flags)


def _name(name: str) -> bytes:
    return _attribute(_IFLA_IFNAME, name.encode() + b"\0")


def _attribute(kind: int, data: bytes, nested: bool = False) -> bytes:
    header = struct.pack("=HH", 4 + len(data), kind | (_NESTED if nested else 0))
    return header + data + b"\0" * (-len(data) % 4)


def _attributes(data: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        if length < 4:
            break
        found[kind & ~_NESTED] = data[4:length]
        data = data[(length + 3) & ~3 :]
    return found


def _messages(data: bytes) -> list[tuple[int, int, bytes]]:
    """Cut a datagram into (type, sequence, body)."""
    found: list[tuple[int, int, bytes]] = []
    while len(data) >= _HEADER.size:
        length, kind, _, sequence, _ = _HEADER.unpack_from(data)
        found.append((kind, sequence, data[_HEADER.size : length]))
        data = data[(length + 3) & ~3 :]
    return found
