"""Containers through an OCI runtime: crun, or runc where crun does not work."""

from __future__ import annotations

from .probe import Choice, choose
from .runtime import OciRuntime
from .slot import Slot, SlotSource

__all__ = ["Choice", "OciRuntime", "Slot", "SlotSource", "choose"]
