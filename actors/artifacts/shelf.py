"""What one step may do with artifacts: write to its own folder, read its own and those of the steps before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from actors.artifacts.names import answer_name
from actors.artifacts.store import Artifact, ArtifactMissing, ArtifactRefused

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.artifacts.store import Artifacts


@attrs.frozen
class Shelf:
    """A step's view of the artifacts. All of it blocks and belongs in a worker thread.

    Attributes:
        artifacts: where all of them are.
        user, run_id, step: whose it is.
        parents: the steps that this one waits for, at any remove, in the workflow's order.
        wanted: whether somebody still waits for what is being written. Asked in the thread that writes.
    """

    artifacts: Artifacts
    user: str
    run_id: str
    step: str
    parents: tuple[str, ...] = ()
    wanted: Callable[[], bool] = attrs.field(default=lambda: True, eq=False)

    def write(self, name: str, content: bytes) -> Artifact:
        """Put a file in the step's own folder.

        Raises as `Artifacts.write`; ArtifactRefused also for the name of its answer, which would take the file's place.
        """
        if name == answer_name(self.step):
            raise ArtifactRefused(f"{name} is where the answer of this step is kept. Choose another name.")
        return self.artifacts.write(self.user, self.run_id, self.step, name, content, self.wanted)

    def keep_answer(self, content: bytes) -> Artifact:
        """Keep the step's answer, besides the files that it may have; raises as `Artifacts.write`."""
        name = answer_name(self.step)
        return self.artifacts.write(self.user, self.run_id, self.step, name, content, self.wanted)

    def read(self, name: str, step: str | None = None) -> bytes:
        """A file of one of the steps that may be read; of that `step`, or the step's own first, then the latest's.

        Raises as `Artifacts.read`; ArtifactMissing also for a step that may not be read.
        """
        readable = self.readable if step is None else tuple(name for name in self.readable if name == step)
        if not readable:
            raise ArtifactMissing(name)
        return self.artifacts.read(self.user, self.run_id, readable, name)

    def listing(self) -> list[Artifact]:
        """The files that may be read."""
        return [found for found in self.artifacts.listing(self.user, self.run_id) if found.step in self.readable]

    @property
    def readable(self) -> tuple[str, ...]:
        return (self.step, *reversed(self.parents))
