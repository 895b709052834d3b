"""What holds for all tests: which are measured for coverage, which stay on one worker, the long form of properties.

Measuring makes Python twice as slow, and a program start three times as slowly. The floors are about what the tests of
each package reach by themselves; the whole daemons, proofs and benchmarks run the same code again, and are not
measured. Nor are properties, and what is marked `repeats`, which do so hundreds of times. Of the programs that tests
start, only those are that test what nothing else runs, the command line.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
from contextlib import contextmanager, suppress
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import openai  # noqa: F401 - else the first call loads it in a thread, past which a mock clock would jump
import pytest
from hypothesis import is_hypothesis_test, settings

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

SETTING: Final = "COVERAGE_PROCESS_CONFIG"
"""With it in its environment, a Python program measures itself."""
MEASURED: Final = {"test_commands.py"}
"""The modules whose programs are measured."""
NOT_MEASURED: Final = {"bench", "chaos", "end_to_end", "house", "isolation", "mutations", "proofs"}
"""Folders of tests that run what the others measure, …"""
BUT: Final = {"test_engines.py", "test_polling.py", "test_resume.py", "test_tools.py", "test_workers.py"}
"""… but for the modules of end_to_end that ask over HTTP what is asked nowhere else."""
TOGETHER: Final = ("tests/bench/", "tests/mutations/", "tests/actors/protocol/test_provoked.py")
"""Where each module stays on one worker: several of its tests look at what it has made once."""
MADE_ONCE: Final = (
    ("httpcore2", "default_ssl_context", lambda *_, **options: tuple(options.items())),
    ("understudy.http.description", "describe", lambda _routes, version: version),
)
"""What is the same for all clients and all daemons, and takes longest about them: the certificates of this machine,
though no model here speaks TLS, and `/openapi.json`. Where it is, and what tells one from another."""
TAKEN_AWAY = pytest.StashKey[str | None]()
HERE: Final = Path(__file__).parent
settings.register_profile("long", max_examples=5000)


def pytest_configure(config: pytest.Config) -> None:
    spreads = config.getoption("numprocesses", None) and not hasattr(config, "workerinput")
    # Whoever spreads the tests over workers starts them, and they are to be measured.
    config.stash[TAKEN_AWAY] = None if spreads else os.environ.pop(SETTING, None)
    if spreads:
        sys.settrace(None)  # it runs no test itself


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Its own `loadgroup` puts the group into the id of a test, which pytest no longer lets it do.

    This is for who does not say how to spread the tests; another `--dist` is obeyed.
    """
    if config.getoption("dist") != "load":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class ByPlace(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return nodeid.partition("::")[0] if nodeid.startswith(TOGETHER) else nodeid

    return ByPlace(config, log)


def pytest_collection_finish() -> None:
    """All modules and tests stay to the end: nothing is to be found by looking at them with every full collection."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    folder = item.path.relative_to(HERE).parts[0]
    repeats = is_hypothesis_test(getattr(item, "obj", None)) or item.get_closest_marker("repeats") is not None
    if not repeats and (folder not in NOT_MEASURED or (folder == "end_to_end" and item.path.name in BUT)):
        return (yield)
    with unmeasured():
        return (yield)


@contextmanager
def unmeasured() -> Iterator[None]:
    """Without the trace function that measures, in this thread and in those that are started meanwhile."""
    here, threads = sys.gettrace(), threading.gettrace()
    sys.settrace(None)
    threading.settrace(None)  # type: ignore[arg-type]  # what takes it away again
    try:
        yield
    finally:
        sys.settrace(here)
        threading.settrace(threads)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def _programs_are_measured(request: pytest.FixtureRequest) -> Iterator[None]:
    taken = request.config.stash[TAKEN_AWAY]
    if taken is None or request.path.name not in MEASURED:
        yield
        return
    os.environ[SETTING] = taken
    yield
    del os.environ[SETTING]


@pytest.fixture(autouse=True, scope="session")
def _made_once() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, attribute, key in MADE_ONCE:
            with suppress(ImportError, AttributeError):  # then it takes its time
                module = import_module(name)
                patch.setattr(module, attribute, once(getattr(module, attribute), key))
        yield


def once(make: Callable[..., Any], key: Callable[..., object]) -> Callable[..., Any]:
    """`make`, called the first time that the key of its arguments is a new one."""
    made: dict[object, Any] = {}

    @wraps(make)
    def given(*args: Any, **kwargs: Any) -> Any:
        which = key(*args, **kwargs)
        if which not in made:
            made[which] = make(*args, **kwargs)
        return made[which]

    return given
