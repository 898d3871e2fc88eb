"""Functions with settings of their own, on the client's side: what is asked of the server, and when."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from modicum import _context, options, types
from modicum.app import App
from modicum.exception import DeprecationError, ExecutionError, InvalidError
from modicum.function import Function
from modicum.retries import Retries
from modicum.wire import values
from modicum.wire.frames import Frame, Header
from tests.unit.sdk import driver

app = App("tests")


@app.function(timeout=20, retries=2, region="eu")
def double(x: int) -> int:
    return 2 * x


@app.function()
def count(n: int) -> Iterator[int]:
    yield from range(n)


class Server(driver.Server):
    """Knows functions by their ids, variants as the real server does, and what their autoscalers were told."""

    def __init__(self, lose_at: tuple[int, ...] = ()) -> None:
        super().__init__(double.local, lose_at)
        self.told: dict[str, Any] = {
            "min_containers": 0, "max_containers": None, "buffer_containers": 0, "scaledown_window": 60,
        }  # fmt: skip

    def function_bind(self, header: Header, payload: bytes) -> Frame:
        return {"function": f"fu-of {sorted(header['options'].items())}", "spec": {}, "options": {}}, b""

    def function_configure(self, header: Header, payload: bytes) -> Frame:
        self.told.update(header["settings"])
        return {"settings": self.told, "overrides": {}}, b""

    def function_stats(self, header: Header, payload: bytes) -> Frame:
        return {"backlog": 4, "runners": 3, "running": 2, "headroom": 1, "why": "why not"}, b""

    def function_history(self, header: Header, payload: bytes) -> Frame:
        counts = {"succeeded": 1, "failed": 2, "timed_out": 3, "running": 4, "run_s": [[50, 0.1], [99, 2.0]]}
        containers = {"total": 5, "started": 6, "errors": 7, "creating": 8, "startup_s": []}
        return {"function": header["function"], "variants": 9, **counts, **containers}, b""

    def function_info(self, header: Header, payload: bytes) -> Frame:
        spec = {"class": True, "methods": {"a": {}, "b": {}}}
        return {"image": "im-1", "options": double.options.as_dict(), "spec": spec}, b""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server that blocking operations reach, and at which `double` and `count` are known."""
    made = Server()
    monkeypatch.setattr("modicum._blocking.run", lambda operation, call=None: made.run(operation))
    for function in (double, count):
        function.hydrate_with(f"fu-{function.name}-{os.urandom(4).hex()}")
    yield made
    for function in (double, count):
        function.dehydrate(function.object_id)


def bound(server: Server) -> list[Any]:
    return [header["options"] for header, _ in server.sent if header["t"] == "function.bind"]


def test_a_variant_is_bound_with_its_first_call_alone(server: Server) -> None:
    variant = double.with_options(timeout=5, retries=Retries(max_retries=1))
    assert server.sent == []
    assert variant.remote(4) == 8
    policy = {"max_retries": 1, "backoff_coefficient": 2.0, "initial_delay": 1.0, "max_delay": 60.0}
    assert bound(server) == [{"timeout": 5, "retries": policy}]
    called = [header["function"] for header, _ in server.sent if header["t"] == "call.inputs"]
    assert called == [variant.object_id] != [double.object_id]
    assert double.with_options(retries=Retries(max_retries=1), timeout=5).remote(4) == 8
    assert len(bound(server)) == 1, "the same settings are known"


def test_later_settings_replace_earlier_ones_and_none_replaces_nothing(server: Server) -> None:
    variant = double.with_options(timeout=5, max_containers=2).with_options(timeout=6, max_containers=None)
    variant.with_concurrency(max_inputs=4).with_batching(max_batch_size=8, wait_ms=9).hydrate()
    assert bound(server) == [
        {
            "timeout": 6,
            "max_containers": 2,
            "concurrency": {"max_inputs": 4, "target_inputs": None},
            "batching": {"max_batch_size": 8, "wait_ms": 9},
        }
    ]
    double.with_options(buffer_containers=0, scaledown_window=3, cloud="x", region=["a"], routing_region="b").hydrate()
    assert bound(server)[1] == {
        "buffer_containers": 0,
        "scaledown_window": 3,
        "placement": {"cloud": "x", "regions": ["a"], "routing_region": "b"},
    }


def test_a_classs_parameters_stay_through_further_settings(server: Server) -> None:
    double.variant({}, b"A").with_options(timeout=5).hydrate()
    double.with_options(timeout=5).variant({}, b"A").hydrate()
    ((header, _),) = server.sent
    assert (header["options"], header["parameters"]) == ({"timeout": 5}, "QQ==")


def test_a_lost_connection_binds_again() -> None:
    server = Server(lose_at=(1,))
    double.hydrate_with("fu-lost")
    server.run(double.with_options(timeout=7).ready())
    double.dehydrate("fu-lost")
    assert (server.reconnects, bound(server)) == (1, [{"timeout": 7}])


def test_it_is_another_in_every_run_of_its_app(server: Server) -> None:
    variant = double.with_options(timeout=8)
    variant.hydrate()
    double.hydrate_with("fu-of-a-later-run")
    variant.hydrate()
    bases = [header["function"] for header, _ in server.sent]
    assert len(bases) == 2
    assert bases[1] == "fu-of-a-later-run"
    double.dehydrate("fu-of-a-later-run")


def test_without_a_running_app_there_is_none() -> None:
    variant = double.with_options(timeout=5)
    with pytest.raises(ExecutionError, match="this variant of 'double' has no id yet"):
        _ = variant.object_id
    with pytest.raises(ExecutionError, match="'double' cannot be called: its app is not running"):
        Server().run(variant.ready())


def test_it_looks_like_the_function() -> None:
    variant = double.with_options(timeout=5)
    assert isinstance(variant, Function)
    assert variant.local(4) == 8
    assert (variant.name, variant.__name__, variant.app) == ("double", "double", app)
    assert repr(variant) == "modicum.Function('double', timeout=5)"


def test_it_may_travel(server: Server) -> None:
    variant = double.with_options(timeout=5)
    variant.hydrate()
    there = values.loads(values.dumps(variant))
    assert there._own == {"options": {"timeout": 5}, "parameters": None}
    assert there.app is None
    with pytest.raises(ExecutionError, match="has no id yet"):
        _ = there.object_id


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"gpu": "H100:many"}, "Invalid GPU count: many. Value must be an integer."),
        ({"cpu": -2.0}, "CPU request must be a positive number"),
        ({"memory": (512, 256)}, "Cannot specify a memory limit lower than request: 256 < 512"),
        ({"volumes": {"/v": 1}}, "the parameter `volumes` of with_options is not in Modicum yet"),
        ({"timeout": 0}, "timeout must be a number of seconds above 0"),
        ({"max_containers": 0}, "max_containers must be a whole number from 1 up"),
        ({"retries": "x"}, "retries must be a whole number or a modicum.Retries"),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidError, match=reason):
        double.with_options(**settings)


def test_settings_that_are_none_at_all() -> None:
    with pytest.raises(TypeError, match="with_options takes no parameter 'max_contaners'; did you mean 'max_cont"):
        double.with_options(max_contaners=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="with_options takes no parameter 'min_containers'"):
        double.with_options(min_containers=1)  # type: ignore[call-arg]
    with pytest.raises(InvalidError, match="'count' is a generator function: it cannot have retries"):
        count.with_options(retries=1)
    with pytest.raises(InvalidError, match="target_inputs"):
        double.with_concurrency(max_inputs=1, target_inputs=2)


def test_older_names_of_settings(server: Server) -> None:
    with pytest.warns(DeprecationError) as caught:
        double.with_options(concurrency_limit=3, container_idle_timeout=9, allow_concurrent_inputs=4).hydrate()  # type: ignore[call-arg]
    assert [str(each.message).partition(";")[0] for each in caught] == [
        "`concurrency_limit` is now `max_containers`",
        "`container_idle_timeout` is now `scaledown_window`",
        "`allow_concurrent_inputs` is now `with_concurrency(max_inputs=…)`",
    ]
    assert {each.filename for each in caught} == {__file__}
    concurrency = {"max_inputs": 4, "target_inputs": 4}
    assert bound(server) == [{"max_containers": 3, "scaledown_window": 9, "concurrency": concurrency}]


# -- the autoscaler, and what a function does --------------------------------------------------------------------


def test_what_is_not_given_stays_and_none_asks_for_nothing(server: Server) -> None:
    assert double.autoscaler.settings() == types.FunctionAutoscalerSettings(0, None, 60, 0)
    assert double.autoscaler.update(max_containers=5, buffer_containers=2).max_containers == 5
    double.autoscaler.update(max_containers=None)
    sent = [header["settings"] for header, _ in server.sent]
    assert sent == [{}, {"max_containers": 5, "buffer_containers": 2}, {"max_containers": None}]


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ({"min_containers": -1}, "min_containers must be a whole number from 0 up, not -1"),
        ({"max_containers": 0}, "max_containers must be a whole number from 1 up, not 0"),
        ({"scaledown_window": 1}, "scaledown_window must be from 2 to 3600 seconds, not 1"),
    ],
)
def test_the_autoscaler_is_not_told_nonsense(server: Server, told: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidError, match=reason):
        double.autoscaler.update(**told)
    assert server.sent == []


def test_older_ways_to_tell_the_autoscaler(server: Server) -> None:
    with pytest.warns(DeprecationError, match=r"`Function.keep_warm\(…\)` is now `Function.autosc") as told:
        double.keep_warm(2)
    assert told[0].filename == __file__
    with pytest.warns(DeprecationError, match=r"`Function.update_autoscaler\(…\)` is now"):
        assert double.update_autoscaler(max_containers=3, min_containers=None).min_containers == 2
    assert [header["settings"] for header, _ in server.sent] == [{"min_containers": 2}, {"max_containers": 3}]


def test_an_object_of_a_class_has_no_newer_way(server: Server, recwarn: pytest.WarningsRecorder) -> None:
    service = double.with_options(timeout=5)
    service.name = "Double.*"
    service.update_autoscaler(max_containers=3)
    assert not recwarn.list


def test_methods_have_no_containers_of_their_own(server: Server) -> None:
    method = double.with_options(timeout=5)
    method.method = "double"
    with pytest.raises(InvalidError, match=r"'double' is a method, and containers are its class's: use \.update_auto"):
        method.autoscaler.update(min_containers=1)


def test_what_a_function_does_now(server: Server) -> None:
    assert double.get_current_stats() == types.FunctionCurrentStats(4, 3, 2, 1)


def test_what_is_known_of_a_function_that_does_not_run() -> None:
    info = double.info()
    assert (info.timeout, info.startup_timeout, info.max_retries, info.regions) == (20, 20, 2, ["eu"])
    assert (info.image_info.image_id, info.method_names, info.concurrency_info) == (None, None, None)
    assert (info.cpu, info.gpus, info.secrets) == (None, [], [])


def test_what_the_server_knows_of_a_function(server: Server) -> None:
    info = double.info()
    assert (info.image_info.image_id, info.method_names, info.timeout) == ("im-1", ["a", "b"], 20)


def test_what_a_function_did(server: Server) -> None:
    until = datetime(2026, 3, 1, 12, tzinfo=UTC)
    found = double.stats(until=until, all_variants=True)
    (header, _) = server.sent[-1]
    assert header == {
        "t": "function.history", "function": double.object_id, "since": until.timestamp() - 3600,
        "until": until.timestamp(), "all_variants": True,
    }  # fmt: skip
    assert (found.since, found.until) == (until - timedelta(hours=1), until)
    assert (found.input_success_count, found.input_failure_count, found.input_timeout_count) == (1, 2, 3)
    assert (found.container_total_count, found.variant_count, found.all_variants) == (5, 9, True)
    run = found.input_percentile_stats["Execution time (s)"]
    assert (run.unit, run.percentiles[1]) == ("s", types.StatsPercentile(99, 2.0))
    assert found.container_percentile_stats == {}


def test_times_without_a_zone_are_of_this_machine(server: Server) -> None:
    since = datetime(2026, 3, 1, 12)  # noqa: DTZ001 - that is what it is about
    assert double.stats(since=since, until=since + timedelta(minutes=5)).since.timestamp() == since.timestamp()


def test_ranges_of_time_that_make_no_sense(server: Server) -> None:
    now = datetime.now(UTC)
    with pytest.raises(InvalidError, match="must be before until"):
        double.stats(since=now, until=now)
    with pytest.raises(InvalidError, match="what a single container did is not kept"):
        double.stats(container="ta-1")
    assert server.sent == []


def test_a_container_asks_for_the_function_of_its_own_app(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_context, "socket_directory", "/run/modicum")
    double.with_options(timeout=9).hydrate()
    assert [header["function"] for header, _ in server.sent] == [double.object_id]


def test_options_that_replace_are_the_tables_own() -> None:
    assert options.read_overrides("with_options", {"timeout": None, "volumes": {}}) == {}
