"""The matrix: restart type × the way in which an actor ends × strategy, against OTP's `supervisor`.

`tests/supervisors` has the ends that a supervisor tells apart, with the order of what follows. Here is every way in
which the kernel can end an actor, and only what OTP says of it: who ends, who starts again, and what counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

import attrs
import pytest
import trio

from runtime import Crashed, Killed, Passivated, Reason, Stopped
from supervisors import Intensity, Restart, Strategy, supervise
from tests.support.actors import Boom
from tests.support.supervision import Stage, Theatre, boom, fail_in_task, leave, over, sleep_away, theatre

if TYPE_CHECKING:
    from collections.abc import Callable

    from runtime import Actor

PERMANENT, TRANSIENT, TEMPORARY = Restart.PERMANENT, Restart.TRANSIENT, Restart.TEMPORARY
RESTARTED = {
    PERMANENT: {"normal", "abnormal"},
    TRANSIENT: {"abnormal"},
    TEMPORARY: set(),
}
"""OTP: "A permanent child process is always restarted. A temporary child process is never restarted (even when the
supervisor's restart strategy is rest_for_one or one_for_all and a sibling's death causes the temporary process to be
terminated). A transient child process is restarted only if it terminates abnormally.\""""
AFTER = {Strategy.ONE_FOR_ONE: "b", Strategy.ONE_FOR_ALL: "abc", Strategy.REST_FOR_ONE: "bc"}
"""Who starts again when b is started again."""


def raising(error: BaseException) -> Callable[[Theatre], None]:
    def fail(_: Actor) -> None:
        raise error

    return lambda play: play.ref("b").tell(fail) and None


def telling(what: Any) -> Callable[[Theatre], None]:
    return lambda play: play.ref("b").tell(what) and None


def fail_to_start(play: Theatre) -> None:
    play.stage.failing["b"] = 1
    play.ref("b").tell(boom)


def start_too_slowly(play: Theatre) -> None:
    play.stage.starting["b"] = 60.0
    play.ref("b").tell(boom)


def crash_below(play: Theatre) -> None:
    play.bench.system.ref("/top/b/below").tell(boom)


@attrs.frozen
class End:
    """A way to end.

    Attributes:
        way: makes b end so.
        kind: `normal` or `abnormal`; `asked for` by the supervisor itself; `idle`.
        reason: what the first incarnation's `stopped` hears.
        restarts: how many times b is started again, if it is.
    """

    way: Callable[[Theatre], None]
    kind: str
    reason: type[Any]
    restarts: int = 1


ENDS = {
    "it stops itself": End(telling(leave), "normal", Stopped),
    "it is drained": End(lambda play: play.cell("b").request_stop("enough", drain=True), "normal", Stopped),
    "it passivates": End(telling(sleep_away), "idle", Passivated),
    "its handler raises": End(telling(boom), "abnormal", Crashed),
    "its handler raises SystemExit": End(raising(SystemExit(1)), "abnormal", Crashed),
    "its handler raises KeyboardInterrupt": End(raising(KeyboardInterrupt()), "abnormal", Crashed),
    "its handler raises a group": End(raising(BaseExceptionGroup("", [Boom(), SystemExit()])), "abnormal", Crashed),
    "a task of its own fails": End(telling(fail_in_task), "abnormal", Crashed),
    "it is killed": End(lambda play: play.cell("b").kill("killed"), "abnormal", Killed),
    "it fails to start again": End(fail_to_start, "abnormal", Crashed, restarts=2),
    "it does not start again in time": End(start_too_slowly, "abnormal", Crashed, restarts=2),
    "its own children fail too often": End(crash_below, "abnormal", Crashed),
    "its supervisor stops it": End(
        lambda play: play.top.tell(lambda top: top.stop_child("b")) and None, "asked for", Stopped
    ),
}


def test_every_reason_is_in_the_matrix():
    assert {end.reason for end in ENDS.values()} == set(get_args(Reason))


@pytest.mark.parametrize("strategy", Strategy)
@pytest.mark.parametrize("restart", Restart)
@pytest.mark.parametrize("name", ENDS)
async def test_restart_type_end_and_strategy(strategy: Strategy, restart: Restart, name: str):
    end, stage = ENDS[name], Stage()
    b = stage.spec("b", restart, start_within=1.0)
    if end.way is crash_below:
        below = stage.spec("below")
        b = supervise("b", [below], intensity=Intensity(0, 5.0), restart=restart)
    async with theatre(over([stage.spec("a"), b, stage.spec("c")], strategy), stage) as play:
        held = play.ref("b")
        stage.take()
        end.way(play)
        await trio.sleep(0.5)
        stage.starting.clear()
        await trio.sleep(60.0)
        subject = "below" if end.way is crash_below else "b"
        events = stage.take()
        again = end.kind in RESTARTED[restart]
        assert isinstance(stage.reasons[subject][0], end.reason)
        assert [report.path for report in play.restarts] == ["/top/b"] * (end.restarts if again else 0)
        expected = {"a": "running", "c": "running"}
        if end.kind == "idle":
            assert events == ["b-"]
            assert await held.ask("wake up", within=1.0) == "b"
            expected["b"] = "running"
        elif again:
            started = {event[0] for event in events if event.endswith("+")}
            ended = {event[0] for event in events if event.endswith("-")}
            assert started == ended == set(AFTER[strategy].replace("b", subject[0]))
            expected["b"] = "running"
        else:
            assert events == [f"{subject}-"]
            assert not held.tell("anybody there?")
        assert play.states() == expected


@pytest.mark.parametrize("strategy", Strategy)
@pytest.mark.parametrize("restart", Restart)
async def test_a_sibling_that_restarts(strategy: Strategy, restart: Restart):
    """The end that a child has no part in: it comes back with its sibling, but for a temporary one."""
    stage = Stage()
    async with theatre(over([stage.spec("a"), stage.spec("b", restart), stage.spec("c")], strategy), stage) as play:
        stage.take()
        await play.tell("a", boom)
        events = stage.take()
        if strategy is Strategy.ONE_FOR_ONE:
            assert events == ["a-", "a+"]
        else:
            assert events == ["a-", "c-", "b-", "a+", *(["b+"] if restart is not TEMPORARY else []), "c+"]
        gone = strategy is not Strategy.ONE_FOR_ONE and restart is TEMPORARY
        assert sorted(play.states()) == (["a", "c"] if gone else ["a", "b", "c"])
        assert len(play.restarts) == 1, "a group restart counts once"
