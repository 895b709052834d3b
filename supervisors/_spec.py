"""What a supervisor needs to know of a child, and of itself: validated when made, before anything starts."""

from __future__ import annotations

import math
from enum import Enum

import attrs

from runtime import InvalidSpec, Spec
from runtime._spec import is_number


class Restart(Enum):
    """When a child that has ended is started again (OTP's restart types)."""

    PERMANENT = "permanent"
    """Always."""
    TRANSIENT = "transient"
    """After an abnormal end: a crash or a kill."""
    TEMPORARY = "temporary"
    """Never; pulled down by a sibling's restart it is removed."""


class Strategy(Enum):
    """Who restarts together (OTP's strategies)."""

    ONE_FOR_ONE = "one_for_one"
    ONE_FOR_ALL = "one_for_all"
    REST_FOR_ONE = "rest_for_one"


class AutoShutdown(Enum):
    """Whether a supervisor ends when its significant children have ended by themselves (OTP's auto-shutdown)."""

    NEVER = "never"
    ANY_SIGNIFICANT = "any_significant"
    """When one of them has."""
    ALL_SIGNIFICANT = "all_significant"
    """When the last of them has."""


@attrs.frozen
class Intensity:
    """At most `limit` restarts in any `period` seconds. OTP's rule; the numbers are Elixir's.

    With the default, three failures are reached before the budget is spent, as the fallback needs.
    """

    limit: int = 3
    period: float = 5.0

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.limit, int) or self.limit < 0:
            raise InvalidSpec("intensity.limit", self.limit, "a whole number, 0 or more")
        if not is_number(self.period) or not 0 < self.period < math.inf:
            raise InvalidSpec("intensity.period", self.period, "seconds above 0")


@attrs.frozen
class Backoff:
    """How long the restarts of one child wait.

    The first restart of a quiet period has no delay. The n-th after it waits `base` times 2 to the n-1, at most `cap`
    seconds, and of that a random part between half and all: jitter stays under the cap. A period is quiet when the
    child has run for `quiet` seconds.
    """

    base: float = 0.1
    cap: float = 30.0
    quiet: float = 5.0

    def __attrs_post_init__(self) -> None:
        for key in ("base", "cap", "quiet"):
            value = getattr(self, key)
            if not is_number(value) or not 0 <= value < math.inf:
                raise InvalidSpec(f"backoff.{key}", value, "seconds, 0 or more")

    def delay(self, streak: int, portion: float) -> float:
        """Seconds to wait before restart number `streak` (from 1) of a row; `portion` is a random number in [0, 1)."""
        if streak <= 1 or self.base == 0:
            return 0.0
        exponent = min(streak - 2, 60)
        return min(self.cap, self.base * 2.0**exponent) * (0.5 + portion / 2)


@attrs.frozen
class ChildSpec(Spec):
    """A child of a supervisor.

    Attributes:
        restart: see `Restart`.
        budget: restarts counted for this child alone; then it never counts against the supervisor's own intensity.
        backoff: see `Backoff`.
        significant: whether its own end may end the supervisor, see `AutoShutdown`. Only of a transient or temporary
            child: a permanent one is always restarted.
    """

    restart: Restart = Restart.PERMANENT
    budget: Intensity | None = None
    backoff: Backoff = Backoff()
    significant: bool = False

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        if not isinstance(self.restart, Restart):
            allowed = ", ".join(f"Restart.{kind.name}" for kind in Restart)
            raise InvalidSpec(f"{self.name}.restart", self.restart, allowed)
        if self.budget is not None and not isinstance(self.budget, Intensity):
            raise InvalidSpec(f"{self.name}.budget", self.budget, "an Intensity, or None")
        if not isinstance(self.backoff, Backoff):
            raise InvalidSpec(f"{self.name}.backoff", self.backoff, "a Backoff")
        if self.significant and self.restart is Restart.PERMANENT:
            raise InvalidSpec(f"{self.name}.significant", self.significant, "False for a permanent child")
