"""Who gets which GPU, and when is it free again?"""

from __future__ import annotations

from modicum.server.core.actions import Action, DrainContainer, FailInputs, Failure, KillContainer, StartContainer
from modicum.server.core.events import (
    ContainerExited,
    ContainerReady,
    Device,
    ExitReason,
    FunctionAdded,
    FunctionSpec,
    InputsArrived,
    NodeJoined,
    NodeLeft,
    Recovered,
    Reported,
    Wish,
)
from modicum.testing.sim_driver import Driver

H100, A100, ANY = Wish("H100", 1), Wish("A100-80GB", 1), Wish(None, 1)


def devices(**counts: int) -> tuple[Device, ...]:
    """So many of each type; the name is also the id's beginning."""
    memory = {"H100": 81920, "A100": 40960, "T4": 16384}
    return tuple(Device(f"{kind}-{at}", kind, memory[kind]) for kind, count in counts.items() for at in range(count))


def join(core: Driver, *found: Device, node: str = "n", running: tuple[Reported, ...] = (), cpus: float = 4) -> None:
    core.feed(NodeJoined(node, cpus, 8192, running, found))


def begin(core: Driver, *specs: FunctionSpec) -> None:
    for spec in specs:
        core.feed(FunctionAdded(spec))
    core.feed(Recovered())


def ask(core: Driver, function: str, call: str = "c") -> list[Action]:
    return core.feed(InputsArrived(function, (f"{call}:0",)))


def given(actions: list[Action]) -> list[tuple[str, ...]]:
    return [action.devices for action in actions if isinstance(action, StartContainer)]


def wants(name: str, *wishes: Wish, cpu: float = 0.125, max_containers: int | None = None) -> FunctionSpec:
    return FunctionSpec(name, "app", gpus=wishes, cpu=cpu, max_containers=max_containers)


def gone(container: str) -> ContainerExited:
    return ContainerExited(container, ExitReason.FINISHED, "")


def test_a_gpu_is_given_whole_and_to_one_only(core: Driver) -> None:
    join(core, *devices(H100=2))
    begin(core, wants("f", H100), wants("g", H100), wants("h", H100))
    assert given(ask(core, "f")) == [("H100-0",)]
    assert given(ask(core, "g", "d")) == [("H100-1",)]
    assert given(ask(core, "h", "e")) == []
    assert "no machine has 0.125 CPUs, 128 MiB and the GPU H100:1 free" in core.state.why_waiting("h")
    assert given(core.feed(gone("ta-t1"))) == [("H100-0",)]


def test_several_are_of_one_machine_and_of_one_type(core: Driver) -> None:
    join(core, *devices(H100=1, A100=1))
    join(core, *devices(H100=1), node="m")
    begin(core, wants("f", Wish(None, 2)), wants("g", Wish("H100", 2)))
    for function in ("f", "g"):
        [failed] = [each for each in ask(core, function, function) if isinstance(each, FailInputs)]
        assert failed.failure is Failure.IMPOSSIBLE
    core.feed(NodeJoined("o", 4, 8192, devices=tuple(each._replace(id=f"o-{each.id}") for each in devices(H100=2))))
    assert given(ask(core, "g", "i")) == [("o-H100-0", "o-H100-1")]


def test_what_no_machine_has_fails_at_once_and_says_what_there_is(core: Driver) -> None:
    join(core, *devices(T4=2))
    join(core, node="m")
    begin(core, wants("f", Wish("H100", 8), A100))
    [failed] = ask(core, "f")
    assert isinstance(failed, FailInputs)
    assert failed.message == (
        "its container needs 0.125 CPUs, 128 MiB and the GPU H100:8 or A100-80GB:1, more than any machine has: "
        "n (4 CPUs, 8192 MiB, T4:2), m (4 CPUs, 8192 MiB, no GPUs)"
    )


def test_more_than_there_are_fails_at_once(core: Driver) -> None:
    join(core, *devices(H100=2))
    begin(core, wants("f", Wish("H100", 4)))
    assert isinstance(ask(core, "f")[0], FailInputs)


def test_wishes_are_tried_in_order(core: Driver) -> None:
    join(core, *devices(A100=1, T4=1, H100=1))
    begin(core, *(wants(name, A100, H100, Wish("T4", 1)) for name in ("f", "g", "h")))
    assert [given(ask(core, name, name)) for name in ("f", "g", "h")] == [[("H100-0",)], [("T4-0",)], []]


def test_a_later_wish_that_is_free_on_another_machine_comes_before_waiting(core: Driver) -> None:
    join(core, *devices(H100=1))
    join(core, *devices(T4=1), node="m")
    begin(core, wants("f", H100), wants("g", H100, Wish("T4", 1)))
    ask(core, "f")
    assert given(ask(core, "g", "d")) == [("T4-0",)]


def test_any_gpu_is_that_with_the_least_memory(core: Driver) -> None:
    join(core, *devices(H100=2, T4=1))
    begin(core, wants("f", ANY), wants("g", ANY))
    assert given(ask(core, "f")) == [("T4-0",)]
    assert given(ask(core, "g", "d")) == [("H100-0",)]


def test_an_idle_container_gives_its_gpu_away(core: Driver) -> None:
    join(core, *devices(H100=1))
    begin(core, wants("f", H100), FunctionSpec("cpu", "app"), wants("g", H100))
    ask(core, "f")
    ask(core, "cpu", "b")
    core.feed(ContainerReady("ta-t2"))
    core.feed(ContainerReady("ta-t1"))
    core.end("ta-t2", ("b:0", 1))  # idle for longer, and without a GPU: its going would not help
    core.end("ta-t1", ("c:0", 1))
    assert ask(core, "g", "d") == [DrainContainer("ta-t1", "g needs its place")]
    assert given(core.feed(gone("ta-t1"))) == [("H100-0",)]


def test_who_waits_for_a_gpu_keeps_nobody_else_from_the_machine(core: Driver) -> None:
    join(core, *devices(H100=1))
    begin(core, wants("long", H100), wants("next", H100, cpu=1.5), FunctionSpec("cpu", "app", cpu=1.0))
    ask(core, "long")
    core.feed(ContainerReady("ta-t1"))
    core.wait(6.0)
    assert given(ask(core, "next", "d")) == []  # `long` is to go after what it runs, which may take hours
    assert given(ask(core, "cpu", "e")) == [()]
    core.feed(ContainerReady("ta-t2"))
    assert given(core.feed(InputsArrived("cpu", tuple(f"g:{at}" for at in range(50))))) == []
    assert len(given(core.wait(core.now + 5.0))) == 1  # of 4 CPUs, the 1.5 are left that `next` will need


def test_room_that_is_made_for_one_goes_to_no_other_who_wants_a_gpu(core: Driver) -> None:
    join(core, *devices(H100=2))
    begin(core, wants("f", H100), wants("two", Wish("H100", 2)))
    core.feed(InputsArrived("f", ("c:0", "c:1")))
    core.feed(ContainerReady("ta-t1"), 0.1)
    assert given(core.wait(3.0)) == [("H100-1",)]
    core.feed(ContainerReady("ta-t2"), 3.1)
    core.wait(10.0)
    ask(core, "two", "d")
    core.end("ta-t1", ("c:0", 1), at=10.1)
    assert given(core.feed(InputsArrived("f", ("e:0", "e:1", "e:2")), 10.2)) == []
    assert given(core.feed(gone("ta-t1"), 10.3)) == []
    core.end("ta-t2", ("c:1", 1), at=10.4)
    assert given(core.feed(gone("ta-t2"), 10.5)) == [("H100-0", "H100-1")]


def test_more_cpus_than_the_machine_with_the_gpu_has_take_it_whole(core: Driver) -> None:
    join(core, *devices(H100=1))
    join(core, node="large", cpus=64)
    begin(core, wants("f", H100, cpu=32.0))
    assert given(ask(core, "f")) == [("H100-0",)]


def test_adopted_containers_keep_their_gpus(core: Driver) -> None:
    core.feed(FunctionAdded(wants("f", H100)))
    join(core, *devices(H100=2), running=(Reported("ta-old", "f", 0, ("H100-0",)),))
    begin(core, wants("g", H100))
    assert given(ask(core, "g", "d")) == [("H100-1",)]
    core.feed(gone("ta-old"))
    assert given(ask(core, "f")) == [("H100-0",)]


def test_a_container_whose_function_comes_later_keeps_its_gpu(core: Driver) -> None:
    join(core, *devices(H100=1), running=(Reported("ta-old", "f", 0, ("H100-0",)),))
    begin(core, wants("f", H100), wants("g", H100))
    assert given(ask(core, "g", "d")) == []
    assert given(core.feed(gone("ta-old"))) == [("H100-0",)]


def test_a_container_that_nobody_knows_keeps_its_gpu_until_it_has_gone(core: Driver) -> None:
    join(core, *devices(H100=1), running=(Reported("ta-old", "gone", 0, ("H100-0",)),))
    assert core.feed(Recovered()) == [KillContainer("ta-old", "its app has ended")]
    core.feed(FunctionAdded(wants("f", H100)))
    assert given(ask(core, "f")) == []
    assert given(core.feed(gone("ta-old"))) == [("H100-0",)]


def test_one_that_nobody_knows_may_go_while_its_node_is_away(core: Driver) -> None:
    stranger = Reported("ta-old", "gone", 0, ("H100-0",))
    begin(core, wants("f", H100))
    join(core, *devices(H100=1), running=(stranger,))
    assert given(ask(core, "f")) == []
    core.state.handle(NodeJoined("n", 4, 8192, (), devices(H100=1)), core.now)
    assert [each.devices for each in core.state.cluster.containers.values()] == [("H100-0",)]


def test_a_node_may_come_back_with_fewer(core: Driver) -> None:
    join(core, *devices(H100=2))
    begin(core, wants("f", H100), wants("g", H100), wants("h", Wish("H100", 2)))
    assert given(ask(core, "f")) == [("H100-0",)]
    join(core, devices(H100=2)[1], running=(Reported("ta-t1", "f", 0, ("H100-0",)),))
    assert given(ask(core, "g", "d")) == [("H100-1",)]
    core.feed(gone("ta-t1"))
    assert given(ask(core, "f", "e")) == []  # the one that it had is not there any more
    assert isinstance(ask(core, "h", "i")[0], FailInputs)


def test_all_are_free_when_a_lost_node_comes_back_empty(core: Driver) -> None:
    join(core, *devices(H100=1))
    begin(core, wants("f", H100))
    ask(core, "f")
    core.feed(NodeLeft("n", "lost"))
    core.feed(NodeJoined("n", 4, 8192, (), devices(H100=1)))
    assert [each.devices for each in core.state.cluster.containers.values()] == [("H100-0",)]


def test_what_asks_for_none_gets_none(core: Driver) -> None:
    join(core, *devices(H100=1))
    begin(core, FunctionSpec("f", "app"))
    assert given(ask(core, "f")) == [()]
