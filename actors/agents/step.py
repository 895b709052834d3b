"""The actor that does one attempt at a step: it asks a model, in a task of its own, and tells the run what happens.

It holds nothing that must survive it: the run closes what an attempt that crashed has left open, and begins the next.
Before each call of a tool and each attempt at a model it looks whether it is to rest (`Hold`); one that is under way
goes on to its end. Each tool runs in a task of its own, or in a thread. The answer is kept as a file before the run is
told of it.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio

from actors.agents.conversation import Conversation
from actors.agents.prompts import EarlierStep, assemble
from actors.agents.rounds import NoEnd, Rounds
from actors.agents.text import Flush, Text
from actors.agents.tool_context import tool_context
from actors.artifacts.names import BadName, answer_name
from actors.artifacts.store import ArtifactRefused
from actors.models.call import complete
from actors.models.lease import Queued
from actors.models.leaseholder import Leaseholder
from actors.models.model_call import CallFailed, CallLimits, CallResult, ModelCall
from actors.models.tokens import estimate_tokens
from actors.protocol.agent_events import Usage
from actors.protocol.catalogue import Failure
from actors.protocol.codes import ErrorType
from actors.tools.execution import Execution
from actors.tools.toolbox import ToolBox
from actors.workflows.messages import (
    Answered,
    FellBack,
    GaveNoAnswer,
    GoOn,
    Held,
    Hold,
    Retrying,
    Situation,
    StartOver,
    Thinking,
    Working,
    Wrote,
)
from runtime import Actor, Replied, Restarted, TaskEnded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from random import Random

    from actors.agents.definitions import AgentDefinition
    from actors.models.chat import ChatMessage
    from actors.models.failure import FailureFacts
    from actors.models.tools import ToolCall
    from actors.tools.context import ToolContext
    from actors.tools.definitions import ToolDefinition
    from actors.tools.outcome import Outcome
    from actors.workflows.record import RunRecord, StepRecord
    from runtime import ActorTask, Ref

SIGN_EVERY: Final = 1.5
"""Seconds between two signs of work; clients are promised one in two."""
CHARACTERS_A_TOKEN: Final = 4
TELL_WITHIN: Final = 30.0
TELL_AGAIN: Final = 0.2
KEEP_WITHIN: Final = 20.0
"""Seconds for the disk to take an answer. It is in the log in any case."""


@attrs.frozen
class AgentServices:
    """What agents are given.

    Attributes:
        agents: the definitions, by name.
        chain: the address of the fallback chain over these models.
        limits: attempts and deadlines of a model call.
        context_tokens: the budget of a prompt.
        rng: for the jitter of retries.
        names: what each endpoint's model is called, by the endpoint's name.
        box: the tools, and where artifacts are kept.
    """

    agents: Mapping[str, AgentDefinition]
    chain: Callable[[tuple[str, ...]], Ref[Any]]
    limits: CallLimits
    context_tokens: int
    rng: Random
    names: Mapping[str, str] = attrs.field(factory=dict)
    box: ToolBox = attrs.field(factory=ToolBox)

    def earlier(self, record: RunRecord, step: StepRecord) -> tuple[EarlierStep, ...]:
        """What the steps before `step` have come to, in the workflow's order: all that it waits for, at any remove."""
        wanted: set[str] = set()
        waiting = list(step.depends_on)
        while waiting:
            name = waiting.pop()
            if name not in wanted:
                wanted.add(name)
                waiting += record.step(name).depends_on
        return tuple(
            EarlierStep(other.name, other.role or other.agent, noted(other), other.missing)
            for other in record.steps
            if other.name in wanted
        )


def noted(step: StepRecord) -> str | None:
    """The answer of a step as later agents read it: a degraded one counts as missing, a partial one says so."""
    if step.degraded or step.text is None:
        return None
    return f"{step.text}\n\n(This answer broke off here.)" if step.partial else step.text


@attrs.frozen
class _Sign:
    """Timer: a sign that the agent is at work."""


@attrs.frozen
class _TellAgain:
    """Timer: the run did not take the result."""


class AgentStep(Actor):
    """See the module.

    Args:
        situation: which attempt at which step of which run.
        definition: who does it.
        earlier: what came before.
        services: whom it asks.
    """

    def __init__(
        self,
        situation: Situation,
        definition: AgentDefinition,
        earlier: Sequence[EarlierStep],
        services: AgentServices,
    ) -> None:
        self._situation = situation
        self._definition = definition
        self._earlier = earlier
        self._services = services
        self._text = Text(self, partial(self._tell, Wrote))
        self._waited: dict[ActorTask, tuple[trio.Event, list[TaskEnded]]] = {}
        """Tasks that the work waits for."""
        self._result: Answered | GaveNoAnswer | None = None
        self._hold: int | None = 0 if situation.held else None
        """The number of the order to rest, while there is one."""
        self._rests = False
        self._released = trio.Event()
        self._waiting: trio.CancelScope | None = None

    async def started(self) -> None:
        self._began = self.now()
        self._leases = Leaseholder(self)
        self.timer("sign", SIGN_EVERY, _Sign(), every=SIGN_EVERY)
        self._task = self.start(self._work, name="model call")

    async def receive(self, message: Any) -> object:
        match message:
            case Flush():
                self._text.due()
            case _Sign() if not self._rests:
                elapsed = int((self.now() - self._began) * 1000)
                self._tell(Working, elapsed, self._text.length // CHARACTERS_A_TOKEN)
            case TaskEnded(task) if task is self._task:
                self._work_ended(message)
            case TaskEnded(task):
                if task in self._waited:
                    event, ended = self._waited.pop(task)
                    ended.append(message)
                    event.set()
            case Replied():
                self._told(message)
            case _TellAgain():
                self._report()
            case Restarted() | Queued():
                self._leases.heard(message)
            case Hold(number):
                self._hold = number
                if self._rests:
                    self._tell(Held, number)
                elif self._waiting is not None:
                    self._waiting.cancel()
            case GoOn():
                self._hold = None
                self._released.set()
            case StartOver():
                self._text.start_over()
        return None

    def inspect(self) -> dict[str, Any]:
        return {"written": self._text.length}

    # --- the work, in its task

    async def _work(self) -> tuple[CallResult, str | None]:
        definition, services, situation = self._definition, self._services, self._situation
        tools = await services.box.offered(definition.tools)
        conversation = Conversation(self._prompt, services.context_tokens, [tool.offered for tool in tools.values()])
        call = ModelCall(
            definition.models,
            conversation.messages(),
            user=situation.user,
            run_id=situation.run_id,
            parameters=definition.parameters(),
            priority=situation.priority,
        )
        result = await Rounds(self, tools, services.box).answer(call, conversation)
        return result, await self._keep(definition.degraded if result.text is None else result.text)

    def _prompt(self, tokens: int) -> list[ChatMessage]:
        """What the agent is told before it calls any tool."""
        return assemble(
            self._definition,
            self._situation.brief,
            self._earlier,
            tokens,
            estimate=estimate_tokens,
            mission=self._situation.mission,
        )

    async def ask(self, call: ModelCall) -> CallResult:
        """For `Rounds`: ask the model."""
        self._tell(Thinking)
        services = self._services
        chain = services.chain(call.models)
        limits, rng = services.limits, services.rng
        return await complete(chain, self._leases, call, limits=limits, observer=self, rng=rng, pause=self)

    async def surely(self, kind: Any, *values: Any) -> None:
        """For `Rounds`: tell the run what must not be lost."""
        while not self._tell(kind, *values):  # noqa: ASYNC110 - a full mailbox says nothing when it has room again
            await trio.sleep(TELL_AGAIN)

    @property
    def written(self) -> list[str]:
        """For `Rounds`: all text so far."""
        return self._text.pieces

    def new_paragraph(self) -> None:
        """For `Rounds`."""
        self._text.new_paragraph()

    def context(self, call: ToolCall) -> ToolContext:
        """For `Rounds`: what a tool is given."""
        parents = tuple(step.step for step in self._earlier)
        return tool_context(self._situation, self._services.box, parents, call, self._services.limits.total)

    async def carry_out(
        self, tool: ToolDefinition, values: Mapping[str, Any], context: ToolContext
    ) -> TaskEnded | Outcome:
        """For `Rounds`: run a tool, for as long as it may take."""
        execution = Execution(tool, values, context, self._services.box)
        task = self.start(execution.run, name=f"tool {tool.name}")
        return await self._end_of(task, tool.timeout) or execution.overdue()

    async def _end_of(self, task: ActorTask, within: float) -> TaskEnded | None:
        """How a task has ended; None if it had to be cancelled after `within` seconds."""
        event, ended = trio.Event(), list[TaskEnded]()
        self._waited[task] = event, ended
        with trio.move_on_after(within):
            await event.wait()
        if ended:
            return ended[0]
        self._waited.pop(task, None)
        task.cancel("it took too long")
        return None

    async def _keep(self, text: str) -> str | None:
        """Keep the answer as a file of the run; its name, or None where the disk did not take it."""
        situation, box = self._situation, self._services.box
        shelf = box.shelf(situation.user, situation.run_id, situation.step, ())
        if shelf is None:
            return None
        content, over = text.encode("utf-8", "replace"), trio.Event()
        shelf = attrs.evolve(shelf, wanted=lambda: not over.is_set())
        try:
            ended = await self._end_of(self.start_in_thread(shelf.keep_answer, content, name="artifact"), KEEP_WITHIN)
        finally:
            over.set()
        error = None if ended is None else ended.error
        if ended is not None and error is None:
            return answer_name(situation.step)
        if error is not None and not isinstance(error, OSError | ArtifactRefused | BadName):
            raise error
        if box.log is not None:
            why = "it took too long" if error is None else getattr(error, "strerror", None) or str(error)
            box.log.error("answer not kept as an artifact", run_id=situation.run_id, step=situation.step, why=why)
        return None

    async def may_call(self) -> None:
        """Returns when the next call may be made; to be awaited before each."""
        while self._hold is not None:
            self._rests = True
            self._released = trio.Event()
            self._tell(Held, self._hold)
            await self._released.wait()
        self._rests = False

    @property
    def held(self) -> bool:
        """For the call of a model: no attempt is begun."""
        return self._hold is not None

    def interrupts(self, waiting: trio.CancelScope | None) -> None:
        """For the call of a model: what is to be cancelled when attempts may no longer be begun."""
        self._waiting = waiting

    async def resumed(self) -> None:
        """For the call of a model: returns when attempts may be begun again."""
        await self.may_call()
        self._tell(Thinking)

    def text(self, piece: str) -> None:
        """The model has written something."""
        self._text.add(piece)

    def caught_up(self) -> None:
        """No more is there at the moment."""
        self._text.caught_up()

    def retrying(self, facts: FailureFacts, delay: float) -> None:
        """An attempt failed and another follows."""
        self._tell(Retrying, ErrorType(facts.error_type), delay)

    def fell_over(self, from_target: str, to: str | None, facts: FailureFacts | None) -> None:
        """Another target takes over; None if there is none left."""
        del from_target
        model = None if to is None else self._services.names.get(to, to)
        self._tell(FellBack, model, ErrorType.UNREACHABLE if facts is None else ErrorType(facts.error_type))

    def model(self, name: str) -> None:
        """What the answer calls its model; the result says it too."""

    # --- telling the run

    def _tell(self, kind: Any, *values: Any) -> bool:
        return self._situation.run.tell(kind(self._situation.step, self._situation.attempt, *values))

    def _work_ended(self, ended: TaskEnded) -> None:
        step, attempt = self._situation.step, self._situation.attempt
        self.cancel_timer("sign")
        self._text.flush()
        if isinstance(ended.error, CallFailed):
            failed = ended.error
            self._result = GaveNoAnswer(step, attempt, ErrorType(failed.error_type), Failure(failed.facts.kind))
        elif isinstance(ended.error, NoEnd):
            self._result = GaveNoAnswer(step, attempt, ErrorType.TOOL, Failure.TOOL)
        elif ended.error is not None:
            raise ended.error
        elif ended.value is not None:
            self._result = self._answer(*ended.value)
        if self._result is not None:
            self._report()

    def _answer(self, result: CallResult, artifact: str | None) -> Answered:
        usage = None
        if result.usage is not None:
            prompt, completion = result.usage.prompt_tokens, result.usage.completion_tokens
            usage = Usage(prompt_tokens=prompt, completion_tokens=completion, estimated=result.usage.estimated)
        return Answered(
            step=self._situation.step,
            attempt=self._situation.attempt,
            text=self._definition.degraded if result.text is None else result.text,
            model=None if result.degraded else result.model,
            degraded=result.degraded,
            partial=result.partial,
            usage=usage,
            duration_ms=int((self.now() - self._began) * 1000),
            artifact=artifact,
        )

    def _report(self) -> None:
        self.request(self._situation.run, self._result, TELL_WITHIN)

    def _told(self, replied: Replied) -> None:
        if replied.error is None:
            self.stop("the step is done")
        else:
            self.timer("again", TELL_AGAIN, _TellAgain())
