"""What decisions of a supervisor are tested with, without a runtime."""

from __future__ import annotations

from runtime import Crashed, Stopped
from supervisors import Intensity
from supervisors._strategy import State

CRASH = Crashed(RuntimeError("crashed"))
NORMAL = Stopped("done")
PLENTY = Intensity(10_000, 5.0)


def phases(state: State) -> dict[str, str]:
    return {child.spec.name: child.phase for child in state.children}
