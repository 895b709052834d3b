"""One daemon in this process: everything opened in order, and closed again.

What can be wrong with the machine (the port taken, the data directory in use) is found before the tree starts and is
one line (`StartRefused`). What can be wrong with the disk or a provider later is a state that the tree lives with.

Two daemons in one process share nothing: nothing here is global but constants.
"""

from __future__ import annotations

import errno
import os
import random
import sys
import time
from contextlib import ExitStack, asynccontextmanager, suppress
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

import trio

from actors.gateway.http import http_config
from actors.gateway.messages import Drain
from actors.operations.alarms import Alarms
from actors.operations.alerts import Alerts
from actors.operations.channels import Channels
from actors.operations.counters import DaemonCounters
from actors.operations.metrics import open_metrics
from actors.operations.reports import ReportLog
from actors.protocol.stamps import Stamps
from actors.storage.database import DATABASE_NAME, Database
from actors.storage.errors import StorageError
from actors.storage.lock import lock_directory
from runtime import ActorError, System, SystemFailed, watch_loop
from understudy.engines import engine_timeout
from understudy.http import build_app
from understudy.http.sources import Phase, Sources
from understudy.http.waiting import HeldOpen
from understudy.logs import scrub_text
from understudy.readiness import REQUIRED, Readiness
from understudy.tree import SURVEY, Parts, artifacts, daemon_tree, models_plan

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from structlog.typing import FilteringBoundLogger

    from supervisors import ChildSpec
    from understudy.configuration.settings import Settings

ABANDONED: Final = 70
"""Exit code where a task had to be abandoned (EX_SOFTWARE)."""
MOST_PART: Final = 0.9
"""Of the time to stop, what the goodbye may take in all: the tree needs some of it too."""
ANSWER_PART: Final = 0.25
"""Of the time to stop, what clients have to answer the goodbye in when the last has been said."""


class StartRefused(Exception):
    """The daemon cannot start on this machine as it is. The text is one line that says what to do."""


class Daemon:
    """A running daemon.

    Attributes:
        system: its actors.
        addresses: where it listens, as URLs.
        counters: what it has counted.
        phase: starting, running or draining. Who is called in `leaving` hears of the last.
        ended: set when the tree has ended.
    """

    def __init__(
        self,
        settings: Settings,
        system: System,
        counters: DaemonCounters,
        addresses: tuple[str, ...],
        leaving: Sequence[Callable[[], None]],
    ) -> None:
        self.settings = settings
        self.system = system
        self.counters = counters
        self.addresses = addresses
        self.phase: Phase = "starting"
        self.ended = trio.Event()
        self._leaving = leaving
        self._asked = trio.Event()
        self._why = ""

    def ask_to_stop(self, why: str) -> float:
        """Begin to drain in a moment, unless it has begun. Gives the seconds until the end."""
        if not self._asked.is_set():
            self._why = why
            self._asked.set()
        return self.settings.server.shutdown_deadline

    async def stop_when_asked(self, log: FilteringBoundLogger) -> None:
        """Wait for `ask_to_stop`, then do it. Ends with the tree."""
        await self._asked.wait()
        if self.phase == "running":
            within = self.settings.server.shutdown_deadline
            log.info("stopping", why=self._why, within=within)
            await self.stop(within)

    async def stop(self, within: float) -> None:
        """Say goodbye to clients, then stop the tree; all within `within` seconds. Returns when the tree has ended.

        Cancellation: the tree is then stopped without the goodbye, and not waited for.
        """
        end = trio.current_time() + within
        self.phase = "draining"
        for tell in self._leaving:
            tell()
        try:
            connections = self.settings.connections
            over = within * connections.goodbye_part
            with suppress(ActorError):
                await self.system.ref("/gateway/connections").ask(
                    Drain(connections.come_back, over), min(over + within * ANSWER_PART, within * MOST_PART)
                )
        finally:
            self.system.stop(max(0.0, end - trio.current_time()))
        await self.ended.wait()

    async def run(self, root: ChildSpec, *, task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
        """Run the tree until it has ended. Raises SystemFailed if the root gave up."""
        try:
            await self.system.run(root, task_status=task_status)
        finally:
            self.phase = "draining"
            self.ended.set()
            self._asked.set()


@asynccontextmanager
async def open_daemon(
    settings: Settings,
    log: FilteringBoundLogger,
    *,
    rng: random.Random | None = None,
    wall: Callable[[], float] = time.time,
    on_overdue: Callable[[tuple[str, ...]], None] | None = None,
    lost_lines: Callable[[], int] = lambda: 0,
) -> AsyncIterator[Daemon]:
    """Run a daemon beside the block. The block ends when it likes; the daemon is then stopped.

    Args:
        settings: the configuration, checked.
        log: where its lines go.
        rng: for jitter and ids; seeded from the system if None.
        wall: seconds since 1970.
        on_overdue: called with the paths of actors that did not end in time.
        lost_lines: how many lines of the log were not written, for the metrics.

    Raises:
        StartRefused: before anything has started.
        SystemFailed: the root gave up.
    """
    rng = rng if rng is not None else random.Random(int.from_bytes(os.urandom(32)))
    with ExitStack() as stack:
        try:
            stack.enter_context(lock_directory(settings.server.data))
        except StorageError as error:
            raise StartRefused(str(error)) from error
        listeners = await _listen(settings.server.host, settings.server.port)
        counters = DaemonCounters()
        stamps = Stamps(random.Random(rng.getrandbits(256)), wall)
        held_open = HeldOpen()
        alerts = Alerts(stamps, lambda alert: Channels(system, stamps).system_alerts(alert))
        alarms = Alarms(alerts, counters)
        report_log = ReportLog(log, counters, alarms)
        stack.callback(report_log.close)
        system = System(report=report_log, rng=rng, on_overdue=on_overdue)
        addresses = tuple(f"http://{_authority(listener)}" for listener in listeners)
        daemon = Daemon(settings, system, counters, addresses, [alarms.draining, held_open.end])
        epochs = random.Random(rng.getrandbits(256))
        metrics = stack.enter_context(open_metrics(system, counters, lost_lines))
        readiness = Readiness(system, models_plan(settings), SURVEY)
        sources = Sources(
            system=system,
            version=version("understudy"),
            started_at=trio.current_time(),
            phase=lambda: daemon.phase,
            readiness=readiness.checks,
            required=REQUIRED,
            metrics=metrics.render_in_turns,
            counters=counters,
            log=log,
            stamps=stamps,
            workflows=settings.workflows,
            rate_limits=readiness.rate_limits,
            drain=daemon.ask_to_stop,
            held_open=held_open,
            come_back=partial(rng.uniform, 0.0, settings.connections.come_back),
            engine_timeout=partial(engine_timeout, settings),
            artifacts=artifacts(settings),
            scrub=partial(scrub_text, secrets=[m.api_key for m in settings.models.values() if m.api_key]),
        )
        parts = Parts(
            system=system,
            open_storage=lambda: Database(settings.server.data / DATABASE_NAME, random=epochs, wall_clock=wall),
            listeners=listeners,
            app=build_app(sources),
            http=http_config(lambda error: log.error("http application failed", exc_info=error)),
            stamps=stamps,
            counters=counters,
            log=log,
            storage=report_log.storage,
            silent=report_log.silent_failure,
            isolation=alarms.isolation,
            open_alerts=lambda: [Channels(system, stamps).alert(alert) for alert in alerts.open],
        )
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(daemon.run, daemon_tree(settings, parts))
                daemon.phase = "running"
                nursery.start_soon(daemon.stop_when_asked, log)
                try:
                    with watch_loop(system, report_log.loop_blocked):
                        yield daemon
                finally:
                    daemon.phase = "draining"
                    system.stop(settings.server.shutdown_deadline)
        except BaseExceptionGroup as group:
            raise _only_failure(group) from None
        finally:
            for listener in listeners:
                await trio.aclose_forcefully(listener)


def _only_failure(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The root's failure by itself, where the group holds nothing else."""
    failed, rest = group.split(SystemFailed)
    if failed is None or rest is not None:
        return group
    error: BaseException = failed
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def _listen(host: str, port: int) -> list[trio.SocketListener]:
    try:
        return await trio.open_tcp_listeners(port, host=host)
    except OSError as error:
        where = f"{host}:{port}"
        if error.errno == errno.EADDRINUSE or (error.errno is None and "in use" in str(error)):
            raise StartRefused(
                f"The address {where} is taken, perhaps by another daemon. "
                "Stop that one, or choose another with --port."
            ) from error
        if error.errno in {errno.EACCES, errno.EPERM}:
            raise StartRefused(
                f"This user may not listen on {where}. Choose a port from 1024 on with --port."
            ) from error
        raise StartRefused(
            f"Cannot listen on {where}: {error.strerror or error}. Choose another --host or --port."
        ) from error


def _authority(listener: trio.SocketListener) -> str:
    host, port = listener.socket.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def leave(paths: tuple[str, ...]) -> None:
    """The end of a program whose actors do not: trio cannot abandon a task."""
    print(f"understudy: gave up waiting for {', '.join(paths)}", file=sys.stderr, flush=True)  # noqa: T201
    os._exit(ABANDONED)


def describe(daemon: Daemon) -> dict[str, Any]:
    """For the log line that says that the daemon runs."""
    settings = daemon.settings
    return {
        "addresses": ", ".join(daemon.addresses),
        "data": str(settings.server.data.absolute()),
        "models": ", ".join(
            f"{name} ({'simulated' if m.simulated else m.model})" for name, m in settings.models.items()
        ),
    }
