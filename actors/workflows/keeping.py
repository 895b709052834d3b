"""How a run is kept: while it goes on its record, and each answer beside it, written once.

The record is written with every event, and the answers are nearly all of it: with them, what a run of twenty long
answers writes would be fifty times what its events hold. So the record of an open run has none. Each has a key of its
own, written in the commit of the event that it comes with; nobody but the run reads them back. With the run's end all
of it becomes one record, which is shown and forgotten as one. Steps that have not changed are not encoded again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs
import msgspec

from actors.protocol.event_types import RUN_ENDS
from actors.storage.interface import DeleteState, PutState, Storage
from actors.users.keys import RUNS
from actors.workflows.record import decode_record, encode_record

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from actors.storage.interface import Effect
    from actors.workflows.record import RunRecord, StepRecord

ANSWERS: Final = "run_answer"
"""Space of the answers of open runs: USER/RUN/STEP -> text."""


@attrs.frozen
class Kept:
    """A record, and the answers that are kept beside it, by step. One that was written long ago holds its own."""

    stored: bytes
    answers: Mapping[str, str]

    def record(self) -> RunRecord:
        """The record with all answers."""
        record = decode_record(self.stored)
        return attrs.evolve(
            record,
            steps=tuple(map(self._whole, record.steps)),
            children=tuple(map(self._whole, record.children)),
        )

    def _whole(self, step: StepRecord) -> StepRecord:
        text = self.answers.get(step.name)
        return step if text is None else attrs.evolve(step, text=text)


@attrs.frozen
class ReadKept:
    """To the journal: what is kept of a run under this key. Answer: `Kept`, or None."""

    key: str

    def run(self, storage: Storage) -> Kept | None:
        stored = storage.get_state(RUNS, self.key)
        if stored is None:
            return None
        prefix = _answer_key(self.key, "")
        answers: dict[str, str] = {}
        after = ""
        while page := storage.list_state(ANSWERS, prefix=prefix, after=after):
            answers.update((key.removeprefix(prefix), text.decode()) for key, text in page)
            after = page[-1][0]
        return Kept(stored, answers)


class Keeping:
    """Makes what is to be committed with each event.

    Args:
        key: of the run.
        answers: those that are kept beside its record, by step.
    """

    def __init__(self, key: str, answers: Mapping[str, str]) -> None:
        self._key = key
        self._answers = dict(answers)
        self._encoded: dict[str, tuple[StepRecord, msgspec.Raw]] = {}

    def effects(self, record: RunRecord) -> tuple[Effect, ...]:
        """What leads from the record of the last call, or the one that was read, to this one."""
        if record.status in RUN_ENDS:
            over = (DeleteState(ANSWERS, _answer_key(self._key, step)) for step in self._answers)
            return (PutState(RUNS, self._key, encode_record(record)), *over)
        steps: Any = tuple(map(self._step, record.steps))
        children: Any = tuple(map(self._step, record.children))
        without = attrs.evolve(record, steps=steps, children=children)
        return (PutState(RUNS, self._key, encode_record(without)), *self._new(record))

    def _new(self, record: RunRecord) -> Iterator[Effect]:
        for step in record.everything:
            if step.text is not None and self._answers.get(step.name) != step.text:
                self._answers[step.name] = step.text
                yield PutState(ANSWERS, _answer_key(self._key, step.name), step.text.encode())

    def _step(self, step: StepRecord) -> msgspec.Raw:
        """A step without its answer, encoded. What is encoded stands in the record as it is."""
        known = self._encoded.get(step.name)
        if known is None or known[0] is not step:
            without = step if step.text is None else attrs.evolve(step, text=None)
            known = self._encoded[step.name] = step, msgspec.Raw(msgspec.json.encode(without))
        return known[1]


def _answer_key(run: str, step: str) -> str:
    return f"{run}/{step}"
