"""creative: several drafts that differ in framing and temperature, judged, and merged into one answer.

Scores come from the judge and from nothing else. Where the judge is simulated, cannot be reached, or says something
that cannot be read, every score is null and the result says why; the drafts are merged all the same. What its
understudy does is one draft, without scores.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

import attrs

from actors.agents.definitions import AgentDefinition
from actors.agents.prompts import EarlierStep
from actors.engines.asking import Question, Reply
from actors.engines.fields import Fields
from actors.engines.judging import JUDGE_PROMPT, MERGE_PROMPT, Score, read_scores
from actors.engines.strategy import Desk, Outcome, together
from actors.protocol.catalogue import Failure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actors.engines.asking import Ask
    from actors.engines.messages import Execute

MOST: Final = 8
PARAMETERS: Final = ("candidates", "agent", "context")
LONGEST_CONTEXT: Final = 100_000
WRITER_PROMPT: Final = """
You are a Writer with ideas of your own. You answer a brief, whatever it asks for: a text, a concept, a list of ideas, a
plan. Others answer the same brief, and only what differs from theirs is of use. Answer the brief whole, in its own
language, without introduction and without remarks about yourself.
"""
FRAMINGS: Final = (
    ("plain", "Give the answer that a seasoned expert would give: sound, complete, ready to use."),
    ("bold", "Question what everybody would take for granted here, and give the answer that follows from it."),
    ("elsewhere", "Take the idea that solves this from another field, and carry it over in earnest."),
    ("smallest", "Find the smallest thing that would do, and make it excellent."),
    ("reverse", "Begin with how this would fail for certain, and build the answer on avoiding each of these ways."),
    ("people", "Begin with one real person who needs this, on an ordinary day, and answer for that person."),
    ("limits", "Answer as if only a tenth of the usual means were there."),
    ("far", "Answer as it will be done in ten years, then say what of it can be done now, and do that."),
)


@attrs.frozen
class Studio:
    """How the engine is tuned.

    Attributes:
        candidates: drafts, where the request does not say.
        temperatures: of the drafts in turn; empty leaves them to the model.
        models, judge: the chains that write, and that judges and merges.
        agents: those of the configuration, one of which may be asked to write.
    """

    candidates: int = 3
    temperatures: tuple[float, ...] = (0.4, 0.8, 1.1)
    models: tuple[str, ...] = ("default",)
    judge: tuple[str, ...] = ("default",)
    agents: Mapping[str, AgentDefinition] = attrs.field(factory=dict)


@attrs.frozen
class Draft:
    """One draft: how it was framed, and what came."""

    name: str
    framing: str
    mission: str
    temperature: float | None
    reply: Reply = Reply(None)

    def shown(self, score: Score | None) -> dict[str, Any]:
        """As plain JSON values; the score is null unless a judge gave it."""
        return {
            "name": self.name,
            "framing": self.framing,
            "temperature": self.temperature,
            "text": self.reply.text,
            "model": self.reply.model,
            "score": None if score is None else score.score,
            "reason": None if score is None else score.reason,
        }


def drafts_of(count: int, temperatures: tuple[float, ...]) -> tuple[Draft, ...]:
    """The drafts to be asked for: each with a framing of its own, the temperatures in turn. Pure."""
    return tuple(
        Draft(
            f"draft-{number}",
            *FRAMINGS[(number - 1) % len(FRAMINGS)],
            temperatures[(number - 1) % len(temperatures)] if temperatures else None,
        )
        for number in range(1, count + 1)
    )


class Creative:
    """See the module. With `alone`, one draft and nobody who judges it."""

    def __init__(self, ask: Ask, studio: Studio, *, alone: bool = False) -> None:
        self._ask = ask
        self._studio = studio
        self._alone = alone
        self._untempered: set[tuple[str, ...]] = set()
        """Chains whose model refuses to be given a temperature."""

    def problems(self, execute: Execute) -> dict[str, str]:
        problems: dict[str, str] = {}
        fields = Fields(execute.parameters, PARAMETERS, problems)
        fields.whole("candidates", self._studio.candidates, low=1, high=MOST)
        fields.one_of("agent", sorted(self._studio.agents), None)
        fields.text("context", longest=LONGEST_CONTEXT)
        if not execute.description.strip():
            problems["description"] = "Say what is to be created."
        return problems

    async def close(self) -> None:
        """Holds nothing."""

    async def run(self, execute: Execute, desk: Desk) -> Outcome:
        count = 1 if self._alone else execute.parameters.get("candidates") or self._studio.candidates
        wanted = drafts_of(count, self._studio.temperatures if count > 1 else ())
        written: list[Draft] = []

        async def write(draft: Draft) -> Draft:
            done = attrs.evolve(draft, reply=await self._write(execute, draft))
            written.append(done)
            desk.told(len(written), count)
            return done

        drafts = await together(desk.start, [partial(write, draft) for draft in wanted], "draft")
        good = [draft for draft in drafts if draft.reply.text is not None]
        if not good:
            return Outcome({"candidates": []}, failure=drafts[0].reply.failure or Failure.UNREACHABLE)
        desk.so_far["candidates"] = [draft.shown(None) for draft in good]
        if len(good) == 1:
            scores, judging = None, {"status": "not needed"}
        else:
            scores, judging = await self._judge(execute, good)
        result = await self._merge(execute, good, scores)
        simulated = any(draft.reply.simulated for draft in good)
        shown = [draft.shown(None if scores is None else scores[draft.name]) for draft in good]
        return Outcome({**result, "candidates": shown, "judging": judging, "simulated": simulated})

    def _question(self, execute: Execute, agent: AgentDefinition, mission: str) -> Question:
        context = execute.parameters.get("context") or ""
        earlier = (EarlierStep("context", "Researcher", context),) if context else ()
        about = execute.description
        return Question(agent, about, execute.user, execute.deadline, mission, earlier, priority=execute.priority)

    async def _write(self, execute: Execute, draft: Draft) -> Reply:
        studio = self._studio
        name = execute.parameters.get("agent")
        agent = studio.agents[name] if name else AgentDefinition("writer", "Writer", WRITER_PROMPT, studio.models)
        question = self._question(execute, agent, "" if self._alone else draft.mission)
        temperature = None if agent.models in self._untempered else draft.temperature
        reply = await self._ask(attrs.evolve(question, temperature=temperature))
        if reply.failure is Failure.BAD_REQUEST and temperature is not None:
            # Some models refuse any temperature but their own; the framing alone makes the difference then.
            reply = await self._ask(question)
            if reply.text is not None:
                self._untempered.add(agent.models)
        return reply

    async def _judge(self, execute: Execute, drafts: list[Draft]) -> tuple[Mapping[str, Score] | None, dict[str, Any]]:
        agent = AgentDefinition("judge", "Judge", JUDGE_PROMPT, self._studio.judge)
        question = self._question(execute, agent, f"The drafts: {', '.join(draft.name for draft in drafts)}.")
        reply = await self._ask(attrs.evolve(question, earlier=question.earlier + _material(drafts)))
        if reply.text is None:
            return None, {"status": "unreachable"}
        if reply.simulated:  # it has not read anything, so it cannot judge
            return None, {"status": "simulated", "model": reply.model}
        scores = read_scores(reply.text, tuple(draft.name for draft in drafts))
        return scores, {"status": "unreadable" if scores is None else "judged", "model": reply.model}

    async def _merge(self, execute: Execute, drafts: list[Draft], scores: Mapping[str, Score] | None) -> dict[str, Any]:
        """The final text. Where nobody can write it, the best draft is it; without scores, the first."""
        best = drafts[0] if scores is None else max(drafts, key=lambda draft: scores[draft.name].score)
        if len(drafts) == 1:
            return {"text": best.reply.text, "model": best.reply.model, "merged": False}
        told = "Nobody has judged the drafts."
        if scores is not None:
            told = "The scores: " + ", ".join(f"{name} {score.score:g}" for name, score in scores.items()) + "."
        agent = AgentDefinition("editor", "Editor", MERGE_PROMPT, self._studio.judge)
        question = self._question(execute, agent, told)
        reply = await self._ask(attrs.evolve(question, earlier=question.earlier + _material(drafts)))
        if reply.text is None or reply.cut:
            return {"text": best.reply.text, "model": best.reply.model, "merged": False, "chosen": best.name}
        return {"text": reply.text, "model": reply.model, "merged": True}


def _material(drafts: list[Draft]) -> tuple[EarlierStep, ...]:
    return tuple(EarlierStep(draft.name, "Writer", draft.reply.text) for draft in drafts)
