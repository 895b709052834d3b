"""`understudy run`: start a run on a daemon, tell of it until its end.

One coroutine, no tasks of its own: the client has them, and keeps the connection. The status line is kept alive by
waiting for the next event in short turns, which the client allows: a cancelled wait takes nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs
import trio

from actors.protocol.catalogue import CONNECTION_LOST
from understudy.client import (
    Closed,
    CommandRefused,
    CommandTooLarge,
    ConnectionEnded,
    Gap,
    NoAnswer,
    NotSent,
    Open,
    Polling,
    RunView,
    Unreachable,
    Waiting,
    apply,
    load,
    open_client,
    websocket_address,
)
from understudy.client.envelope import new_id
from understudy.terminal.decide import Person
from understudy.terminal.interrupt import listening_for_interrupts
from understudy.terminal.orders import EXIT_DONE, EXIT_FAILED, cancel_run
from understudy.terminal.screen import PlainScreen, Screen, TerminalScreen
from understudy.terminal.story import Note, Told, tell
from understudy.terminal.timeline import Timeline, mark, missed
from understudy.terminal.troubles import ended_words, refusal_words
from understudy.terminal.words import printable, status_line

if TYPE_CHECKING:
    from random import Random
    from typing import TextIO

    from understudy.client import Client, Event, State

EXIT_INTERRUPTED: Final = 130
DECIDE_HINT: Final = "To decide: understudy decide {approval_id} approve|reject|modify [FEEDBACK]"


class RunLost(Exception):
    """There is nothing more to tell of this run. The message is for a person and says what to do."""


@attrs.define(eq=False)
class Follower:
    """One run, followed over whatever becomes of the connection. `hear` is for the client's states."""

    screen: Screen
    brief: str
    workflow: str
    start_id: str
    patience: float
    person: Person | None = None
    decide_hint: str = DECIDE_HINT
    began: float = attrs.field(factory=trio.current_time)
    view: RunView | None = None
    told: Told = attrs.field(factory=Told)
    timeline: Timeline = Timeline()
    been_there: bool = False
    lost_at: float | None = None
    turn: trio.CancelScope = attrs.field(factory=trio.CancelScope)

    @property
    def elapsed(self) -> float:
        return trio.current_time() - self.began

    def hear(self, state: State) -> None:
        """Says when the connection is lost, and when there is one again."""
        if isinstance(state, Open | Polling):
            if self.lost_at is not None:
                self.screen.tell([Note("Connected again.")])
            self.been_there, self.lost_at = True, None
        elif self.been_there and self.lost_at is None and not isinstance(state, Closed):
            self.lost_at = trio.current_time()
            self.screen.tell([Note(CONNECTION_LOST, "warning")])
            self.turn.deadline = min(self.turn.deadline, self._next_look())

    async def follow(self, client: Client) -> RunView:
        """Starts the run and tells of it. Gives its last view; raises `RunLost` where it ends for us before it ends."""
        try:
            if isinstance(state := await client.until(Open, Polling, Waiting), Waiting):
                raise RunLost(ended_words(state.trouble))
            view = await self._start(client)
            while not view.ended:
                event: Event | None = None
                with trio.CancelScope(deadline=self._next_look()) as self.turn:
                    event = await anext(client)
                if isinstance(event, Gap):
                    view = await self._load(client, view)
                elif event is not None:
                    view = self._show(apply(view, event), event)
                    if event.type == "approval_request" and event.run_id == view.run_id:
                        await self._ask_person(client, event)
                self._lose_patience()
                lost = None if self.lost_at is None else CONNECTION_LOST
                self.screen.status(status_line(view, self.elapsed, lost), trio.current_time())
        except (Unreachable, ConnectionEnded) as trouble:
            raise RunLost(ended_words(trouble)) from None
        except CommandRefused as refused:
            raise RunLost(refusal_words(refused)) from None
        except CommandTooLarge as large:
            raise RunLost(f"The brief is too long: {large}.") from None
        except (NoAnswer, NotSent) as silence:
            self._lose_patience()
            raise RunLost(f"The daemon did not answer: {silence}. It may be busy; try again in a moment.") from None
        return view

    async def _start(self, client: Client) -> RunView:
        reply = await client.command(
            "start_run",
            content=self.brief,
            metadata={"workflow": self.workflow},
            command_id=self.start_id,
            within=self.patience,
        )
        self.view = RunView(run_id=str(reply.metadata.get("run_id", "")))
        self.screen.tell([Note(f"This is run {printable(self.view.run_id)}.")])
        return self.view

    async def _ask_person(self, client: Client, request: Event) -> None:
        """Somebody has to decide about an answer: ask who sits here, or say how it is done."""
        approval_id = str(request.metadata.get("approval_id", ""))
        if self.person is None:
            self.screen.tell([Note(self.decide_hint.format(approval_id=approval_id), "warning")])
            return
        if self.told.floor is None or self.told.floor[0] != request.metadata.get("step"):
            self.screen.tell([Note(printable(str(request.metadata.get("answer", ""))))])  # it was not told yet
        with self.screen.aside():
            decision, feedback = await self.person()
        metadata = {"approval_id": approval_id, "decision": decision}
        if isinstance(digest := request.metadata.get("digest"), str):
            metadata["digest"] = digest
        try:
            await client.command("decide", content=feedback, metadata=metadata, within=self.patience)
        except CommandRefused as refused:  # too late, or somebody else was quicker
            self.screen.tell([Note(refusal_words(refused), "warning")])

    async def _load(self, client: Client, view: RunView) -> RunView:
        """The daemon could not send what we missed, so we ask how the run stands."""
        self.screen.tell([Note("Part of what happened meanwhile cannot be shown any more.", "warning")])
        reply = (await client.command("get_run", metadata={"run_id": view.run_id}, within=self.patience)).metadata
        # The positions that the view knows may be of another log.
        view = attrs.evolve(view, as_of=0)
        view = load(view, reply.get("run", {}), reply.get("steps", []), int(reply.get("seq", 0)))
        self.timeline = missed(self.timeline, {step.name for step in view.steps if step.ended})
        return self._show(view)

    def _next_look(self) -> float:
        """Until when (trio's time) to wait for an event: the status line wants to move, or patience ends."""
        soon = trio.current_time() + self.screen.tick
        return soon if self.lost_at is None else min(soon, self.lost_at + self.patience)

    def _lose_patience(self) -> None:
        if self.lost_at is not None and trio.current_time() - self.lost_at >= self.patience:
            raise RunLost(f"No connection for {self.patience:g} s. If the daemon is up, the run goes on there.")

    def _show(self, view: RunView, event: Event | None = None) -> RunView:
        self.view = view
        if event is not None and event.run_id == view.run_id:
            self.timeline = mark(self.timeline, event)
        self.told, items = tell(self.told, view, event)
        self.screen.tell(items)
        return view


async def run_brief(
    url: str,
    brief: str,
    *,
    out: TextIO,
    err: TextIO,
    rng: Random,
    user_id: str | None = None,
    token: str | None = None,
    workflow: str = "delivery",
    tty: bool | None = None,
    colour: bool = True,
    cancel_on_interrupt: bool = False,
    cancel_hint: str = "understudy cancel {run_id}",
    patience: float = 120.0,
    person: Person | None = None,
    decide_hint: str = DECIDE_HINT,
) -> int:
    """Hands `brief` to the daemon at `url` and prints the answers to `out` as they stream. Gives the exit code.

    0: the run completed. 1: it failed, was cancelled, or could not be started or followed; one line in `err` says why.
    130: Ctrl-C; the run goes on, or with `cancel_on_interrupt` is cancelled first. `tty` None asks `out` whether it is
    a terminal. `patience` is how long (seconds) to go without a connection in mid-run. `cancel_hint` is what a person
    types to cancel the run. `person` decides about answers that are held; without one, `decide_hint` is said.
    Takes SIGINT while it runs, where it is called from the main thread. Raises nothing of its
    own; BrokenPipeError where `out` has gone. Cancelled, it leaves the run to the daemon.
    """
    try:
        websocket_address(url)
    except ValueError as mistyped:
        err.write(f"{mistyped}\n")
        return EXIT_FAILED
    terminal = out.isatty() if tty is None else tty
    screen: Screen = TerminalScreen(out, colour=colour) if terminal else PlainScreen(out)
    follower = Follower(screen, brief, workflow, new_id(rng), patience, person, decide_hint)
    view: RunView | None = None
    with listening_for_interrupts() as interrupts:
        try:
            with screen, interrupts.cancelling():
                async with open_client(url, rng=rng, user_id=user_id, token=token, on_state=follower.hear) as client:
                    view = await follower.follow(client)
        except RunLost as lost:
            err.write(f"{lost}\n")
            return EXIT_FAILED
        if view is not None:
            screen.summary(view, follower.timeline, follower.elapsed)
            return EXIT_DONE if view.status == "completed" else EXIT_FAILED
        if follower.view is None:
            err.write(
                "\nInterrupted before the daemon had answered. If the brief had arrived, the run goes on there.\n"
            )
            return EXIT_INTERRUPTED
        run_id = follower.view.run_id
        if cancel_on_interrupt:
            with interrupts.cancelling() as scope:
                await cancel_run(url, run_id, out=out, err=err, rng=rng, user_id=user_id, token=token)
            if not scope.cancelled_caught:
                return EXIT_INTERRUPTED
        err.write(f"\nThe run goes on at the daemon. To cancel it: {cancel_hint.format(run_id=run_id)}\n")
        return EXIT_INTERRUPTED
