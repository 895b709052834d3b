"""A user's context with a journal in memory, producers and connections around it, in virtual time."""

from __future__ import annotations

import json
import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import attrs
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors.agents.definitions import AgentDefinition
from actors.gateway.joining import Broken, Joining
from actors.operations.counters import DaemonCounters
from actors.protocol.agent_events import Attempt, agent_delta, agent_progress
from actors.protocol.decode import Command, decode
from actors.protocol.event_types import NoticeLevel
from actors.protocol.run_events import system as notice_event
from actors.protocol.stamps import Stamps
from actors.storage.attending import Read
from actors.users.context import ContextSettings, Services
from actors.users.messages import Acked, Attach, Back, Deliver, Handle, LastHeard, Later, Locate, Replaced
from actors.users.producer import Producer
from actors.users.users import Users
from actors.workflows.definitions import StepDefinition, WorkflowDefinition
from runtime import Actor, Crash, Ended, Mailbox, Refused, Replied, Restarted, System
from supervisors import ChildSpec, Intensity, supervise
from tests.support.memory_journal import MemoryJournal, Plan
from tests.support.said import passed_on

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from actors.protocol.commands import Resume
    from actors.users.silence import SilentFailure
    from actors.users.task_commands import Coordination
    from runtime import Ref, Report

START = 1_800_000_000.0
"""Seconds since 1970 at which tests begin."""
OFTEN = Intensity(100_000, 1.0)
OF = Attempt(agent_name="Analyst", session_id="s", run_id="r", step="analysis")
WORKFLOW = WorkflowDefinition("delivery", "Delivery", (StepDefinition("analysis", "analyst"),))
AGENT = AgentDefinition("analyst", "Analyst", "You analyse.")


def virtual(main: Callable[[], Awaitable[None]]) -> None:
    """Run `main` in virtual time."""
    trio.run(main, clock=MockClock(autojump_threshold=0))


@attrs.frozen
class Say:
    """To a `Voice`: say these; d… is durable, w… a piece of text, anything else a sign of life."""

    names: tuple[str, ...]


class Voice(Actor):
    """A producer. What it says is noticed in `said` for ever, over its incarnations."""

    def __init__(self, users: Ref[Any], user: str, stamps: Stamps, said: list[str]) -> None:
        self._stamps = stamps
        self.said = said
        self.written = 0
        self.starts_over = 0
        self.emptied = 0
        self.opened = trio.Event()
        self.producer = Producer(self, users, user, emptied=self._emptied, lost=self._lost)

    async def started(self) -> None:
        self.producer.open(self.opened.set)

    def _emptied(self) -> None:
        self.emptied += 1

    def _lost(self) -> None:
        self.starts_over += 1

    async def receive(self, message: Any) -> object:
        match message:
            case Say(names):
                for name in names:
                    self._say(name)
                self.producer.push()
            case Replied():
                message.tag(message)
            case Later(call):
                call()
            case Restarted():
                self.producer.heard(message)
        return None

    def _say(self, name: str) -> None:
        stamp = self._stamps.stamp()
        if name.startswith("d"):
            self.said.append(name)
            self.producer.add(notice_event(stamp, "notice", NoticeLevel.INFO, notice=name))
        elif name.startswith("w"):
            self.producer.add(agent_delta(stamp, OF, message_id="m", offset=self.written, text=name))
            self.written += len(name)
        else:
            self.producer.add(agent_progress(stamp, OF, sentence=name, elapsed_ms=1))


class Follower(Actor):
    """A connection without a socket: what it gives out is what its client would have got.

    Attributes:
        got: (seq or None, content), in order.
        closed: the code with which it would have closed.
        heard_at: when anything last came from its client, if that is asked.
        answers: to commands, each with the number of frames that came before it.
        began: what the first `Attached` said.

    With a `client` it begins where the daemon says, as that client, after `resume`; else it is a client of its own that
    begins after `after`, or at the top.
    """

    def __init__(
        self,
        services: Services,
        users: Ref[Any],
        user: str,
        after: int | None,
        *,
        held: int = 10**6,
        client: str | None = None,
        resume: Resume | None = None,
    ) -> None:
        self._services = services
        self._users = users
        self._user = user
        self._after = after
        self.client = client
        self._resume = resume
        self.hello_at = self.heard_at = 0.0
        self.acked: int | None = None
        self._context: Any = None
        self._attaching = False
        self.joining = Joining(held)
        self.got: list[tuple[int | None, str]] = []
        self.ids: list[str] = []
        self.frames: list[dict[str, Any]] = []
        self.answers: list[tuple[int, Any]] = []
        self.closed: int | None = None
        self.began: Any = None

    async def started(self) -> None:
        self.hello_at = self.heard_at = self.now()
        self._locate()

    @property
    def client_id(self) -> str:
        return self.client or self.ref.path

    def ack(self, seq: int) -> None:
        """Its client says that it has processed this."""
        self.acked = max(seq, self.acked or 0)
        self._context.tell(Acked(self.client_id, seq, self.hello_at))

    def _locate(self) -> None:
        self.request(self._users, Locate(self._user), 10.0, tag=self._located)

    def _located(self, replied: Replied) -> None:
        if replied.error is not None:
            self.timer("again", 0.2, Later(self._locate))
            return
        self._context = replied.value
        self._attach()
        self.watch(self._context)

    def _attach(self) -> None:
        if not self._attaching and self.closed is None:
            self._attaching = True
            back = None if self.began is None else Back(self.joining.last, self.acked)
            attach = Attach(self.ref, self.client_id, self.hello_at, self._resume, back)
            self.request(self._context, attach, 10.0, tag=self._attached)

    def _attached(self, replied: Replied) -> None:
        self._attaching = False
        if isinstance(replied.error, Refused) and replied.error.reason == Replaced():
            self.closed = 4409
            return
        if replied.error is not None:
            self.timer("again", 0.2, Later(self._locate))
            return
        self.cancel_timer("again")
        attached = replied.value
        if self.began is None:
            self.began = attached
            after = attached.seq if self._after is None else self._after
            self._give(self.joining.begin(after if self.client is None else attached.plan.after, attached))
        else:
            self._give(self.joining.again(attached))
        self._read_on()

    def _read_on(self) -> None:
        wanted = self.joining.next_page()
        if wanted is not None and self.closed is None:
            self.request(self._services.journal, Read(self._user, wanted.after, wanted.limit), 30.0, tag=self._page)

    def _page(self, replied: Replied) -> None:
        if replied.error is not None:
            self.joining.not_read()
            self.timer("page", 0.2, Later(self._read_on))
            return
        self._give(self.joining.page(replied.value))
        self._read_on()

    def _give(self, outs: Any) -> None:
        if self.closed is not None:
            return
        if isinstance(outs, Broken):
            self.closed = outs.code
            return
        for out in outs:
            frame = json.loads(out.frame)
            assert frame.get("seq") == out.seq
            self.ids.append(frame["id"])
            self.frames.append(frame)
            self.got.append((out.seq, frame["content"]))

    async def receive(self, message: Any) -> object:
        match message:
            case Deliver():
                assert message.owner == self._user
                self._give(passed_on(self.joining, message))
            case Replied():
                message.tag(message)
            case Later(call):
                call()
            case Replaced():
                self.closed = 4409
            case Restarted():
                self.joining.detached()
                self._attach()
            case Ended() if self.began is not None:
                self.closed = self.closed or 1011
            case Acked():
                self._context.tell(message)
            case Handle():
                self.request(self._context, message, 60.0, tag=self._handled)
            case LastHeard():
                return self.heard_at
        return None

    def _handled(self, replied: Replied) -> None:
        self.answers.append((len(self.frames), replied.value if replied.error is None else replied.error))

    @property
    def seqs(self) -> list[int]:
        return [seq for seq, _ in self.got if seq is not None]


class Orders(Actor):
    """Stands for the runs' supervisor: notes what it is asked, and refuses while `busy`."""

    def __init__(self, heard: list[Any]) -> None:
        self.heard = heard

    async def receive(self, message: Any) -> object:
        self.heard.append(message)
        return self.ref


@attrs.define(eq=False)
class UsersSystem:
    """What a test holds on to."""

    system: System
    plan: Plan
    services: Services
    counters: DaemonCounters
    reports: list[Report]
    orders: list[Any]
    said: list[str] = attrs.field(factory=list)
    silent: list[SilentFailure] = attrs.field(factory=list)
    followers: list[Follower] = attrs.field(factory=list)

    @property
    def users(self) -> Ref[Any]:
        return self.system.ref("/users")

    @property
    def context(self) -> Ref[Any]:
        return self.system.ref("/users/ada")

    @property
    def voice(self) -> Ref[Any]:
        return self.system.ref("/voice")

    def actor(self, path: str) -> Any:
        return self.system.ref(path).target.actor

    def crash(self, path: str) -> None:
        """Have an actor crash, if it runs."""
        self.system.fail(path, RuntimeError("planned"))

    def crashes(self, kind: str) -> int:
        return sum(isinstance(report, Crash) and report.kind == kind for report in self.reports)

    async def say(self, *names: str) -> None:
        self.voice.tell(Say(names))

    async def follow(
        self,
        after: int | None = None,
        *,
        user: str = "ada",
        held: int = 10**6,
        client: str | None = None,
        resume: Resume | None = None,
    ) -> Follower:
        """A new connection."""
        follower = Follower(self.services, self.users, user, after, held=held, client=client, resume=resume)
        spec = ChildSpec(f"follower{len(self.followers)}", lambda: follower, mailbox=Mailbox(2048))
        self.followers.append(follower)
        root: Any = self.system.root
        root.actor.start_child(spec)
        await settle()
        return follower

    async def handle(self, text: str | dict[str, Any], *, user: str = "ada", within: float = 60.0) -> Any:
        """What a command of the user is answered."""
        context = await self.users.ask(Locate(user), within)
        return await context.ask(Handle(command(text) if isinstance(text, dict) else decode(text)), within)

    def contents(self, user: str = "ada") -> list[str]:
        """The log, by content."""
        log = self.plan.storage.log_of(user)
        return [json.loads(log.events[seq].body)["content"] for seq in sorted(log.events)]


def command(fields: dict[str, Any]) -> Command:
    return decode(json.dumps({"id": "cmd", "metadata": {}, **fields}))


async def settle() -> None:
    await wait_all_tasks_blocked()


@asynccontextmanager
async def users_system(
    *,
    settings: ContextSettings | None = None,
    budget: Intensity = OFTEN,
    runs: Callable[[], Actor] | None = None,
    plan: Plan | None = None,
    workflow: WorkflowDefinition = WORKFLOW,
    holder: list[System] | None = None,
    coordination: Callable[[System], Coordination] | None = None,
) -> AsyncIterator[UsersSystem]:
    """A root with the journal at /storage, the contexts at /users, runs at /runs and a producer for ada at /voice."""
    reports: list[Report] = []
    orders: list[Any] = []
    said: list[str] = []
    plan = plan or Plan()
    counters = DaemonCounters()
    silent: list[SilentFailure] = []
    settings = settings or ContextSettings(idle_after=60.0, log_events=20_000, log_seconds=604_800.0)
    holder = [] if holder is None else holder
    stamps = Stamps(random.Random(1), lambda: START + trio.current_time())

    def services() -> Services:
        (system,) = holder
        return Services(
            journal=system.ref("/storage"),
            runs=system.ref("/runs"),
            stamps=stamps,
            workflows={"delivery": workflow},
            counters=counters,
            silent=silent.append,
            coordination=None if coordination is None else coordination(system),
        )

    class Contexts(Users):
        pass

    Contexts.budget = budget
    root = supervise(
        "root",
        [
            ChildSpec("storage", lambda: MemoryJournal(plan), mailbox=Mailbox(65_536), budget=OFTEN),
            ChildSpec("users", lambda: Contexts(settings, services), budget=OFTEN),
            ChildSpec("runs", runs or (lambda: Orders(orders)), budget=OFTEN),
            ChildSpec("voice", lambda: Voice(holder[0].ref("/users"), "ada", stamps, said), budget=OFTEN),
        ],
        intensity=OFTEN,
    )

    def make(system_report: Any) -> None:
        reports.append(system_report)

    async with _opened(root, holder, report=make, rng=random.Random(2)) as system:
        await settle()
        yield UsersSystem(system, plan, services(), counters, reports, orders, said, silent)


@asynccontextmanager
async def _opened(root: ChildSpec, holder: list[System], **options: Any) -> AsyncIterator[System]:
    async with trio.open_nursery() as nursery:
        system = System(**options)
        holder.append(system)
        await nursery.start(system.run, root)
        try:
            yield system
        finally:
            system.stop(30.0)
