"""What one connection may do, as pure values: bad frames, the rate of commands, what may wait for `welcome`."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Final

import attrs

if TYPE_CHECKING:
    from actors.protocol.decode import Command, Rejected

BAD_FRAMES_A_MINUTE: Final = 10
REFUSALS_A_MINUTE: Final = 50
FREE_SIGNS_A_SECOND: Final = 10
MINUTE: Final = 60.0


class Window:
    """Counts what happened within the last `seconds`."""

    __slots__ = ("_seconds", "_times")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._times: list[float] = []  # a deque would be 0.7 KiB, even empty, and each connection has four windows

    def add(self, now: float) -> int:
        """Count one at `now`; how many there are now, this one included."""
        self._drop(now)
        self._times.append(now)
        return len(self._times)

    def count(self, now: float) -> int:
        self._drop(now)
        return len(self._times)

    def free_in(self, now: float) -> float:
        """Seconds until the oldest one is forgotten."""
        self._drop(now)
        return max(0.0, self._times[0] + self._seconds - now) if self._times else 0.0

    def _drop(self, now: float) -> None:
        times, past = self._times, now - self._seconds
        if times and times[0] <= past:
            del times[: bisect_right(times, past)]


@attrs.frozen
class Admitted:
    """The command may be carried out."""


@attrs.frozen
class TooFast:
    """Answer `rate_limited` with `retry_after` seconds; `close` if the client has gone on too long."""

    retry_after: float
    close: bool


class CommandRate:
    """`limits.commands_per_minute` and `limits.in_flight` of one connection."""

    __slots__ = ("_a_minute", "_at_once", "_commands", "_refused", "_signs")

    def __init__(self, a_minute: int, at_once: int) -> None:
        self._a_minute = a_minute
        self._at_once = at_once
        self._commands = Window(MINUTE)
        self._refused = Window(MINUTE)
        self._signs = Window(1.0)

    def admit(self, now: float, in_flight: int, *, sign_of_life: bool) -> Admitted | TooFast:
        """Whether a command may be carried out now. Heartbeats and acks count only above ten a second."""
        if sign_of_life and self._signs.add(now) <= FREE_SIGNS_A_SECOND:
            return Admitted()
        if self._commands.count(now) >= self._a_minute:
            wait = self._commands.free_in(now)
        elif in_flight >= self._at_once:
            wait = 1.0
        else:
            self._commands.add(now)
            return Admitted()
        return TooFast(round(max(wait, 0.1), 1), close=self._refused.add(now) >= REFUSALS_A_MINUTE)


class Early:
    """What a client has said behind its `hello`, and waits for `welcome`. While storage is slow that may be long.

    Args:
        most: how many of them there may be.
        most_characters: in all of them together.
    """

    __slots__ = ("_characters", "_heard", "_most", "_most_characters")

    def __init__(self, most: int, most_characters: int) -> None:
        self._most = most
        self._most_characters = most_characters
        self._heard: list[Command | Rejected] = []
        self._characters = 0

    def add(self, heard: Command | Rejected, characters: int) -> bool:
        """False where it would be too much."""
        self._characters += characters
        if len(self._heard) >= self._most or self._characters > self._most_characters:
            return False
        self._heard.append(heard)
        return True

    def take(self) -> list[Command | Rejected]:
        """All of it, in order, once."""
        heard, self._heard = self._heard, []
        return heard
