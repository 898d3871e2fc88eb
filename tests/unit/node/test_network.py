"""Which networks do containers get, and which rules?"""

from __future__ import annotations

from ipaddress import IPv4Network

from modicum.node import network

ROUTES = """Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
"""


def test_routes_are_read() -> None:
    assert network.host_routes(ROUTES) == [IPv4Network("0.0.0.0/0"), IPv4Network("192.0.2.0/24")]


def test_the_default_route_takes_no_network() -> None:
    plan = network.plan_networks([IPv4Network("0.0.0.0/0")])
    assert (str(plan.containers), str(plan.uplink)) == ("10.87.0.0/16", "10.0.2.0/24")


def test_networks_of_the_host_are_avoided() -> None:
    plan = network.plan_networks([IPv4Network("10.0.0.0/8"), IPv4Network("172.29.2.0/28")])
    assert (str(plan.containers), str(plan.uplink)) == ("172.30.0.0/16", "192.168.191.0/24")


def test_addresses_of_a_plan() -> None:
    plan = network.plan_networks([])
    assert str(plan.gateway) == "10.87.0.1/16"
    assert str(plan.resolver) == "10.0.2.3"
    assert str(plan.address(0)) == "10.87.0.2/16"
    assert str(plan.address(plan.size - 1)) == "10.87.255.254/16"  # 65536 - network, gateway, broadcast = 65533


def test_rules_name_every_address_but_loopback() -> None:
    text = network.rules(network.plan_networks([]), ["127.0.0.1", "192.0.2.9", "192.0.2.10"])
    assert "elements = { 192.0.2.9, 192.0.2.10 }" in text
    assert "127.0.0.1" not in text


def test_a_host_without_addresses() -> None:
    assert "elements" not in network.rules(network.plan_networks([]), ["127.0.0.1"])
