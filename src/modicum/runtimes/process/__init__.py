"""Containers that are plain processes, for places where no namespace can be made: there is no isolation."""

from __future__ import annotations

from .runtime import ProcessRuntime

__all__ = ["ProcessRuntime"]
