from __future__ import annotations

from typing import Any

import pytest
import trio

from runtime import Passivated, Stopped, TaskEnded
from tests.support.actors import Bench, Boom, Later, OpenHost, Probe, Restarter, boom, hang, running, settle


async def test_the_result_of_a_task_comes_as_a_message(bench: Bench):
    a = await bench.spawn("a")

    async def add(x: int, y: int) -> int:
        await trio.sleep(1)
        return x + y

    task = await a.do(lambda actor: actor.start(add, 1, 2))
    assert await a.ref.ask("meanwhile", within=0.5) == "meanwhile"
    assert not task.ended
    assert repr(task).startswith("<ActorTask test_the_result")
    await trio.sleep(2)
    ended = a.log.heard[1]
    assert isinstance(ended, TaskEnded)
    assert (ended.task, ended.value, ended.error, ended.cancelled) == (task, 3, None, False)
    assert task.ended
    assert a.log.heard == ["meanwhile", ended]


async def test_a_task_has_the_name_it_is_given(bench: Bench):
    a = await bench.spawn("a")
    await a.do(lambda actor: actor.start(hang, name="fetching"))
    assert bench.node(a).tasks == ("fetching",)


async def test_the_failure_of_a_task_comes_as_a_message_and_ends_nothing(bench: Bench):
    a = await bench.spawn("a")
    await a.do(lambda actor: actor.start(boom))
    await settle()
    [ended] = a.log.heard
    assert isinstance(ended.error, Boom)
    assert ended.error.__traceback__ is None
    assert "in boom" in ended.trace
    assert a.log.started == [0]


@pytest.mark.parametrize(
    "error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), BaseExceptionGroup("", [Boom()])]
)
async def test_nothing_that_a_task_raises_reaches_others(bench: Bench, error: BaseException):
    async def fail() -> None:
        raise error

    a, b = await bench.spawn("a"), await bench.spawn("b")
    await a.do(lambda actor: actor.start(fail))
    await settle()
    assert a.log.heard[0].error is error
    assert await b.ref.ask(1, within=1) == 1


async def test_a_function_that_cannot_be_called_is_the_failure_of_its_task(bench: Bench):
    a = await bench.spawn("a")
    await a.do(lambda actor: actor.start(trio.sleep_forever, "one argument too many"))
    await a.do(lambda actor: actor.start(len, ()))
    await settle()
    assert [type(ended.error) for ended in a.log.heard] == [TypeError, TypeError]


async def test_a_cancelled_task_says_so(bench: Bench):
    a = await bench.spawn("a")
    task = await a.do(lambda actor: actor.start(hang))
    task.cancel("enough")
    await settle()
    [ended] = a.log.heard
    assert (ended.cancelled, ended.error) == (True, None)
    task.cancel("twice")


async def test_a_task_cancelled_before_it_has_begun_ends_at_its_first_checkpoint(bench: Bench):
    steps: list[str] = []

    async def work() -> None:
        steps.append("begun")
        await trio.lowlevel.checkpoint()
        steps.append("not reached")

    a = await bench.spawn("a")
    await a.do(lambda actor: actor.start(work).cancel())
    await settle()
    assert steps == ["begun"]
    assert [ended.cancelled for ended in a.log.heard] == [True]


async def test_a_task_that_fails_while_it_is_cancelled_is_a_failure(bench: Bench):
    async def untidy() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hang)
            try:
                await hang()
            finally:
                raise Boom("while cleaning up")

    a = await bench.spawn("a")
    task = await a.do(lambda actor: actor.start(untidy))
    task.cancel()
    await settle()
    [ended] = a.log.heard
    assert not ended.cancelled
    assert isinstance(ended.error, ExceptionGroup)
    assert ended.error.subgroup(Boom)


async def test_tasks_are_cancelled_and_joined_before_stopped(bench: Bench):
    order: list[str] = []

    async def slow() -> None:
        try:
            await hang()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(1)
            order.append("task")

    a = await bench.spawn("a", stop=lambda _: order.append("stopped"))
    for _ in range(2):
        await a.do(lambda actor: actor.start(slow))
    await bench.stop(a)
    assert order == []
    await trio.sleep(2)
    assert order == ["task", "task", "stopped"]
    assert a.log.heard == []


@pytest.mark.parametrize("end", ["crash", "stop", "kill"])
async def test_no_task_outlives_its_incarnation(bench: Bench, end: str):
    alive: list[int] = []

    async def work(actor: Probe) -> None:
        alive.append(actor.incarnation)
        try:
            await hang()
        finally:
            alive.remove(actor.incarnation)

    a = await bench.spawn("a", on={"boom": boom}, start=lambda actor: actor.start(work, actor))
    assert alive == [0]
    if end == "crash":
        a.ref.tell("boom")
        await settle()
        assert alive == [1]
    elif end == "stop":
        await bench.stop(a)
        assert alive == []
    else:
        a.cell.kill("by hand")
        await settle()
        assert alive == [1]


async def test_a_task_that_ends_with_its_actor_is_not_heard_of_later(bench: Bench):
    """Its end is in the system lane already when the incarnation fails."""

    async def crash(actor: Probe) -> None:
        actor.start(trio.sleep, 0)
        await trio.sleep(1)
        await boom()

    a = await bench.spawn("a", on={"crash": crash})
    a.ref.tell("crash")
    await trio.sleep(2)
    assert a.log.heard == ["crash"]
    assert a.log.started == [0, 1]


async def test_a_task_that_a_dying_task_starts_ends_too(bench: Bench):
    ended: list[str] = []

    async def second() -> None:
        try:
            await hang()
        finally:
            ended.append("second")

    async def first(actor: Probe) -> None:
        try:
            await hang()
        finally:
            actor.start(second)

    a = await bench.spawn("a")
    await a.do(lambda actor: actor.start(first, actor))
    await bench.stop(a, within=30)
    await trio.sleep(1)
    assert ended == ["second"]
    assert a.log.ended == [Stopped("stopped by its host")]


async def test_a_task_that_stopped_starts_ends_with_the_incarnation(bench: Bench):
    a = await bench.spawn("a", on={"boom": boom}, stop=lambda actor: actor.start(hang))
    a.ref.tell("boom")
    await settle()
    assert a.log.started == [0, 1]
    assert bench.node(a).tasks == ()


async def test_a_task_runs_in_the_nursery_of_the_host(bench: Bench):
    host = await bench.spawn("host", OpenHost)
    a = await bench.spawn("a", under=host)
    task = await a.do(lambda actor: actor.start(hang))
    await settle()
    assert task.task.parent_nursery is host.cell.nursery


async def test_the_root_may_have_tasks(bench: Bench):
    await bench.root.do(lambda actor: actor.start(hang))
    assert len(bench.system.tree().tasks) == 1


async def test_a_host_ends_its_own_tasks_before_its_children(bench: Bench):
    order: list[str] = []

    async def watch_over() -> None:
        try:
            await hang()
        finally:
            order.append("task")

    host = await bench.spawn("host", OpenHost, stop=lambda _: order.append("host"))
    await bench.spawn("child", under=host, stop=lambda _: order.append("child"))
    await host.do(lambda actor: actor.start(watch_over))
    await bench.stop(host)
    await settle()
    assert order == ["task", "child", "host"]


async def test_an_actor_with_a_task_does_not_passivate(bench: Bench):
    a = await bench.spawn("a", on={"go": lambda actor: actor.passivate()})
    task = await a.do(lambda actor: actor.start(hang))
    a.ref.tell("go")
    await settle()
    assert a.log.ended == []
    task.cancel()
    await settle()
    a.ref.tell("go")
    await settle()
    assert a.log.ended == [Passivated()]


@pytest.mark.parametrize("root", [Restarter, Later])
async def test_cancelling_the_system_ends_tasks(root: type[OpenHost]):
    ended: list[str] = []

    async def work() -> None:
        try:
            await hang()
        finally:
            ended.append("task")

    with trio.CancelScope() as scope:
        async with running(root) as bench:
            a = await bench.spawn("a", stop=lambda _: ended.append("stopped"))
            await a.do(lambda actor: actor.start(work))
            await settle()
            scope.cancel()
            await trio.sleep(1)
    assert ended == ["task", "stopped"]


async def test_a_task_asks_as_nobody(bench: Bench):
    """A task of a may ask b while b asks a: it is no handler."""
    answers: list[Any] = []
    b = await bench.spawn("b", on={"go": lambda _: a.ref.ask("from b", within=5)})
    a = await bench.spawn("a")

    async def ask() -> None:
        answers.append(await b.ref.ask("go", within=5))

    await a.do(lambda actor: actor.start(ask))
    await settle()
    assert answers == ["from b"]
