"""What a function can be asked and told beside being called: its settings, its autoscaler, what it does now."""

from __future__ import annotations

from modicum import _context
from modicum._both import both
from modicum._exchange import ask
from modicum._old_names import Moved, Renamed, accepts, say
from modicum._types import Generic, O, P, R
from modicum.exception import InvalidError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime
    from typing import Any

    from modicum._exchange import Operation
    from modicum.function import Function
    from modicum.retries import Retries
    from modicum.types import FunctionAutoscalerSettings, FunctionCurrentStats, FunctionInfo, FunctionStats


class _Unset(int):
    """The default of what `None` means something for; as Modal's, it shows as -1."""


UNSET = _Unset(-1)

OLD_OPTIONS = (
    Renamed("concurrency_limit", "max_containers"),
    Renamed("container_idle_timeout", "scaledown_window"),
    Moved(
        "allow_concurrent_inputs",
        "with_concurrency(max_inputs=…)",
        lambda made, inputs: made.with_concurrency(max_inputs=inputs, target_inputs=inputs) if inputs else made,
    ),
)


class Configurable(Generic[P, R, O]):
    """The part of `Function` that is about its settings."""

    name: str

    @accepts(*OLD_OPTIONS, name="with_options")
    def with_options(
        self,
        *,
        cpu: float | tuple[float, float] | None = None,
        memory: int | tuple[int, int] | None = None,
        gpu: str | None = None,
        env: dict[str, str | None] | None = None,
        secrets: Collection[Any] | None = None,
        volumes: dict[Any, Any] = {},  # noqa: B006 - it is only read
        retries: int | Retries | None = None,
        max_containers: int | None = None,
        buffer_containers: int | None = None,
        scaledown_window: int | None = None,
        timeout: int | None = None,
        region: str | Sequence[str] | None = None,
        cloud: str | None = None,
        routing_region: str | None = None,
    ) -> Function[P, R, O]:
        """Return this function with some settings replaced; it has containers of its own.

        Each value replaces the one of the decorator, or of an earlier `with_options`; None replaces nothing. Who asks
        for the same settings gets the same containers, also from another program. `min_containers` holds for the
        function as it was decorated, not for this one. Raises `InvalidError` for a value that makes no sense.
        """
        from modicum import options

        given = {**locals()}
        return self.variant(options.read_overrides("with_options", given))

    def with_concurrency(self, *, max_inputs: int, target_inputs: int | None = None) -> Function[P, R, O]:
        """Return this function as `@modal.concurrent` would have made it; it has containers of its own."""
        from modicum import options

        return self.variant({"concurrency": options.read_concurrency("with_concurrency", max_inputs, target_inputs)})

    def with_batching(self, *, max_batch_size: int, wait_ms: int) -> Function[P, R, O]:
        """Return this function as `@modal.batched` would have made it; it has containers of its own."""
        from modicum import options

        return self.variant({"batching": options.read_batching(max_batch_size, wait_ms)})

    def variant(self, settings: dict[str, Any], parameters: bytes = b"") -> Function[P, R, O]:
        """Return this function with settings, as they are sent, and a class's with parameters of its own."""
        from modicum._variants import Variant  # few programs have any

        return Variant(self, settings, parameters)  # type: ignore[arg-type]  # whatever is configurable is a function

    @property
    def autoscaler(self) -> FunctionAutoscaler:
        """The function's autoscaler: `.settings()` tells what holds, `.update(…)` changes it."""
        return FunctionAutoscaler(self)

    @both
    def get_current_stats(self) -> Operation[FunctionCurrentStats]:
        """Return how many inputs wait and run at this moment, on how many containers."""
        from modicum import types

        now = yield from _ask(self, "function.stats")
        return types.FunctionCurrentStats(now["backlog"], now["runners"], now["running"], now["headroom"])

    @both
    def info(self, *, refresh: bool = False) -> Operation[FunctionInfo]:
        """Return how the function is configured, asking the server of one that runs.

        `refresh` is accepted for compatibility: the answer is never an old one.
        """
        from modicum import _function_info

        function: Any = self
        if function._find is None and function._object_id is None and _context.is_local():
            return _function_info.of_local(function)
        return _function_info.of_answer((yield from _ask(self, "function.info")))

    @both
    def stats(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        container: str | None = None,
        all_variants: bool = False,
    ) -> Operation[FunctionStats]:
        """Return what the function did in a range of time, by default the last hour; at most 7 days are kept.

        Times without a zone are of this machine, and are taken to the minute. `all_variants` counts those of
        `with_options` and its like, and of a class's parameters, too. How many run or start at the end of the range is
        known of one that ends now. Percentiles are right to some percent. Raises `InvalidError` for a range that makes
        no sense, and for `container`: what single containers did is not kept.
        """
        from modicum import _function_info

        if container is not None:
            raise InvalidError("what a single container did is not kept; leave `container` out")
        first, last = _function_info.time_range(since, until)
        asked = {"since": first.timestamp(), "until": last.timestamp(), "all_variants": all_variants}
        answer = yield from _ask(self, "function.history", **asked)
        return _function_info.stats(answer, first, last, all_variants)

    # -- older names ---------------------------------------------------------------------------------------

    @both
    def update_autoscaler(
        self,
        *,
        min_containers: int | None = None,
        max_containers: int | None = None,
        buffer_containers: int | None = None,
        scaledown_window: int | None = None,
    ) -> Operation[FunctionAutoscalerSettings]:
        """Change what the autoscaler is told; None changes nothing."""
        if not self.name.endswith(".*"):  # objects of a class have no other way
            say("Function.update_autoscaler(…)", "Function.autoscaler.update(…)")
        given = {
            "min_containers": min_containers,
            "max_containers": max_containers,
            "buffer_containers": buffer_containers,
            "scaledown_window": scaledown_window,
        }
        return _configure(self, {name: value for name, value in given.items() if value is not None})

    @both
    def keep_warm(self, warm_pool_size: int) -> Operation[FunctionAutoscalerSettings]:
        """Change how many containers there are at least."""
        say("Function.keep_warm(…)", "Function.autoscaler.update(min_containers=…)")
        return _configure(self, {"min_containers": warm_pool_size})


class FunctionAutoscaler:
    """What decides how many containers a function has. What it is told holds until the function is defined anew."""

    def __init__(self, function: Configurable[Any, Any, Any]) -> None:
        self._function = function

    @both
    def settings(self) -> Operation[FunctionAutoscalerSettings]:
        """Return what holds now."""
        return _configure(self._function, {})

    @both
    def update(
        self,
        *,
        min_containers: int | None = UNSET,
        max_containers: int | None = UNSET,
        buffer_containers: int | None = UNSET,
        scaledown_window: int | None = UNSET,
    ) -> Operation[FunctionAutoscalerSettings]:
        """Change some of it, at once, until the function's app is deployed again; return what holds then.

        What is not given stays as it is. None asks for nothing: no minimum, no maximum, no buffer, a window of 60 s.
        Raises `InvalidError` for a value that makes no sense.
        """
        given = {
            "min_containers": min_containers,
            "max_containers": max_containers,
            "buffer_containers": buffer_containers,
            "scaledown_window": scaledown_window,
        }
        return _configure(self._function, {name: value for name, value in given.items() if value is not UNSET})


def _ask(function: Any, kind: str, **fields: Any) -> Operation[Any]:
    object_id = yield from function.ready()
    header, _ = yield from ask({"t": kind, "function": object_id, **fields})
    return header


def _configure(function: Any, told: dict[str, int | None]) -> Operation[FunctionAutoscalerSettings]:
    from modicum import options, types

    if told and function.method is not None:
        raise InvalidError(
            f"{function.name!r} is a method, and containers are its class's: use .update_autoscaler(…) of the class's "
            "object"
        )
    options.read_some("the autoscaler", told)
    answer = yield from _ask(function, "function.configure", settings=told)
    return types.FunctionAutoscalerSettings(**answer["settings"])
