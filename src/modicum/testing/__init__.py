"""Doubles for tests: virtual time, simulated nodes and agents, a node of plain processes."""
