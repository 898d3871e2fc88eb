"""Fixtures that tests of more than one folder want."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from modicum import config


@pytest.fixture
def settings_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this test's client has its settings; none yet, nor any in the environment."""
    for name in list(os.environ):
        if name.startswith(("MODICUM_", "MODAL_")):
            monkeypatch.delenv(name)
    monkeypatch.setattr(config, "_files", {})
    path = tmp_path / "settings.toml"
    monkeypatch.setenv("MODICUM_CONFIG_PATH", str(path))
    return path
