"""Doubles for tests: virtual time, simulated nodes, containers and functions."""
