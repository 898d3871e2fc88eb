"""What containers may reach: the bridge, the addresses and the packet rules of the node's network namespace.

    container eth0 ── veth, isolated port ── bridge mod0 ── masquerade ── tap of slirp4netns or pasta ── way out

Closed: the host's loopback (by the uplink), every address of the host itself, metadata services, other containers,
the node. There is no IPv6. The rules stand before the first container does.
"""

from __future__ import annotations

import ipaddress
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from . import netlink

BRIDGE = "mod0"
TAP = "tap0"
MTU = 65520
"""What slirp4netns can carry at most; large segments are what makes it fast."""

_CONTAINER_NETS = ("10.87.0.0/16", "10.187.0.0/16", "172.30.0.0/16", "192.168.192.0/18")
_UPLINK_NETS = ("10.0.2.0/24", "10.88.2.0/24", "172.29.2.0/24", "192.168.191.0/24")
_METADATA = ("169.254.0.0/16", "100.100.100.200", "192.0.0.192", "168.63.129.16")
"""Cloud metadata services: all link-local ones, Alibaba's, Oracle's, Azure's."""


class NetworkUnavailable(Exception):
    """The rules could not be set, so no container gets a way out."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The networks of one node, clear of those that the host uses."""

    containers: ipaddress.IPv4Network
    uplink: ipaddress.IPv4Network

    @property
    def gateway(self) -> ipaddress.IPv4Interface:
        """The bridge's address."""
        return ipaddress.IPv4Interface((self.containers.network_address + 1, self.containers.prefixlen))

    @property
    def resolver(self) -> ipaddress.IPv4Address:
        """Where the uplink answers DNS queries on the host's behalf."""
        return self.uplink.network_address + 3

    @property
    def size(self) -> int:
        """How many containers can have an address at once."""
        return self.containers.num_addresses - 3

    def address(self, number: int) -> ipaddress.IPv4Interface:
        """Return the address of container `number`, from 0 to `size` - 1."""
        return ipaddress.IPv4Interface((self.containers.network_address + 2 + number, self.containers.prefixlen))


def plan_networks(routes: Iterable[ipaddress.IPv4Network]) -> Plan:
    """Choose networks that none of the host's routes leads to (the first ones if all are taken)."""
    used = [route for route in routes if route.prefixlen > 0]

    def free(candidates: tuple[str, ...]) -> ipaddress.IPv4Network:
        networks = [ipaddress.IPv4Network(text) for text in candidates]
        return next((net for net in networks if not any(net.overlaps(route) for route in used)), networks[0])

    return Plan(free(_CONTAINER_NETS), free(_UPLINK_NETS))


def host_routes(table: str) -> list[ipaddress.IPv4Network]:
    """Return the destinations in the text of /proc/net/route."""
    routes: list[ipaddress.IPv4Network] = []
    for line in table.splitlines()[1:]:
        fields = line.split()
        destination, mask = (int.from_bytes(bytes.fromhex(fields[i]), "little") for i in (1, 7))
        routes.append(ipaddress.IPv4Network((destination, mask.bit_count()), strict=False))
    return routes


def set_up(plan: Plan, host_addresses: Iterable[str]) -> int:
    """Make the bridge and the rules in the current network namespace; return the bridge's index.

    Raises `NetworkUnavailable`, with nothing open, if the rules cannot be set.
    """
    _load(rules(plan, host_addresses))
    try:
        with netlink.Netlink() as link:
            index = _make_bridge(link, plan)
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1", encoding="ascii")
    except OSError as failure:
        raise NetworkUnavailable(f"the bridge could not be made: {failure}") from failure
    return index


def replace_host_addresses(addresses: Iterable[str]) -> None:
    """Close the way to these addresses of the host, and to no others of it. Takes about 10 ms."""
    elements = _elements(addresses)
    filling = f"add element inet modicum host {{ {elements} }}\n" if elements else ""
    _load(f"flush set inet modicum host\n{filling}")


def rules(plan: Plan, host_addresses: Iterable[str]) -> str:
    """Return the rules, for `nft -f`."""
    elements = _elements(host_addresses)
    filling = f"elements = {{ {elements} }}" if elements else ""
    return f"""
table inet modicum {{
  set host {{ type ipv4_addr; {filling} }}
  chain input {{
    type filter hook input priority filter - 5; policy accept;
    ct state invalid drop
    iifname "{BRIDGE}" ct state established,related accept
    iifname "{BRIDGE}" drop
  }}
  chain forward {{
    type filter hook forward priority filter - 5; policy drop;
    ct state invalid drop
    ct state established,related accept
    meta nfproto ipv6 drop
    iifname != "{BRIDGE}" drop
    oifname "{BRIDGE}" drop
    ip daddr {plan.resolver} meta l4proto {{ tcp, udp }} th dport 53 accept
    ip daddr {{ {", ".join(_METADATA)}, 127.0.0.0/8, {plan.uplink} }} reject with icmpx admin-prohibited
    ip daddr @host reject with icmpx admin-prohibited
    accept
  }}
  chain post {{
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr {plan.containers} oifname != "{BRIDGE}" masquerade
  }}
}}
"""


def disable_ipv6() -> None:
    """Switch IPv6 off for interfaces to come in the current network namespace."""
    for scope in ("all", "default"):
        path = Path(f"/proc/sys/net/ipv6/conf/{scope}/disable_ipv6")
        if path.exists():
            path.write_text("1", encoding="ascii")


def _make_bridge(link: netlink.Netlink, plan: Plan) -> int:
    import socket

    disable_ipv6()
    link.run(netlink.up(1), netlink.bridge(BRIDGE))
    index = socket.if_nametoindex(BRIDGE)
    link.run(netlink.address(index, plan.gateway))
    return index


def _elements(addresses: Iterable[str]) -> str:
    parsed = {ipaddress.IPv4Address(address) for address in addresses}
    return ", ".join(str(address) for address in sorted(parsed) if not address.is_loopback)


def _load(text: str) -> None:
    try:
        done = subprocess.run(["nft", "-f", "-"], input=text.encode(), capture_output=True, timeout=20, check=False)
    except (FileNotFoundError, PermissionError):
        raise NetworkUnavailable("nft is missing: install the package nftables") from None
    except subprocess.TimeoutExpired:
        raise NetworkUnavailable("nft did not answer within 20 s") from None
    if done.returncode:
        raise NetworkUnavailable(f"nft: {done.stderr.decode(errors='replace').strip()[:500]}")
