"""What cannot work is refused before anything starts, by key, value and what is allowed."""

from __future__ import annotations

import inspect
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from runtime import Actor, InvalidSpec, Mailbox, Overflow, Ref, Spec
from supervisors import (
    Backoff,
    ChildSpec,
    FallbackSpec,
    Intensity,
    Policy,
    Restart,
    Strategy,
    Supervisor,
    fallback,
    supervise,
)
from tests.support.actors import Bench, OpenHost, Probe, running, settle
from tests.support.supervision import OpenDynamic, OpenSupervisor, Stage, theatre

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio.testing import MockClock


def never() -> Actor:
    raise AssertionError("it was started")


TWICE = [ChildSpec("a", never), ChildSpec("b", never), ChildSpec("a", never)]


@pytest.mark.parametrize(
    ("make", "key"), [(lambda: supervise("s", TWICE), "children"), (lambda: fallback("f", TWICE), "fallback.targets")]
)
def test_a_name_that_occurs_twice_is_refused_before_anything_starts(make: Callable[[], Any], key: str) -> None:
    with pytest.raises(InvalidSpec) as refused:
        make()
    assert (refused.value.key, refused.value.value, refused.value.allowed) == (key, "a", "each name once")
    assert str(refused.value) == f"{key} is 'a'; allowed: each name once"


@pytest.mark.parametrize("host", [OpenHost, partial(OpenSupervisor, ()), OpenDynamic])
async def test_a_name_that_a_sibling_has_is_refused_and_the_sibling_is_not_touched(
    autojump_clock: MockClock, host: Callable[[], Actor]
) -> None:
    stage = Stage()

    def again(top: Any) -> None:
        with pytest.raises(InvalidSpec) as refused:
            top.start_child(ChildSpec("a", never))
        assert (refused.value.key, refused.value.value) == ("name", "a")
        assert refused.value.allowed == "a name that no child of /top has"

    async with theatre(Spec("top", host), stage) as play:
        await play.do(lambda top: top.start_child(stage.spec("a")))
        cell = play.cell("a")
        await play.do(again)
        assert play.cell("a") is cell
        assert await play.ref("a").ask("still there?", within=1.0) == "a"
        assert stage.take() == ["a+"]


@pytest.mark.parametrize("strategy", ["one_for_one", None, 1, Restart.PERMANENT])
def test_a_strategy_that_does_not_fit_is_refused_before_anything_starts(strategy: Any) -> None:
    with pytest.raises(InvalidSpec) as refused:
        supervise("s", [ChildSpec("a", never)], strategy=strategy)
    assert (refused.value.key, refused.value.value) == ("s.strategy", strategy)
    assert refused.value.allowed == ", ".join(f"Strategy.{each.name}" for each in Strategy)


class Odd(Supervisor):
    """Names children that nothing may start."""

    def children_of(self) -> list[ChildSpec]:
        return [ChildSpec("a", never)]


@pytest.mark.parametrize(
    ("field", "value", "host"),
    [("strategy", "one_for_one", Odd), ("intensity", 3, Odd), ("budget", 3, OpenDynamic)],
)
async def test_a_subclass_whose_policy_does_not_fit_is_a_failed_start(
    autojump_clock: MockClock, field: str, value: object, host: type[Any]
) -> None:
    bad = type("Bad", (host,), {field: value})
    async with theatre(Spec("top", bad), Stage()) as play:
        [crash] = play.bench.crashes()
        assert isinstance(crash.error, InvalidSpec)
        assert (crash.error.key, crash.error.value) == (field, value)
        assert crash.message is None


async def test_a_dynamic_supervisor_has_no_significant_children(autojump_clock: MockClock) -> None:
    def start(top: OpenDynamic) -> None:
        with pytest.raises(InvalidSpec, match=r"a\.significant is True; allowed: False in a dynamic supervisor"):
            top.start_child(ChildSpec("a", never, restart=Restart.TRANSIENT, significant=True))

    async with theatre(Spec("top", OpenDynamic), Stage()) as play:
        await play.do(start)


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (lambda: Spec("a", never, shutdown="5"), "a.shutdown"),  # type: ignore[arg-type]
        (lambda: Spec("a", never, start_within=None), "a.start_within"),  # type: ignore[arg-type]
        (lambda: Mailbox(weigher=5), "mailbox.weigher"),  # type: ignore[arg-type]
        (lambda: Mailbox(5, Overflow.CONFLATE, key=5), "mailbox.key"),  # type: ignore[arg-type]
        (lambda: Intensity(period="5"), "intensity.period"),  # type: ignore[arg-type]
        (lambda: Backoff(base=None), "backoff.base"),  # type: ignore[arg-type]
        (lambda: Policy(open_first="5"), "policy.open_first"),  # type: ignore[arg-type]
        (lambda: FallbackSpec(("a",)), "fallback.targets"),  # type: ignore[arg-type]
        (lambda: fallback("f", [ChildSpec("a", never)], policy=3), "fallback.policy"),
        (lambda: fallback("f", [ChildSpec("a", never)], intensity=3), "fallback.intensity"),
    ],
)
def test_what_is_of_another_kind_is_named_too(make: Callable[[], Any], key: str) -> None:
    with pytest.raises(InvalidSpec) as refused:
        make()
    assert refused.value.key == key
    assert refused.value.allowed


@pytest.mark.parametrize("function", [Ref.ask, Ref.send, Actor.request])
def test_nothing_waits_without_a_deadline(function: Callable[..., Any]) -> None:
    assert inspect.signature(function).parameters["within"].default is inspect.Parameter.empty


@pytest.mark.parametrize("how", ["ask", "send"])
async def test_an_offer_without_a_deadline_never_gets_as_far_as_the_mailbox(
    autojump_clock: MockClock, how: str
) -> None:
    async with running() as bench:
        a = await bench.spawn("a")
        with pytest.raises(TypeError, match="within"):
            await getattr(a.ref, how)("x")
        assert bench.counters(a).offered == 0
        assert a.log.heard == []


async def test_an_actor_that_requests_without_a_deadline_has_asked_nobody(autojump_clock: MockClock) -> None:
    async with running() as bench:
        a = await bench.spawn("a")
        b = await bench.spawn("b")

        def requests(actor: Probe) -> None:
            with pytest.raises(TypeError, match="within"):
                partial(actor.request, a.ref)("x")

        await b.do(requests)
        await settle()
        assert bench.counters(a).offered == 0


async def test_a_bad_spec_leaves_the_host_as_it_was(autojump_clock: MockClock) -> None:
    async with running() as bench:

        def start(root: OpenHost) -> None:
            with pytest.raises(InvalidSpec, match=r"a\.shutdown is -1; allowed: seconds, 0 or more, or math\.inf"):
                root.start_child(Spec("a", never, shutdown=-1))

        await bench.root.do(start)
        assert [node.path for node in bench.system.tree().walk()] == ["/"]
        assert not started(bench)


def started(bench: Bench) -> list[str]:
    """What has been reported of starts that failed."""
    return [crash.detail for crash in bench.crashes()]
