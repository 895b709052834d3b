"""The command line. Whatever is wrong is one line on standard error; a traceback is a defect."""

from __future__ import annotations

import errno
import gc
import io
import os
import random
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NoReturn

import cyclopts
import trio
from cyclopts import Parameter

from runtime import SystemFailed
from understudy.configuration import Configuration, ConfigurationError, as_json, as_text, as_toml, load

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from structlog.typing import FilteringBoundLogger

    from understudy.collector import Collector
    from understudy.configuration.settings import Settings
    from understudy.daemon import Daemon
    from understudy.log_writer import LogWriter

REFUSED: Final = 2
"""Exit code for a configuration or a machine on which nothing can start."""
FAILED: Final = 1
INTERRUPTED: Final = 130
DEFAULT_URL: Final = "http://127.0.0.1:12000"

app = cyclopts.App(name="understudy", help="Teams of LLM agents, served live by supervised actors.")

_UNWRITTEN: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
"""Why an output may not take what is printed: the disk under it, not we."""


def _between(least: float, most: float) -> Parameter:
    def check(_kind: object, value: float | None) -> None:
        if value is not None and not least <= value <= most:  # also what is no number at all
            raise ValueError(f"allowed: from {least:,} to {most:,}.")

    return Parameter(validator=check)


ConfigFile = Annotated[Path | None, Parameter(help="Configuration file; default: ./understudy.toml if there is one.")]
Url = Annotated[str, Parameter(help="Where the daemon listens.")]
RunId = Annotated[str, Parameter(help="As understudy run says it, or GET /api/runs.")]
User = Annotated[str | None, Parameter(help="Who asks (development mode); unset: dev.")]


def _load(file: Path | None, flags: dict[str, object]) -> Configuration:
    try:
        return load(file=file, environ=os.environ, flags=flags)
    except ConfigurationError as error:
        _refuse(str(error))


def _refuse(text: str) -> NoReturn:
    for line in text.splitlines():
        print(f"understudy: {line}", file=sys.stderr)  # noqa: T201
    raise SystemExit(REFUSED)


@app.command
def serve(
    *,
    host: str | None = None,
    port: int | None = None,
    data: str | None = None,
    config: ConfigFile = None,
    log_level: str | None = None,
    model: str | None = None,
    shutdown_deadline: float | None = None,
) -> int:
    """Start the daemon; stop it with Ctrl-C or SIGTERM.

    Parameters
    ----------
    host
        address to listen on (loopback only, until authentication exists)
    port
        port to listen on, 0 for a free one
    data
        directory for everything that is kept
    log_level
        debug, info, warning or error
    model
        model of the default endpoint
    shutdown_deadline
        seconds in which the daemon has ended after SIGTERM
    """
    from understudy.log_writer import log_writer  # noqa: PLC0415 - other commands start without it
    from understudy.logs import library_logs, open_log  # noqa: PLC0415

    flags: dict[str, object] = {
        "host": host,
        "port": port,
        "data": data,
        "log_level": log_level,
        "model": model,
        "shutdown_deadline": shutdown_deadline,
    }
    settings = _load(config, flags).settings
    secrets = tuple(m.api_key for m in settings.models.values() if m.api_key)
    style: Any = {"text": "terminal"}.get(settings.server.log_format, settings.server.log_format)
    with log_writer(sys.stderr) as writer:
        plain = False if os.environ.get("NO_COLOR") else None
        log = open_log(writer, level=settings.server.log_level, style=style, colours=plain, secrets=secrets)
        with library_logs(log):
            return trio.run(_serve, settings, log, writer)


async def _serve(settings: Settings, log: FilteringBoundLogger, writer: LogWriter) -> int:
    from understudy.collector import tuned_collector  # noqa: PLC0415 - only here

    try:
        with tuned_collector() as collector:
            return await _run_daemon(settings, log, writer, collector)
    finally:
        gc.freeze()  # at its end the interpreter would look at everything that is left, for seconds


async def _run_daemon(settings: Settings, log: FilteringBoundLogger, writer: LogWriter, collector: Collector) -> int:
    from understudy.daemon import (  # noqa: PLC0415 - costs half a second
        ABANDONED,
        StartRefused,
        describe,
        leave,
        open_daemon,
    )

    def gave_up_waiting(paths: tuple[str, ...]) -> None:
        if not writer.close():  # nobody takes what stderr gives, and would not take the names either
            os._exit(ABANDONED)
        leave(paths)

    try:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async with open_daemon(settings, log, on_overdue=gave_up_waiting, lost_lines=lambda: writer.lost) as daemon:
                log.info("understudy is running", **describe(daemon))
                if settings.simulated:
                    log.warning("no API key is configured: every answer is SIMULATED, no real model is asked")
                await _until_ended(daemon, signals, log, writer, collector)
    except StartRefused as error:
        _refuse(str(error))
    except SystemFailed as error:
        log.critical("understudy gave up", why=str(error))
        return FAILED
    return 0


async def _until_ended(
    daemon: Daemon,
    signals: AsyncIterator[int],
    log: FilteringBoundLogger,
    writer: LogWriter,
    collector: Collector,
) -> None:
    """Until the tree has ended, by a signal or by itself. A second SIGINT ends the program at once."""
    within = daemon.settings.server.shutdown_deadline

    async def listen() -> None:
        interrupts = 0
        async for number in signals:
            interrupts += number == signal.SIGINT
            if interrupts > 1:
                writer.close()
                os._exit(INTERRUPTED)
            if daemon.phase == "running":
                log.info("stopping", signal=signal.Signals(number).name, within=within)
                nursery.start_soon(daemon.stop, within)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        nursery.start_soon(collector.watch)
        await daemon.ended.wait()
        nursery.cancel_scope.cancel()


@app.command
def config(
    *,
    config: ConfigFile = None,
    model: Annotated[str | None, Parameter(help="Model of the default endpoint, as of serve.")] = None,
    style: Annotated[Literal["text", "toml", "json"], Parameter(name="--format", help="How to print it.")] = "text",
) -> None:
    """Print what is in force, and where each value came from. Secrets are masked."""
    lines = _load(config, {"model": model}).describe()
    print({"text": as_text, "toml": as_toml, "json": as_json}[style](lines))  # noqa: T201


@app.command
def run(
    brief: str,
    *,
    url: Url = DEFAULT_URL,
    user: User = None,
    workflow: str = "delivery",
    cancel_on_interrupt: bool = False,
) -> int:
    """Hand a brief to a daemon and watch its agents answer.

    Parameters
    ----------
    brief
        what is to be done, 10 to 10,000 characters
    workflow
        which workflow does it
    cancel_on_interrupt
        cancel the run on Ctrl-C instead of leaving it
    """
    from understudy.terminal import person_at, run_brief  # noqa: PLC0415 - other commands start without it

    person = person_at(input) if sys.stdin.isatty() and sys.stdout.isatty() else None

    async def main() -> int:
        return await run_brief(
            url,
            brief,
            out=sys.stdout,
            err=sys.stderr,
            rng=random.Random(),
            user_id=user,
            workflow=workflow,
            cancel_on_interrupt=cancel_on_interrupt,
            person=person,
            colour=not os.environ.get("NO_COLOR"),
        )

    return _run_client(main)


@app.command
def cancel(run_id: RunId, *, url: Url = DEFAULT_URL, user: User = None) -> int:
    """Cancel a run."""
    from understudy.terminal import cancel_run  # noqa: PLC0415 - other commands start without it

    async def main() -> int:
        return await cancel_run(url, run_id, out=sys.stdout, err=sys.stderr, rng=random.Random(), user_id=user)

    return _run_client(main)


Agent = Annotated[str | None, Parameter(help="Only this agent, by its role, its name or its step.")]


@app.command
def pause(run_id: RunId, *, agent: Agent = None, url: Url = DEFAULT_URL, user: User = None) -> int:
    """Have a run make no further call to a model, until it is resumed."""
    return _steer(run_id, "pause", agent, url, user)


@app.command
def resume(run_id: RunId, *, agent: Agent = None, url: Url = DEFAULT_URL, user: User = None) -> int:
    """Let a paused run go on."""
    return _steer(run_id, "resume", agent, url, user)


def _steer(run_id: str, order: Literal["pause", "resume"], agent: str | None, url: str, user: str | None) -> int:
    from understudy.terminal import steer_run  # noqa: PLC0415 - other commands start without it

    async def main() -> int:
        rng = random.Random()
        return await steer_run(url, run_id, order, out=sys.stdout, err=sys.stderr, rng=rng, agent=agent, user_id=user)

    return _run_client(main)


@app.command
def decide(
    approval_id: Annotated[str, Parameter(help="As understudy run says it, or the event approval_request.")],
    decision: Annotated[Literal["approve", "reject", "modify"], Parameter(help="What becomes of the answer.")],
    feedback: Annotated[str, Parameter(help="To modify: what is to be different.")] = "",
    *,
    url: Url = DEFAULT_URL,
    user: User = None,
) -> int:
    """Decide about an answer that waits for a person."""
    from understudy.terminal import decide_approval  # noqa: PLC0415 - other commands start without it

    async def main() -> int:
        rng = random.Random()
        return await decide_approval(
            url, approval_id, decision, feedback, out=sys.stdout, err=sys.stderr, rng=rng, user_id=user
        )

    return _run_client(main)


Mode = Annotated[
    Literal["autopilot", "hitl", "off"],
    Parameter(help="Agents; agents whose answers a person releases; or people only."),
]


@app.command
def mode(mode: Mode, *, url: Url = DEFAULT_URL, user: User = None) -> int:
    """Say who answers in your default session, from now on."""
    from understudy.terminal import choose_mode  # noqa: PLC0415 - other commands start without it

    async def main() -> int:
        return await choose_mode(url, mode, out=sys.stdout, err=sys.stderr, rng=random.Random(), user_id=user)

    return _run_client(main)


def _run_client(main: Any) -> int:
    return int(trio.run(main))


@app.command
def simulate(
    *,
    host: str = "127.0.0.1",
    port: Annotated[int, _between(0, 65535)] = 12001,
    model_name: str = "simulated",
    seed: int = 0,
    tokens_per_second: Annotated[float, _between(0.1, 1_000_000)] = 200.0,
    first_token: Annotated[float, _between(0, 3600)] = 0.02,
    longest: Annotated[int | None, _between(1, 1_000_000)] = None,
) -> int:
    """Run the simulated model as a program of its own: an OpenAI-compatible server with faults on demand.

    Parameters
    ----------
    host
        address to listen on
    port
        port to listen on, 0 for a free one
    model_name
        what it calls itself in its answers
    seed
        the same seed and prompt give the same answer
    tokens_per_second
        how quickly it writes
    first_token
        seconds before it begins to
    longest
        cut its answers to so many tokens
    """
    from actors.models.simulated.brain import Brain  # noqa: PLC0415 - other commands start without it
    from actors.models.simulated.program import simulate_program  # noqa: PLC0415
    from actors.models.simulated.simulation import Pace, Simulation  # noqa: PLC0415

    def announce(url: str) -> None:
        print(f"simulated model at {url} (faults: PUT {url.removesuffix('/v1')}/faults)", flush=True)  # noqa: T201

    async def main() -> int:
        simulation = Simulation(
            rng=random.Random(seed),
            brain=Brain(seed, longest),
            pace=Pace(first_token, tokens_per_second),
            model_name=model_name,
        )
        try:
            with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_serve_simulated, simulate_program, host, port, simulation, announce)
                    async for _ in signals:
                        nursery.cancel_scope.cancel()
        except* OSError as group:
            _refuse(f"Cannot listen on {host}:{port}: {group.exceptions[0]}. Choose another --port or --host.")
        return 0

    return trio.run(main)


async def _serve_simulated(program: Any, host: str, port: int, simulation: Any, announce: Any) -> None:
    await program(host, port, simulation, announce=announce)


def main() -> None:
    """The console script."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # not every terminal has every letter of an answer
    try:
        try:
            raise SystemExit(app())
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None
    except OSError as error:
        if not isinstance(error, BrokenPipeError) and error.errno not in _UNWRITTEN:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python tries once more, at its end
        if not isinstance(error, BrokenPipeError):  # else whoever read our output has gone, and wants nothing more
            print(f"understudy: The output cannot be written: {error.strerror}.", file=sys.stderr)  # noqa: T201
        raise SystemExit(FAILED) from None
