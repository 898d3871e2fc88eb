"""Every setting of the server: type, default, unit and one sentence. Read once, in `main.py`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from modicum.runtimes import RUNTIMES
from modicum.server import rates
from modicum.wire import gpus

_FLAGS = {"1": True, "yes": True, "true": True, "on": True, "0": False, "no": False, "false": False, "off": False}


def _setting(default: Any, text: str) -> Any:
    return field(default=default, metadata={"text": text})


@dataclass(frozen=True, slots=True)
class Settings:
    """Each may be set in the server's environment as `MODICUM_<NAME>`."""

    home: Path = _setting(Path("~/.modicum"), "The directory in which the server keeps everything.")
    runtime: str = _setting(
        "auto", "What makes containers: crun, runc, process (no isolation), or auto, whichever of the first two works."
    )
    database: str = _setting("", "SQLAlchemy URL of the durable state; by default a SQLite file in the home.")
    recovery_s: float = _setting(3.0, "Seconds for which a starting server waits for nodes before it dispatches.")
    client_grace_s: float = _setting(2.0, "Seconds that an app outlives its last client's connection.")
    reattach_grace_s: float = _setting(15.0, "Seconds that a restarted server waits for the clients of its apps.")
    node_wait_s: float = _setting(60.0, "Seconds that a build or a start waits for a node to be there.")
    log_bytes_max: int = _setting(64 << 20, "Bytes of output kept for each app; older output is dropped.")
    logs_bytes_max: int = _setting(4 << 30, "Bytes of output kept in all; that of apps that ended long ago goes first.")
    logs_kept_s: float = _setting(7 * 24 * 3600.0, "Seconds for which output is kept, and why containers ended.")
    outputs_kept_s: float = _setting(7 * 24 * 3600.0, "Seconds for which the outputs of spawned inputs are kept.")
    versions_kept: int = _setting(20, "Versions of a deployed app that can be rolled back to; the newest.")
    schedule_catch_up: bool = _setting(
        True, "Whether a function with a schedule runs once for due times that passed while no server ran."
    )
    schedule_overlap: str = _setting(
        "skip", "What happens when a function is due and its last run has not ended: skip (it is not run), or allow."
    )
    schedule_zone: str = _setting("UTC", "The time zone by whose calendar the days of a Period are counted.")
    usage_kept_s: float = _setting(
        400 * 24 * 3600.0, "Seconds for which it is kept what functions used, by the hour, for `billing report`."
    )
    rates: str = _setting(
        "",
        "Prices in dollars by the hour instead of the defaults, as in `cpu=0.05,memory=0.01,H100=2.5`: of a core, of a "
        "GiB, of a GPU of a type.",
    )
    gpus: str = _setting(
        "",
        "GPUs that this machine is taken to have, as in `H100:8,A100-80GB:2`, to try out which function gets which: "
        "containers are told of them, and get no device. By default those that NVIDIA's driver names.",
    )
    cdi_dirs: str = _setting(
        "/etc/cdi:/var/run/cdi",
        "Where files of the Container Device Interface say what a container with a GPU needs, `:` between.",
    )
    unclaimed_s: float = _setting(120.0, "Seconds for which outputs wait for a caller that lost its connection.")

    @property
    def isolated(self) -> bool:
        """Whether containers are isolated from this machine, and from each other."""
        return self.runtime != "process"

    @property
    def database_url(self) -> str:
        """The URL of the durable state."""
        return self.database or f"sqlite:///{self.home / 'store.db'}"


def read(environment: Mapping[str, str], home: str | None = None) -> Settings:
    """Return the settings that an environment gives. Raises `ValueError` naming a variable that makes no sense."""
    values: dict[str, Any] = {}
    for each in fields(Settings):
        name = f"MODICUM_{each.name.upper()}"
        if name in environment:
            kind: Any = _flag if isinstance(each.default, bool) else type(each.default)
            try:
                values[each.name] = kind(environment[name])
            except ValueError:
                raise ValueError(f"{name}={environment[name]!r} is not a {type(each.default).__name__}") from None
            if kind in (int, float) and not values[each.name] >= 0:  # nor what is no number: it compares with none
                raise ValueError(f"{name}={environment[name]!r} must be a number from 0 up")
    if values.get("runtime", "auto") not in RUNTIMES:
        raise ValueError(f"MODICUM_RUNTIME={values['runtime']!r} is not one of {', '.join(RUNTIMES)}")
    _check_schedules(values)
    try:
        rates.read(values.get("rates", ""))
    except ValueError as error:
        raise ValueError(f"MODICUM_RATES: {error}") from None
    try:
        gpus.parse(values.get("gpus", ""))
    except ValueError as error:
        raise ValueError(f"MODICUM_GPUS: {error}") from None
    if home is not None:
        values["home"] = Path(home)
    values["home"] = Path(os.path.abspath(Path(values.get("home", Settings().home)).expanduser()))
    return Settings(**values)


def _flag(text: str) -> bool:
    if text.lower() not in _FLAGS:
        raise ValueError(f"{text!r} is neither yes nor no")
    return _FLAGS[text.lower()]


def _check_schedules(values: Mapping[str, Any]) -> None:
    if values.get("schedule_overlap", "skip") not in ("skip", "allow"):
        raise ValueError(f"MODICUM_SCHEDULE_OVERLAP={values['schedule_overlap']!r} is neither skip nor allow")
    try:
        ZoneInfo(values.get("schedule_zone", "UTC"))
    except (KeyError, ValueError, OSError):
        raise ValueError(f"MODICUM_SCHEDULE_ZONE={values['schedule_zone']!r} is no time zone") from None
