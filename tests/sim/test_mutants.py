"""Would anybody notice a fault in the core? Each mutant of it must fail in a simulation or in a unit test."""

# ruff: noqa: E501 (a fault is read best on one line)

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, NamedTuple

import pytest

import modicum.server.core as core
from modicum.server.core.state import State
from modicum.testing.sim_driver import Driver
from modicum.testing.simulation import simulate

pytestmark = pytest.mark.sim

UNIT = Path(__file__).parents[1] / "unit" / "core"
SHARED = ("events", "actions")  # a mutant speaks the same language
MUTATED = (
    "records",
    "devices",
    "alarms",
    "experience",
    "deadlines",
    "cluster",
    "pool",
    "failures",
    "lifecycle",
    "demand",
    "autoscale",
    "state",
    "invariants",
)
SEEDS = range(1000, 1006)


class Mutant(NamedTuple):
    """One fault: in this module, this text becomes that."""

    name: str
    module: str
    text: str
    becomes: str


MUTANTS = [
    Mutant("inputs get lost on their way back", "pool", "self.queue.extendleft(reversed(again))", "pass"),
    Mutant("inputs come back in the wrong order", "pool", "extendleft(reversed(again))", "extendleft(again)"),
    Mutant("what was taken back stays there too", "pool", "[container.load.pop(key) for", "[container.load[key] for"),
    Mutant("known keys are queued again", "pool", "if item is None:\n                inputs[key]", "if True:\n                inputs[key]"),
    Mutant("the attempt is ignored", "pool", "item is None or item.attempt != attempt", "item is None"),
    Mutant("attempts are not counted", "pool", "item.attempt += 1", "item.attempt = 1"),
    Mutant("a cancelled input still counts", "pool", "item.claim = Claim.DROPPED\n        item.cancelled", "item.cancelled"),
    Mutant("asking again for a cancelled input is lost", "pool", "item.claim = Claim.AGAIN", "pass"),
    Mutant("nothing is taken back for an idle container", "pool", "if not self.deep or", "if self.deep or"),
    Mutant("a container is asked again and again", "pool", "container.asked = not given", "container.asked = False"),
    Mutant("nothing is taken back from behind a slow input", "deadlines", "return min(timeout, container.moved + SLOW_S)", "return timeout"),
    Mutant("inputs go behind a slow one", "pool", "self._close_slow(turn)", "pass"),
    Mutant("the window opens at once", "experience", "self.window = 1\n        self.cold", "self.window = 64\n        self.cold"),
    Mutant("the window has no limit", "experience", "if p90 * WINDOW_MAX <= PIPELINE_S:", "if False:"),
    Mutant("one gets all", "pool", "count = min(level, self.limit(container))", "count = self.limit(container)"),
    Mutant("the next input's clock does not start", "pool", "container.begin(turn.now)\n        self.index(turn, container)\n        if self.ex", "self.index(turn, container)\n        if self.ex"),
    Mutant("an output opens no slot", "pool", "_put(self.open, container, takes and", "_put(self.open, container, takes and not load and"),
    Mutant("a cancelled input blocks its slot for ever", "pool", "            del load[key]\n            if", "            if"),
    Mutant("alarms ring late", "alarms", "if due < owner.alarm:", "if owner.alarm > 1e9:"),
    Mutant("alarms ring for ever", "alarms", "owner.alarm = inf\n                rung", "rung"),
    Mutant("crashes are not counted", "failures", "item.crashes += 1", "pass"),
    Mutant("the wrong input is charged", "failures", "running = running_in(container)\n", "running = list(container.load.values())[1:]\n"),
    Mutant("a killed container is blamed on its input", "lifecycle", "ExitReason.NODE_LOST, ExitReason.KILLED", "ExitReason.FINISHED"),
    Mutant("inputs have no timeout", "lifecycle", ">= timeout_of(item, pool.spec)", ">= timeout_of(item, pool.spec) + 1e6"),
    Mutant("a start may take for ever", "deadlines", "else container.born + spec.startup_timeout_s", "else inf"),
    Mutant("failed starts do not count", "failures", "pool.failures += 1", "pass"),
    Mutant("failed starts are never forgiven", "lifecycle", "pool.failures = pool.broken = 0\n        elif", "pass\n        elif"),
    Mutant("there is no pause after a failed start", "failures", "pool.retry_at = turn.now + _pause(pool.broken)", "pass"),
    Mutant("one failure to load is not told", "lifecycle", "pool.fail_queued(turn, Failure.START_FAILED, message)\n            pool.failures", "pool.failures"),
    Mutant("what a container holds is not joined", "lifecycle", "joined.add(key)", "pass"),
    Mutant("an overtaken attempt runs on", "lifecycle", "return item.container is not None or", "return False and"),
    Mutant("what got lost on the way is not sent again", "lifecycle", "    pool.requeue(believed.values())\n", ""),
    Mutant("idle containers stay", "lifecycle", "elif turn.now >= container.rest_until:", "elif turn.now < 0:"),
    Mutant("a minimum is not kept", "lifecycle", "if container.pool.live > container.pool.keeps(turn.now):", "if True:"),
    Mutant("a removed function leaves containers", "lifecycle", "self.end(turn, container, why)", "pass"),
    Mutant("room is not given back", "cluster", "del self.containers[container.id], node.containers[container.id]\n        node.used = Need", "del self.containers[container.id], node.containers[container.id]\n        Need"),
    Mutant("rights to start are not given back", "cluster", "self.starting -= container.state is ContainerState.STARTING\n        container.state", "container.state"),
    Mutant("memory is not looked at", "cluster", " and need.memory_mib <= free.memory_mib", ""),
    Mutant("large requests are not clamped", "cluster", "min(wanted, max(hosts))", "wanted"),
    Mutant("everybody goes for one", "cluster", "        if node.room_for(need, leaving + victims) is not None:\n            break\n        victims", "        victims"),
    Mutant("too many start at once", "autoscale", "self._cluster.starting >= self._cluster.starts_max", "False"),
    Mutant("more start than inputs could fill", "demand", "max(1, min(most, ceil(", "max(1, max(most, ceil("),
    Mutant("a slow input starts nothing", "demand", "run_s(now - oldest_in(pool, now))", "run_s(0.0)"),
    Mutant("nobody looks again at a slow input", "autoscale", "self._watch(pool, turn.now)", "pass"),
    Mutant("a leaving container does not count", "autoscale", "len(pool.containers) >= maximum", "pool.live >= maximum"),
    Mutant("max_containers is not kept", "autoscale", "if maximum is not None and", "if maximum is None and"),
    Mutant("the hungry are forgotten", "autoscale", "if turn.freed or any(", "if any("),
    Mutant("room made for one is taken by another", "autoscale", "plan is not None and other is not pool]", "False]"),
    Mutant("the one who was idle shortest goes", "autoscale", "key=lambda each: each.resting_since)", "key=lambda each: -each.resting_since)"),
    Mutant("who has most comes first", "autoscale", "return not pool.is_waiting, pool.live", "return not pool.is_waiting, -pool.live"),
    Mutant("nobody waits for what will go later", "cluster", "(each.yielding and patient)", "False"),
    Mutant("what will go later is as good as gone", "cluster", "(each.yielding and patient)", "each.yielding"),
    Mutant("a busy function shares with nobody", "lifecycle", "container.yielding = reason", "pass"),
    Mutant("suspects of a crash run side by side", "failures", "pool.experience.distrust(len(container.load))", "pass"),
    Mutant("a node's report is not believed", "state", "if each.id not in reported]", "if False]"),
    Mutant("a lost node keeps its containers", "state", "for container in list(node.containers.values()):", "for container in []:"),
    Mutant("work begins before the nodes have reported", "state", "self.recovered = False", "self.recovered = True"),
    Mutant("a restart forgets whose functions come later", "state", "del self.orphans[container]\n", "continue\n"),
    Mutant("short ones wait for the end of a long one", "demand", "if now >= _stalled_at(pool) else count", "if False else count"),
    Mutant("nobody looks whether short ones wait for a long one", "demand", "min(oldest + pool.experience.age_when(slow_s), _stalled_at(pool))", "oldest + pool.experience.age_when(slow_s)"),
    Mutant("a failed attempt is always repeated", "pool", "item.failures < retries.max_retries", "True"),
    Mutant("failed attempts are not counted", "pool", "item.failures += 1", "pass"),
    Mutant("there is no pause before a retry", "pool", "heappush(self.delayed, (turn.now + pause_s,", "heappush(self.delayed, (turn.now,"),
    Mutant("the pauses before retries do not grow", "pool", "retries.coefficient ** min(item.failures - 1, 64)", "1"),
    Mutant("the pauses before retries have no limit", "pool", "pause_s = min(pause_s, retries.max_delay_s)", "pass"),
    Mutant("a second pause is never over", "pool", "self._alarms.set(self, self.delayed[0][0])", "pass"),
    Mutant("after its pause an input comes last", "pool", "self.queue.extendleft(reversed(over))", "self.queue.extend(over)"),
    Mutant("a generator is repeated", "pool", " and not item.once", ""),
    Mutant("failures before a restart are forgotten", "pool", "= failures[place] if failures else 0, once", "= 0, once"),
    Mutant("a timeout is final", "failures", "again = [item for item in inputs if pool.may_retry(item)]", "again: list[Input] = []"),
    Mutant("a failed attempt is taken in twice", "lifecycle", "if known is not None and (container.id, attempt) in known.past:", "if False:"),
    Mutant("a container is ended for a failed attempt", "lifecycle", " or (container.id, held.attempt) in item.past", ""),
    Mutant("memory is a crash like others", "failures", "if reason is ExitReason.OOM and len(container.load) == 1:", "if False:"),
    Mutant("memory is charged to all", "failures", "if reason is ExitReason.OOM and len(container.load) == 1:", "if reason is ExitReason.OOM:"),
    Mutant("suspects crash together for ever", "failures", "if container.slots > 1:", "if False:"),
    Mutant("suspects are never acquitted", "pool", "self.suspects &= self.inputs.keys()", "pass"),
    Mutant("what was cancelled may run for ever", "lifecycle", "elif any(turn.now >= void_at(item) for item in running):", "elif False:"),
    Mutant("a cancellation that is over is looked at for ever", "lifecycle", "container.voided = min(_voided(item, turn.now) for item in container.load.values())", "pass"),
    Mutant("inputs come before the function is loaded", "lifecycle", "if hello.loaded:", "if True:"),
    Mutant("a start is over with the hello", "deadlines", "case ContainerState.STARTING | ContainerState.LOADING:", "case ContainerState.STARTING:"),
    Mutant("the aim is ignored", "demand", "len(closed) + ceil(elsewhere / spec.aim)", "len(closed) + ceil(elsewhere / spec.slots)"),
    Mutant("nothing starts above the aim", "demand", "if not pool.is_waiting and spec.aim == spec.slots:", "if not pool.is_waiting:"),
    Mutant("all are filled evenly", "pool", "packs = self.spec.slots > 1 and not self.suspects", "packs = False"),
    Mutant("what idles beside a load above the aim goes", "pool", "keeps = ceil(sum(", "keeps = 0 * ceil(sum("),
    Mutant("a batch that runs gets company", "pool", "is_late = container.slots == batch_size and _age(container, turn.now) >= wait_s", "is_late = False"),
    Mutant("inputs wait behind a batch", "pool", "return 0 if container.slow and container.load else container.slots", "return container.slots + self.experience.window - 1"),
    Mutant("a batch that runs counts as room", "demand", "(batched and each.slow)", "False"),
    Mutant("the wait for a batch is part of the timeout", "deadlines", "return item.started + spec.timeout_s + spec.batch_wait_s", "return item.started + spec.timeout_s"),
    Mutant("a container for a single use is used again", "pool", "container.yielding = \"it is used once\"", "pass"),
    Mutant("after a restart one for a single use is used again", "lifecycle", "container.yielding = \"it is used once, and may have been\"", "pass"),
    Mutant("there is no buffer", "demand", "count = needed + spec.buffer_containers", "count = needed"),
    Mutant("a buffer does not stay", "pool", "keeps = max(keeps, needed) + spec.buffer_containers", "pass"),
    Mutant("a buffer stays for ever", "experience", "if now >= self._since + 2 * window_s:\n            return 0", "pass"),
    Mutant("the old stay beside the new", "lifecycle", "for each in [each for each in pool.old.values() if _is_at_hand(each)]:", "for each in ():"),
    Mutant("nobody takes over from the old", "demand", "return bool(pool.old) and len(pool.old) == pool.live", "return False"),
    Mutant("at the maximum nobody takes over", "autoscale", "self._make_way(turn, pool)", "pass"),
    Mutant("in a full cluster nobody takes over", "autoscale", "if other is pool and is_renewing(pool):", "if False:"),
    Mutant("an adopted container counts as new", "lifecycle", "container.generation = generation or pool.spec.generation", "pass"),
    Mutant("a recreation waits for what runs", "lifecycle", "if recreate or container.state in", "if container.state in"),
    Mutant("exit handlers are not run", "lifecycle", "if container.pool.spec.exits and container.state", "if False and container.state"),
    Mutant("exit handlers may run for ever", "lifecycle", "self.kill(turn, container, f\"it did not exit within {DRAIN_S:g} s\")", "pass"),
    Mutant("a lower maximum changes nothing", "lifecycle", "self._trim(turn, pool)\n        turn.freed = True", "turn.freed = True"),
    Mutant("a failure to load fails what others could run", "lifecycle", "if not pool.serving:\n            pool.fail_queued", "if True:\n            pool.fail_queued"),
    Mutant("what others run shortens the pauses between failed starts", "pool", "if runs_s:\n            self.streak = 0", "if runs_s:\n            self.streak = self.broken = 0"),
    Mutant("nothing is taken from the store", "pool", "if not self.loading and", "if False and"),
    Mutant("the store is asked without end", "pool", "self.loading = True", "pass"),
    Mutant("what waits in the store is no load", "pool", "len(self.inputs) - len(self.delayed) + self.backlog", "len(self.inputs) - len(self.delayed)"),
    Mutant("a GPU is given twice", "devices", "if each.id not in self.holders or self.holders[each.id] in leaving]", "]"),
    Mutant("a GPU is given before its holder has gone", "cluster", "node.free_with(()), node.room_for(need)", "node.free_with(()), node.room_for(need, node.leaving(patient=True))"),
    Mutant("a GPU is not taken", "cluster", "        node.rack.take(container.id, container.devices)\n", ""),
    Mutant("GPUs are not given back", "cluster", "        node.rack.release(container.id)\n", ""),
    Mutant("adopted containers have no GPUs", "lifecycle", "container.devices = devices", "pass"),
    Mutant("what is to be ended has no GPUs", "state", "self.cluster.nodes[node].rack.take_for_stranger(reported.container, reported.devices)", "pass"),
    Mutant("what was ended keeps its GPUs", "state", "turn.freed |= any(node.rack.release(event.container) for node in self.cluster.nodes.values())", "pass"),
    Mutant("a node that comes back forgets who has its GPUs", "cluster", "node.rack.inherit(before.rack)", "pass"),
    Mutant("what went while its node was away keeps its GPUs", "state", "node.rack.keep_strangers(reported)", "pass"),
    Mutant("fewer GPUs will do", "devices", "if len(devices) >= wish.number]", "]"),
    Mutant("any GPU will do", "devices", "if wish.type in (None, device.type):", "if True:"),
    Mutant("GPUs of two types go together", "devices", "by_type.setdefault(device.type, [])", "by_type.setdefault('', [])"),
    Mutant("the last wish comes first", "cluster", "for gpu in spec.gpus or (None,):", "for gpu in spec.gpus[::-1] or (None,):"),
    Mutant("only the first wish counts", "cluster", "for gpu in spec.gpus or (None,):", "for gpu in spec.gpus[:1] or (None,):"),
    Mutant("who waits for a GPU keeps the machine to himself", "cluster", "if other.gpu is None or need.gpu is not None:", "if True:"),
    Mutant("who waits for a GPU is left no CPU", "cluster", "left.cpu_milli - need.cpu_milli, left.memory_mib - need.memory_mib", "left.cpu_milli, left.memory_mib"),
    Mutant("room for one who waits goes to the next who comes", "autoscale", "_rank(other) == _rank(pool) and self._cluster.is_at_hand(plan)", "False"),
    Mutant("what comes from the store ends a pause", "state", "if not pool.inputs and not pool.loading:", "if not pool.inputs:"),
]  # fmt: skip


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_fault_is_noticed(mutant: Mutant) -> None:
    with grown(mutant) as modules:
        for trial in trials(modules["state"].State, modules["invariants"].check):
            try:
                trial()
            except Exception:
                return
    pytest.fail("nobody noticed")


def test_without_a_fault_nothing_is_noticed() -> None:
    with grown(Mutant("none", "pool", "item.attempt += 1", "item.attempt += 1")) as modules:
        for trial in trials(modules["state"].State, modules["invariants"].check):
            trial()


def trials(make: Any, check: Any) -> Iterator[Callable[[], object]]:
    """All that could notice a fault, the short first."""
    for test in short_first():
        yield partial(_run_test, test, make, check)
    for seed in SEEDS:
        yield partial(simulate, seed, make, check)


def _run_test(test: Callable[[Driver], None], make: Any, check: Any) -> None:
    test(Driver(make, check))


@cache
def short_first() -> list[Callable[[Driver], None]]:
    """The unit tests, by how many events they take: most faults are noticed before the long ones have their turn."""
    return sorted(unit_tests(), key=_events_of)


def _events_of(test: Callable[[Driver], None]) -> int:
    events = 0

    def count(state: object) -> None:
        nonlocal events
        events += 1

    test(Driver(State, count))
    return events


def unit_tests() -> list[Callable[[Driver], None]]:
    """The core's unit tests that need nothing but a core."""
    return [
        function
        for module in UNIT_MODULES
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if name.startswith("test_") and list(inspect.signature(function).parameters) == ["core"]
    ]


def load_unit_modules() -> list[ModuleType]:
    """The unit tests' modules."""
    modules = []
    for path in sorted(UNIT.glob("test_*.py")):
        spec = importlib.util.spec_from_file_location(f"mutant_trial_{path.stem}", path)
        assert spec is not None
        assert spec.loader is not None
        modules.append(importlib.util.module_from_spec(spec))
        sys.modules[spec.name] = modules[-1]  # dataclasses look for theirs there
        spec.loader.exec_module(modules[-1])
    return modules


UNIT_MODULES = load_unit_modules()


@cache
def compiled(name: str, text: str = "", becomes: str = "") -> CodeType:
    """A module of the core, with one text in it replaced."""
    source = (Path(core.__path__[0]) / f"{name}.py").read_text()
    assert not text or source.count(text) == 1, f"{name} has {source.count(text)} × {text!r}"
    return compile(source.replace(text, becomes) if text else source, f"mutant of {name}.py", "exec")


@contextmanager
def grown(mutant: Mutant) -> Iterator[dict[str, ModuleType]]:
    """The core once more, as a package of its own, with the fault in it."""
    package = ModuleType("mutant_core")
    package.__path__ = []
    modules = {"": package} | {name: sys.modules[f"{core.__name__}.{name}"] for name in SHARED}
    for name in MUTATED:
        modules[name] = ModuleType(f"mutant_core.{name}")
        modules[name].__package__ = "mutant_core"
    for name, module in modules.items():
        sys.modules[f"mutant_core.{name}" if name else "mutant_core"] = module
    try:
        for name in MUTATED:
            faulty = name == mutant.module
            exec(compiled(name, *((mutant.text, mutant.becomes) if faulty else ())), modules[name].__dict__)
        yield modules
    finally:
        for name in modules:
            sys.modules.pop(f"mutant_core.{name}" if name else "mutant_core")
