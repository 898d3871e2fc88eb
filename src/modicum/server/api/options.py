"""Which options of a function make sense? They come from clients and from containers, and say what a node does."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

from modicum.server import due_times
from modicum.server.api.fields import SECONDS_MAX, seconds, whole
from modicum.wire import gpus
from modicum.wire.messages import CPUS_MAX, CPUS_MIN, DISK_MIB_MAX, MEMORY_MIB_MAX

SETTABLE = frozenset({
    "max_containers", "buffer_containers", "scaledown_window", "timeout", "retries", "concurrency", "batching",
    "placement", "secrets", "cpu", "memory", "gpu",
})  # fmt: skip
"""What a variant may have of its own."""

TOLD = frozenset({"min_containers", "max_containers", "buffer_containers", "scaledown_window"})
"""What the autoscaler may be told."""

PARAMETERS_BYTES_MAX = 24 << 10
"""A class's parameters have 16 KiB with Modal; here they are base64."""

COEFFICIENT_MAX = 100
"""By how much a pause may grow from one attempt to the next: a power of it must stay a number."""

SECRETS_MAX = 256
"""A function names no more secrets."""

GPUS_MAX = 32
"""So many may be named, one after the other, of which one is given."""

_SECRET = re.compile(r"st-[0-9A-Za-z]{1,64}")

TEXTS_MAX = 64
"""How many regions may be wished for."""


def check_options(options: dict[str, Any]) -> None:
    """Raise `ValueError` or `KeyError` unless these are the options of a function."""
    for name in ("min_containers", "max_containers", "scaledown_window", "timeout", "startup_timeout"):
        _CHECKS[name](options[name])
    for name, value in options.items():
        _CHECKS[name](value)


def check_settings(settings: Any) -> dict[str, Any]:
    """Return what a variant has of its own. Raises `ValueError`."""
    if not SETTABLE.issuperset(settings):
        raise ValueError(f"{sorted(settings)} are no settings of a variant")
    for name, value in settings.items():
        _CHECKS[name](value)
    return {name: value for name, value in settings.items() if value is not None}


def check_parameters(parameters: Any) -> str | None:
    """Return the parameters of a class, base64. Raises `ValueError`."""
    if parameters is None or (isinstance(parameters, str) and len(parameters) <= PARAMETERS_BYTES_MAX):
        return parameters
    raise ValueError("these are no parameters of a class")


def check_told(told: Any) -> dict[str, int | None]:
    """Return what the autoscaler is told. Raises `ValueError`."""
    if not TOLD.issuperset(told):
        raise ValueError(f"{sorted(told)} are no settings of the autoscaler")
    for name, value in told.items():
        if value is not None:
            _CHECKS[name](value)
    return dict(told)


def _from_one(value: Any) -> None:
    if whole(value) < 1:
        raise ValueError(f"{value!r} is no whole number from 1 up")


def _pair(check: Callable[[Any], object]) -> Callable[[Any], None]:
    """Return a check of a request and a limit, of which there may be none."""

    def check_both(value: Any) -> None:
        if not isinstance(value, list) or len(value) != 2:
            raise ValueError(f"{value!r} is no request and a limit")
        request, limit = value
        check(request)
        if limit is not None:
            check(limit)
            if limit < request:
                raise ValueError(f"the limit {limit!r} is below the request {request!r}")

    return check_both


def _cores(value: Any) -> None:
    if type(value) not in (int, float) or not CPUS_MIN <= value <= CPUS_MAX:
        raise ValueError(f"{value!r} is no number of cores")


def _mib(most: int) -> Callable[[Any], None]:
    def check(value: Any) -> None:
        if not 0 < whole(value) <= most:
            raise ValueError(f"{value!r} is no whole number of MiB from 1 to {most}")

    return check


def _optional(check: Callable[[Any], object]) -> Callable[[Any], object]:
    return lambda value: None if value is None else check(value)


def _flag(value: Any) -> None:
    if not isinstance(value, bool):
        raise ValueError(f"{value!r} is neither true nor false")


def _text(value: Any) -> None:
    if not isinstance(value, str) or not 0 < len(value) <= 256:
        raise ValueError(f"{value!r} is no short text")


def _texts(value: Any) -> None:
    if not isinstance(value, list) or len(value) > TEXTS_MAX:
        raise ValueError(f"{value!r} are no short texts")
    for each in value:
        _text(each)


def _gpus(value: Any) -> None:
    if not isinstance(value, list) or not 0 < len(value) <= GPUS_MAX:
        raise ValueError(f"{value!r} are no GPUs")
    for each in value:
        if each.keys() != {"type", "count"} or not gpus.is_name(each["type"]):
            raise ValueError(f"{each!r} is no type of GPU and a number")
        _from_one(each["count"])
        if each["count"] > gpus.NUMBER_MAX:
            raise ValueError(f"{each['count']} GPUs are more than {gpus.NUMBER_MAX}")


def check_secrets(value: Any) -> None:
    """Raise `ValueError` unless these are ids of secrets."""
    if not isinstance(value, list) or len(value) > SECRETS_MAX or not all(_is_secret(each) for each in value):
        raise ValueError(f"these are no ids of up to {SECRETS_MAX} secrets")


def _is_secret(value: Any) -> bool:
    return isinstance(value, str) and _SECRET.fullmatch(value) is not None


def _number(value: Any) -> None:
    if type(value) not in (int, float) or not 0 <= value <= SECONDS_MAX:
        raise ValueError(f"{value!r} is no number from 0 up")


def _coefficient(value: Any) -> None:
    if not 0 < seconds(value) <= COEFFICIENT_MAX:
        raise ValueError(f"{value!r} is no factor from 0 to {COEFFICIENT_MAX}")


def _record(*optional: str, **checks: Callable[[Any], object]) -> Callable[[Any], None]:
    """Return a check of a record that has all of these fields and no other; the optional ones may be missing."""

    def check(value: Any) -> None:
        if missing := checks.keys() - value.keys() - set(optional):
            raise ValueError(f"{value!r} lacks {sorted(missing)}")
        for name, part in value.items():
            checks[name](part)

    return check


_CHECKS: dict[str, Callable[[Any], object]] = {
    "min_containers": whole,
    "max_containers": _optional(_from_one),
    "buffer_containers": whole,
    "scaledown_window": seconds,
    "timeout": seconds,
    "startup_timeout": seconds,
    "cpu": _optional(_pair(_cores)),
    "memory": _optional(_pair(_mib(MEMORY_MIB_MAX))),
    "gpu": _optional(_gpus),
    "ephemeral_disk": _optional(_mib(DISK_MIB_MAX)),
    "retries": _optional(
        _record(max_retries=whole, backoff_coefficient=_coefficient, initial_delay=_number, max_delay=seconds)
    ),
    "single_use_containers": _flag,
    "schedule": _optional(lambda value: due_times.check(value, time.time())),
    "block_network": _flag,
    "restrict_modal_access": _flag,
    "restrict_output": _flag,
    "secrets": check_secrets,
    "concurrency": _optional(_record("target_inputs", max_inputs=_from_one, target_inputs=_optional(_from_one))),
    "batching": _optional(_record(max_batch_size=_from_one, wait_ms=whole)),
    "placement": _optional(
        _record(
            *("cloud", "regions", "routing_region", "nonpreemptible"),
            cloud=_text,
            regions=_texts,
            routing_region=_text,
            nonpreemptible=_flag,
        )
    ),
}
