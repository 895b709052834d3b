"""The proofs can fail: each rule is broken on purpose, and a short program (shrunk by hypothesis) shows it.

Each program is first played on the code as it is, where all must be well.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio

from runtime import Ref, Replied
from runtime._cell import Cell
from runtime._hosting import Hosting
from runtime._mailbox import MailboxTarget
from runtime._messages import Passivated
from runtime._request import Request
from runtime._system import System
from runtime._turn import Resume, Suspend, Turns
from runtime._wheel import Wheel
from supervisors import Restart, Strategy, _ledger, _strategy
from supervisors._record import Record
from tests.proofs import replay
from tests.proofs.replay import Play, steps_of, text_of
from tests.proofs.world import Do

if TYPE_CHECKING:
    from collections.abc import Callable

    from supervisors._spec import Intensity

Replace = Any
"""`monkeypatch.setattr`."""


def messages_beside_each_other(replace: Replace) -> None:
    serve = Turns.serve

    async def hasty(self: Turns, actor: Any) -> object:
        receive = actor.receive

        async def begin(message: Any) -> object:
            return actor.start(receive, message) if isinstance(message, Do) else await receive(message)

        actor.receive = begin
        return await serve(self, actor)

    replace(Turns, "serve", hasty)


def a_stack_for_a_mailbox(replace: Replace) -> None:
    tell = Ref.tell

    def push(self: Any, message: object) -> bool:
        accepted = tell(self, message)
        lane = self.target.lane
        if accepted and lane and lane[-1] is message and isinstance(message, Do):
            lane.appendleft(lane.pop())
        return accepted

    replace(Ref, "tell", push)


def deadlines_that_never_come(replace: Replace) -> None:
    replace(Request, "fire", lambda _: None)


def deadlines_half_a_second_late(replace: Replace) -> None:
    add = Wheel.add
    replace(Wheel, "add", lambda self, deadline, entry: add(self, deadline + 0.5, entry))


def requests_that_come_out_twice(replace: Replace) -> None:
    notify = Request._notify

    def again(self: Any, value: object, error: Exception | None) -> bool:
        done = notify(self, value, error)
        if done:
            self.sink.signal(Replied(self.tag, self.ref, self.message, value, error))
        return done

    replace(Request, "_notify", again)


def what_is_left_behind_is_not_counted(replace: Replace) -> None:
    empty_out = MailboxTarget.empty_out

    def forgetful(self: Any, reason: str) -> None:
        before = self.undelivered
        empty_out(self, reason)
        self.undelivered = before

    replace(MailboxTarget, "empty_out", forgetful)


def tasks_that_go_on(replace: Replace) -> None:
    async def nothing(_: Cell) -> None:
        pass

    replace(Cell, "_end_tasks", nothing)


def no_limit_of_restarts(replace: Replace) -> None:
    add = Record.add

    def generous(self: Record, now: float, intensity: Intensity) -> tuple[Record, bool]:
        return add(self, now, intensity)[0], True

    replace(Record, "add", generous)


def nobody_restarts_with_another(replace: Replace) -> None:
    replace(_strategy, "_group", lambda _, name: {name})


def names_free_after_the_notice(replace: Replace) -> None:
    forget = System.forget

    def late(self: Any, cell: Any) -> None:
        soon = trio.lowlevel.current_trio_token().run_sync_soon
        names = list(cell.links.names) if cell.links is not None else []
        for name in names:
            del cell.links.names[name]
            soon(soon, self.registry.release, name)
        forget(self, cell)

    replace(System, "forget", late)


def the_next_begins_before_the_hook_has_ended(replace: Replace) -> None:
    run_hook = Cell._run_hook

    async def hasty(self: Any, actor: Any, reason: Any) -> None:
        self.owner.nursery.start_soon(run_hook, self, actor, reason)

    replace(Cell, "_run_hook", hasty)


def what_waits_is_lost_with_a_passive_actor(replace: Replace) -> None:
    replace(Hosting, "settle_passive", lambda self, cell: bool(self.close(cell, Passivated())))


def four_failures_in_a_row(replace: Replace) -> None:
    settle = _ledger.settle

    def patient(account: Any, ticket: Any, outcome: Any, policy: Any, *more: float) -> Any:
        return settle(account, ticket, outcome, attrs.evolve(policy, failures=4), *more)

    replace(_ledger, "settle", patient)


def nobody_is_suspended(replace: Replace) -> None:
    signal = Cell.signal
    replace(Cell, "signal", lambda self, what: None if isinstance(what, Suspend | Resume) else signal(self, what))


PPPP = "permanent,permanent,permanent,permanent"
DEFECTS: dict[Callable[[Any], None], tuple[str, str]] = {
    messages_beside_each_other: (
        f"machine one_for_one {PPPP} 0 'offer tell a work 0.507; offer tell a work 0.507'",
        "a handles two messages at once",
    ),
    a_stack_for_a_mailbox: (
        f"machine one_for_one {PPPP} 0 'offer tell a work 0.507; offer tell a note 0.507; offer tell a note 0.507'",
        "a has heard something else",
    ),
    deadlines_that_never_come: (
        f"machine one_for_one {PPPP} 0 'offer ask a work 0.507; advance 0.75'",
        "outcome='TimedOut'",
    ),
    deadlines_half_a_second_late: (
        f"storm one_for_one {PPPP} 0 'offer ask a work 0.507; advance 2.0'",
        "number 1 came out 0.50. s after its deadline",
    ),
    requests_that_come_out_twice: (
        f"machine one_for_one {PPPP} 0 'offer request a note 0.507'",
        "'answer', 'answer'",
    ),
    what_is_left_behind_is_not_counted: (
        f"machine one_for_one {PPPP} 0 'offer tell a work 0.507; offer tell a note 0.507; stop a; advance 2.0'",
        "have lost 1 messages",
    ),
    tasks_that_go_on: (f"machine one_for_one {PPPP} 0 'kill b'", "a task of b outlives it"),
    no_limit_of_restarts: (
        f"machine one_for_one {PPPP} 0 'kill a; kill a; kill a; kill a; kill a'",
        "is in another state",
    ),
    nobody_restarts_with_another: (
        f"machine one_for_all {PPPP} 0 'kill b'",
        "a was restarted more or less often",
    ),
    names_free_after_the_notice: (f"machine one_for_one {PPPP} 0 'stop b'", "b has ended and its name is not free"),
    the_next_begins_before_the_hook_has_ended: (
        f"machine one_for_one {PPPP} 0 'kill b'",
        "a second incarnation of b",
    ),
    what_waits_is_lost_with_a_passive_actor: (
        f"peace one_for_one {PPPP} 0 'offer tell a idle 0.507; checkpoint; checkpoint; offer tell a note 0.507'",
        "a was told .* and heard",
    ),
    four_failures_in_a_row: (
        f"machine one_for_one {PPPP} 0 'say boom; say boom; say boom; say hello'",
        "the fallback gave lead, the model understudy",
    ),
    nobody_is_suspended: (
        f"machine one_for_one {PPPP} 0 'suspend a; offer tell a note 0.507'",
        "a has heard something else|is in another state",
    ),
}


@pytest.mark.actor_conservation(False)
@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.__name__)
def test_a_defect_is_found(
    defect: Callable[[Any], None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    words, found = DEFECTS[defect]
    play = Play.of(shlex.split(words))
    assert play.run()
    defect(monkeypatch.setattr)
    with pytest.raises(AssertionError, match=found) as caught:
        play.run()
    assert caught.value.__notes__ == [f"again: {play.line}"]
    assert replay.main(shlex.split(play.line)[3:]) == 1, "the line that is printed has it again"
    assert re.search(found, capsys.readouterr().out)


def test_a_line_says_everything(capsys: pytest.CaptureFixture[str]):
    restarts = (Restart.TEMPORARY, Restart.TRANSIENT, Restart.PERMANENT, Restart.TEMPORARY)
    program = (("offer", "tell", "a", "boom", 0.507), ("kill", "b"), ("advance", 2.0))
    play = Play("storm", Strategy.REST_FOR_ONE, restarts, 7, program)
    assert Play.of(shlex.split(play.line)[3:]) == play
    assert steps_of(text_of(program)) == program
    assert replay.main(shlex.split(play.line)[3:]) == 0
    assert "all is as it has to be: 1 x a child is restarted" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        (f"sunshine one_for_one {PPPP} 0 ''", "sunshine: allowed are machine, storm, peace"),
        (f"machine one_for_two {PPPP} 0 ''", "one_for_two"),
        ("machine one_for_one permanent 0 ''", "there are 4 children"),
        ("machine one_for_one", "not enough values"),
    ],
)
def test_a_wrong_line_is_refused(line: str, wrong: str):
    with pytest.raises(ValueError, match=wrong):
        Play.of(shlex.split(line))


@pytest.mark.actor_conservation(False)
def test_a_play_that_fails_is_made_as_short_as_can_be(monkeypatch: pytest.MonkeyPatch):
    what_waits_is_lost_with_a_passive_actor(monkeypatch.setattr)
    idle = "offer tell a idle 0.507; checkpoint; checkpoint; offer tell a note 0.507"
    play = Play.of(shlex.split(f"peace one_for_one {PPPP} 0 'offer ask b note 0.507; advance 2.0; {idle}; suspend c'"))
    least = play.least()
    assert len(least.program) == 3, "one checkpoint is enough, under the right seed"
    with pytest.raises(AssertionError, match="a was told"):
        least.run()
