"""How what the server says of a function, or its decorator, is told: `modal.types.FunctionInfo` and `FunctionStats`."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from modicum.exception import InvalidError
from modicum.schedule import describe
from modicum.types import FunctionInfo, FunctionStats, StatsPercentile, StatsPercentileDistribution

UTC = timezone.utc  # noqa: UP017 - `datetime.UTC` is of 3.11

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
        cpu=_asked(options.get("cpu")),
        memory_mib=_asked(options.get("memory")),
        gpus=[(each["type"], each["count"]) for each in options.get("gpu") or ()],
        ephemeral_disk_mib=options.get("ephemeral_disk"),
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
        schedule=describe(options["schedule"]) if options.get("schedule") else None,
        restrict_modal_access=options.get("restrict_modal_access", False),
        block_network=options.get("block_network", False),
        single_use_containers=options.get("single_use_containers", False),
        volumes={},
        cloud_bucket_mounts={},
        secrets=list(options.get("secrets", ())),
        web_info=None,
        method_names=list(spec["methods"]) if spec.get("class") else None,
        method_details={} if spec.get("class") else None,
    )


def _asked(pair: list[Any] | None) -> Any:
    """Return a request, or a request and a limit, as a decorator has it."""
    return pair and (pair[0] if pair[1] is None else tuple(pair))


def time_range(since: datetime | None, until: datetime | None) -> tuple[datetime, datetime]:
    """Return a range of time in UTC, by default the last hour. Raises `InvalidError` if it ends before it begins."""
    last = (until or datetime.now(UTC)).astimezone(UTC)
    first = (since or last - timedelta(hours=1)).astimezone(UTC)
    if first >= last:
        raise InvalidError(f"since ({first.isoformat()}) must be before until ({last.isoformat()})")
    return first, last


def stats(answer: dict[str, Any], since: datetime, until: datetime, all_variants: bool) -> FunctionStats:
    """Return what the server says that a function did."""
    return FunctionStats(
        since=since,
        until=until,
        input_success_count=answer["succeeded"],
        input_failure_count=answer["failed"],
        input_timeout_count=answer["timed_out"],
        input_running_at_end_count=answer["running"],
        input_percentile_stats=_distribution("Execution time (s)", answer["run_s"]),
        container_started_count=answer["started"],
        container_error_count=answer["errors"],
        container_creating_at_end_count=answer["creating"],
        container_percentile_stats=_distribution("Startup time (s)", answer["startup_s"]),
        container_total_count=answer["total"],
        variant_count=answer["variants"],
        all_variants=all_variants,
    )


def _distribution(name: str, values: list[list[float]]) -> dict[str, StatsPercentileDistribution]:
    """Return percentiles under the name that Modal gives them; nothing was measured of what has none."""
    if not values:
        return {}
    return {name: StatsPercentileDistribution("s", [StatsPercentile(*each) for each in values])}
