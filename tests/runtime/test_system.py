from __future__ import annotations

import random
import threading
from typing import Any

import pytest
import trio
from trio.testing import MockClock

import runtime
from runtime import Dead, Spec, System, SystemFailed, open_system
from runtime.testing import kernel_tasks
from tests.support.actors import LONG, Bench, Boom, Log, OpenHost, Probe, Restarter, boom, running, settle


async def test_the_example_of_the_package(bench: Bench):
    """What the package's documentation shows runs."""
    names: dict[str, Any] = {}
    assert runtime.__doc__ is not None
    _, _, code = runtime.__doc__.partition("\n\n")
    code = "from runtime import *\nimport trio\n" + code.replace("trio.run(main)", "").replace(
        "print(", "answers.append("
    )
    names["answers"] = []
    exec(compile(code, "example", "exec"), names)
    await names["main"]()
    assert names["answers"] == ["Hello, world"]


async def test_a_system_ends_when_its_root_does():
    async with running() as bench:
        a = await bench.spawn("a")
        bench.root.ref.tell(lambda root: root.stop("enough"))
        await settle()
        assert str(bench.log.ended[0]) == "enough"
        assert [str(reason) for reason in a.log.ended] == ["its host stopped"]
        assert kernel_tasks() == []
        with pytest.raises(Dead):
            await a.ref.ask(1, within=1)


async def test_a_system_is_ready_when_its_root_has_started():
    order: list[str] = []
    log = Log()

    async def start(_: Any) -> None:
        await trio.sleep(1)
        order.append("started")

    async with open_system(Spec("root", lambda: OpenHost(log, start=start))):
        order.append("ready")
    assert order == ["started", "ready"]


async def test_a_root_that_does_not_start_is_a_failure():
    with pytest.RaisesGroup(SystemFailed, flatten_subgroups=True):
        async with open_system(Spec("root", lambda: OpenHost(Log(), start=boom))):
            await trio.sleep(1)


async def test_a_system_may_be_run_without_a_block():
    log = Log()
    system = System(rng=random.Random(3))
    async with trio.open_nursery() as nursery:
        await nursery.start(system.run, Spec("root", lambda: OpenHost(log)))
        assert system.root is not None
        system.stop(1.0, "by hand")
    assert [str(reason) for reason in log.ended] == ["by hand"]


async def test_stopping_before_the_start_does_nothing():
    system = System()
    system.stop(1.0)
    assert len(system.wheel) == 0


async def test_an_error_in_the_block_stops_the_system():
    log = Log()
    with pytest.RaisesGroup(Boom):
        async with open_system(Spec("root", lambda: OpenHost(log))):
            raise Boom
    assert len(log.ended) == 1
    assert kernel_tasks() == []


async def scenario(bench: Bench, name: str) -> Any:
    """Something of everything that a system keeps."""
    a = await bench.spawn(
        "a", start=lambda actor: (actor.register("name"), actor.subscribe("topic")), on={"boom": boom}
    )
    a.ref.tell("boom")
    bench.system.ref("/nowhere").tell(name)
    bench.system.topics.publish("topic", name)
    await a.do(lambda actor: actor.timer("t", 0.5, f"tick of {name}"))
    await trio.sleep(1)
    return a


def check_scenario(bench: Bench, a: Any, name: str) -> None:
    assert [message for message in a.log.heard if message != "boom"] == [name, f"tick of {name}"]
    assert bench.system.registry.names() == ["name"]
    assert bench.system.registry.lookup("name") is a.ref
    assert [message for _, message, _ in bench.lost()] == [name]
    assert len(bench.crashes()) == 1
    assert bench.system.dead.offered == 1


async def test_two_systems_in_one_process_share_nothing():
    async with running() as one, running() as two:
        a, b = None, None
        async with trio.open_nursery() as nursery:

            async def play(bench: Bench, name: str) -> None:
                nonlocal a, b
                subject = await scenario(bench, name)
                if name == "one":
                    a = subject
                else:
                    b = subject

            nursery.start_soon(play, one, "one")
            nursery.start_soon(play, two, "two")
        assert a is not None
        assert b is not None
        check_scenario(one, a, "one")
        check_scenario(two, b, "two")
        assert a.ref is not b.ref
        assert a.ref.path == b.ref.path
        two.system.stop(1.0)
        await trio.sleep(1)
        assert await a.ref.ask(1, within=1) == 1


async def test_actors_of_two_systems_may_talk():
    async with running() as one, running() as two:
        a = await one.spawn("a", on={"hello": lambda _: "from one"})

        async def ask(_: Any) -> Any:
            return await a.ref.ask("hello", within=1)

        b = await two.spawn("b", on={"go": ask})
        assert await b.ref.ask("go", within=5) == "from one"


def test_two_systems_in_two_threads_share_nothing():
    errors: list[BaseException] = []
    barrier = threading.Barrier(2, timeout=30)

    def work(name: str) -> None:
        async def main() -> None:
            async with running() as bench:
                barrier.wait()
                for _ in range(20):
                    async with running(Restarter) as inner:
                        check_scenario(inner, await scenario(inner, name), name)
                check_scenario(bench, await scenario(bench, name), name)

        try:
            trio.run(main, clock=MockClock(autojump_threshold=0))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_a_seed_repeats_a_schedule():
    """Nothing in the kernel that decides who runs next depends on hashes or addresses."""

    def play(seed: int) -> list[Any]:
        trio._core._run._r.seed(seed)  # type: ignore[attr-defined]
        trace: list[Any] = []

        async def main() -> None:
            async with running() as bench:
                names = [f"a{n}" for n in range(6)]

                def chat(actor: Probe) -> None:
                    trace.append((actor.ref.path, actor.incarnation, round(trio.current_time(), 4)))
                    left = len(trace)
                    if left < 200:
                        for step in (1, 2):
                            actor.system.ref(f"/{names[(left + step) % 6]}").tell("chat")
                        actor.timer("t", 0.001 * (left % 7), "chat")
                    if left % 17 == 0:
                        raise Boom

                for name in names:
                    await bench.spawn(name, on={"chat": chat}, start=lambda actor: actor.timer("t", 0.01, "chat"))
                await trio.sleep(5)

        trio.run(main, clock=MockClock(autojump_threshold=0))
        return trace

    first = play(1)
    assert len(first) >= 200
    assert play(1) == first
    assert play(2) != first


async def test_the_wheel_of_a_system_that_has_ended_is_empty():
    async with running() as bench:
        a = await bench.spawn("a", on={"hang": lambda _: trio.sleep(LONG)})
        a.ref.tell("hang")
        await settle()
        bench.system.stop(2.0)
    assert len(bench.system.wheel) == 0
    assert bench.system.root is not None
    assert bench.system.root.state == "ended"


def test_the_random_numbers_are_the_callers():
    async def main() -> None:
        async with running(rng=random.Random(5)) as bench:
            assert bench.system.rng.random() == random.Random(5).random()

    trio.run(main, clock=MockClock(autojump_threshold=0))
