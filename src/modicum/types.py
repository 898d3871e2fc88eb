"""What questions about apps, functions and calls are answered with: plain data, named as in `modal.types`."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import datetime


@dataclass(frozen=True)
class FunctionCurrentStats:
    """What a function does at this moment. `input_headroom`: how many inputs its containers could take at once."""

    backlog: int
    num_total_runners: int
    num_running_inputs: int
    input_headroom: int


@dataclass(frozen=True, slots=True)
class FunctionAutoscalerSettings:
    """How many containers a function may have, and how long they stay without work, in seconds."""

    min_containers: int | None
    max_containers: int | None
    scaledown_window: int | None
    buffer_containers: int | None


@dataclass(frozen=True)
class StatsPercentile:
    """So many percent of what was measured were no more than `value`."""

    percentile: float
    value: float


@dataclass(frozen=True)
class StatsPercentileDistribution:
    """How a measured quantity was distributed."""

    unit: str
    percentiles: list[StatsPercentile]


@dataclass(frozen=True)
class FunctionStats:
    """What a function did in a range of time: counts of its inputs and containers, and how long these took."""

    since: datetime
    until: datetime
    input_success_count: int
    input_failure_count: int
    input_timeout_count: int
    input_running_at_end_count: int
    input_percentile_stats: dict[str, StatsPercentileDistribution]

    container_started_count: int
    container_error_count: int
    container_creating_at_end_count: int
    container_percentile_stats: dict[str, StatsPercentileDistribution]
    container_total_count: int
    variant_count: int
    all_variants: bool


@dataclass(frozen=True)
class FunctionInfo:
    """How a function is configured. What it does not have is None, or empty."""

    @dataclass(frozen=True)
    class WebInfo:
        """The address of a web function."""

        web_url: str
        method: str | None
        unauthenticated: bool

    @dataclass(frozen=True)
    class ImageInfo:
        """The image that its containers are made of."""

        image_name: str | None
        image_id: str | None

    @dataclass(frozen=True)
    class ClusterInfo:
        """How many containers work on one input."""

        size: int
        rdma: bool
        fabric_size: int | None

    @dataclass(frozen=True)
    class BatchingInfo:
        """How many inputs are taken together at most, and how long the first of them waits for others."""

        max_batch_size: int
        wait_ms: int

    @dataclass(frozen=True)
    class ConcurrencyInfo:
        """How many inputs a container runs at once at most, and how many the autoscaler aims at."""

        max_inputs: int | None
        target_inputs: int | None

    cpu: float | tuple[float, float] | None
    memory_mib: int | tuple[int, int] | None
    gpus: list[tuple[str, int]]
    ephemeral_disk_mib: int | None

    image_info: ImageInfo

    startup_timeout: int | None
    timeout: int
    max_retries: int | None

    nonpreemptible: bool
    regions: list[str] | None
    routing_region: str | None
    cloud: str | None

    cluster_info: ClusterInfo | None
    batching_info: BatchingInfo | None
    concurrency_info: ConcurrencyInfo | None

    schedule: str | None

    restrict_modal_access: bool
    block_network: bool
    single_use_containers: bool

    volumes: dict[str, object]
    cloud_bucket_mounts: dict[str, object]
    secrets: list[str]

    web_info: WebInfo | None

    method_names: list[str] | None
    method_details: dict[str, WebInfo] | None

    _inner_server_info: None = field(default=None, repr=False)


class InputStatus(enum.IntEnum):
    """What has become of an input."""

    PENDING = 0
    SUCCESS = 1
    FAILURE = 2
    INIT_FAILURE = 5
    TERMINATED = 3
    TIMEOUT = 4

    @classmethod
    def _missing_(cls, value: object) -> InputStatus:
        return cls.PENDING


@dataclass
class InputInfo:
    """An input in a call graph. `task_id` is the container that it was last given to, empty if there was none."""

    input_id: str
    function_call_id: str
    task_id: str
    status: InputStatus
    function_name: str
    module_name: str
    children: list[InputInfo]


class AppState(str, enum.Enum):  # noqa: UP042 - StrEnum is of 3.11
    """How an app is."""

    EPHEMERAL = "ephemeral"
    DETACHED = "detached"
    DEPLOYED = "deployed"
    STOPPING = "stopping"
    STOPPED = "stopped"


@dataclass
class AppLifecycle:
    """When an app came to be what it is, and by whom; None for what has not happened to it."""

    state: AppState
    version: int | None
    created_at: datetime
    created_by: str
    deployed_at: datetime | None
    deployed_by: str | None
    stopped_at: datetime | None


@dataclass(frozen=True)
class AppInfo:
    """An app, and the ids of its functions by their names."""

    app_id: str
    description: str
    lifecycle: AppLifecycle
    functions: dict[str, str]


@dataclass
class DictInfo:
    """A dict: its name (None for an ephemeral one), and when and by whom it was made."""

    name: str | None
    created_at: datetime
    created_by: str | None


@dataclass
class QueueInfo:
    """A queue: its name (None for an ephemeral one), and when and by whom it was made."""

    name: str | None
    created_at: datetime
    created_by: str | None


__all__ = [
    "AppInfo",
    "AppLifecycle",
    "AppState",
    "DictInfo",
    "FunctionAutoscalerSettings",
    "FunctionCurrentStats",
    "FunctionInfo",
    "FunctionStats",
    "InputInfo",
    "InputStatus",
    "QueueInfo",
    "StatsPercentile",
    "StatsPercentileDistribution",
]


if not TYPE_CHECKING:  # a type checker sees that other names are not there

    def __getattr__(name: str) -> object:
        from modicum._missing import from_module

        raise from_module("modal.types", name, __all__)
