"""What do the core and an agent need to know of a function?"""

from __future__ import annotations

from typing import Any

from modicum.server import gpus, limits
from modicum.server.core import events as ev
from modicum.server.records import Function


def spec_of(function: Function) -> ev.FunctionSpec:
    """Return what the core needs to know of a function."""
    options, spec = function.options, function.definition["spec"]
    concurrency, batching = options.get("concurrency") or {}, options.get("batching") or {}
    together = batching.get("max_batch_size", 1)  # inputs that run as one
    slots = concurrency.get("max_inputs", 1) * together
    target = (concurrency.get("target_inputs") or concurrency.get("max_inputs", 1)) * together
    single_use = bool(options.get("single_use_containers"))
    asked = limits.asked(options)
    return ev.FunctionSpec(
        id=function.id,
        app=function.app,
        cpu=asked.cpus,
        memory_mib=asked.memory_mib,
        gpus=gpus.wishes(options),
        slots=1 if single_use else slots,
        target=1 if single_use else target,
        min_containers=options["min_containers"],
        max_containers=options["max_containers"],
        buffer_containers=options.get("buffer_containers") or 0,
        scaledown_window_s=options["scaledown_window"],
        timeout_s=options["timeout"],
        startup_timeout_s=options["startup_timeout"],
        retries=None if spec["generator"] else _retries(options.get("retries")),
        single_use=single_use,
        batch_size=batching.get("max_batch_size", 0),
        batch_wait_s=batching.get("wait_ms", 0) / 1000,
        exits=bool(spec.get("exits")),
        generation=function.generation,
    )


def _retries(given: dict[str, Any] | None) -> ev.Retries | None:
    if not given or not given["max_retries"]:
        return None
    return ev.Retries(given["max_retries"], given["backoff_coefficient"], given["initial_delay"], given["max_delay"])


def agent_spec(function: Function) -> dict[str, Any]:
    """Return what an agent needs to know of the function of its container: how it is loaded, and how it runs."""
    options = function.options
    return {
        **function.definition["spec"],
        "concurrency": options.get("concurrency"),
        "batching": options.get("batching"),
        "single_use": bool(options.get("single_use_containers")),
    }
