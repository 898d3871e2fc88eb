"""What the environment sets, and that each setting is explained."""

from __future__ import annotations

import logging
import os
from dataclasses import fields
from pathlib import Path

import pytest

from modicum.server.logging import _Lines
from modicum.server.settings import Settings, read


def test_defaults() -> None:
    settings = read({})
    assert settings.home == Path("~/.modicum").expanduser()
    assert settings.database_url == f"sqlite:///{settings.home}/store.db"
    assert settings == Settings(home=settings.home)


def test_environment_then_argument() -> None:
    environment = {"MODICUM_HOME": "/a", "MODICUM_RECOVERY_S": "0.5", "MODICUM_LOG_BYTES_MAX": "1000", "MODICUM_X": "y"}
    settings = read(environment)
    assert (settings.home, settings.recovery_s, settings.log_bytes_max) == (Path("/a"), 0.5, 1000)
    assert read(environment, "b").home == Path(os.getcwd()) / "b"
    assert read({"MODICUM_DATABASE": "postgresql://x"}).database_url == "postgresql://x"


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [("RECOVERY_S", "soon", "float"), ("LOG_BYTES_MAX", "1.5", "int"), ("UNCLAIMED_S", "", "float")],
)
def test_values_that_make_no_sense(name: str, value: str, kind: str) -> None:
    with pytest.raises(ValueError, match=f"MODICUM_{name}='{value}' is not a {kind}"):
        read({f"MODICUM_{name}": value})


@pytest.mark.parametrize("value", ["-1", "nan"])
def test_there_is_no_time_below_nothing(value: str) -> None:
    with pytest.raises(ValueError, match=f"MODICUM_USAGE_KEPT_S='{value}' must be a number from 0 up"):
        read({"MODICUM_USAGE_KEPT_S": value})


@pytest.mark.parametrize("each", fields(Settings), ids=lambda each: each.name)
def test_each_setting_is_explained(each: object) -> None:
    text = each.metadata["text"]  # type: ignore[attr-defined]
    assert text.endswith(".") and len(text) > 20
    assert not each.name.endswith("_s") or "econds" in text  # type: ignore[attr-defined]
    assert "_bytes" not in each.name or "Bytes" in text  # type: ignore[attr-defined]


def test_log_lines_carry_their_fields() -> None:
    record = logging.makeLogRecord(
        {"name": "modicum.x", "levelname": "INFO", "msg": "started", "container": "ta-1", "n": 2}
    )
    line = _Lines().format(record)
    assert line.endswith("INFO modicum.x started container='ta-1' n=2")
    assert "\n" not in line
