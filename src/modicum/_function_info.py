"""How a function's configuration is shown: `modal.types.FunctionInfo`, of what the server says, or of a decorator."""

from __future__ import annotations

from modicum.types import FunctionInfo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from modicum.function import Function


def of_local(function: Function[Any, Any, Any]) -> FunctionInfo:
    """Return what the decorator of a function says, whose app does not run."""
    return _info(function.options.as_dict(), {}, None)


def of_answer(answer: dict[str, Any]) -> FunctionInfo:
    """Return what the server says of a function."""
    return _info(answer["options"], answer["spec"], answer["image"])


def _info(options: dict[str, Any], spec: dict[str, Any], image: str | None) -> FunctionInfo:
    placement = options.get("placement") or {}
    retries, concurrency, batching = (options.get(name) for name in ("retries", "concurrency", "batching"))
    return FunctionInfo(
        cpu=None,
        memory_mib=None,
        gpus=[],
        ephemeral_disk_mib=None,
        image_info=FunctionInfo.ImageInfo(None, image),
        startup_timeout=options["startup_timeout"],
        timeout=options["timeout"],
        max_retries=retries["max_retries"] if retries else None,
        nonpreemptible=placement.get("nonpreemptible", False),
        regions=placement.get("regions"),
        routing_region=placement.get("routing_region"),
        cloud=placement.get("cloud"),
        cluster_info=None,
        batching_info=FunctionInfo.BatchingInfo(**batching) if batching else None,
        concurrency_info=FunctionInfo.ConcurrencyInfo(**concurrency) if concurrency else None,
        schedule=None,
        restrict_modal_access=False,
        block_network=False,
        single_use_containers=options.get("single_use_containers", False),
        volumes={},
        cloud_bucket_mounts={},
        secrets=[],
        web_info=None,
        method_names=list(spec["methods"]) if spec.get("class") else None,
        method_details={} if spec.get("class") else None,
    )
