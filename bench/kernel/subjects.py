"""Who is compared: understudy, a bare trio memory channel, other actor libraries, Erlang."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from bench.figures import OWN
from bench.measure import ROOT, Subject, last_line
from bench.peers.environments import ENVIRONMENTS, Missing

CHANNEL: Final = "trio"
ERLANG: Final = "erlang"
ERLANG_MODULE: Final = "gen_server_bench"
COMPILE_WITHIN: Final = 60.0
"""Seconds."""
MODULES: Final = {
    "pykka": "bench.peers.pykka",
    "tapio-py": "bench.peers.tapio",
    "everything-is-an-actor": "bench.peers.everything_is_an_actor",
    "autogen-core": "bench.peers.autogen_core",
}
NAMES: Final = (OWN, CHANNEL, *MODULES, ERLANG)


def subject(name: str, scratch: Path) -> Subject:
    """How to run one.

    Args:
        name: of `NAMES`.
        scratch: a directory for what has to be compiled.

    Raises:
        Missing: it is not installed.
    """
    if name == OWN:
        return Subject(name, (sys.executable, "-m", "bench.kernel.understudy"))
    if name == CHANNEL:
        return Subject(name, (sys.executable, "-m", "bench.peers.trio"))
    if name == ERLANG:
        return erlang(scratch)
    python = next(environment.python for environment in ENVIRONMENTS if environment.name == name)
    if not python.exists():
        raise Missing("not installed; `make bench-peers` does it, where a Python that it takes is found")
    return Subject(name, (str(python), "-m", MODULES[name]))


def erlang(scratch: Path) -> Subject:
    """One scheduler, as every other subject has one core."""
    erl, erlc = shutil.which("erl"), shutil.which("erlc")
    if erl is None or erlc is None:
        raise Missing("there is no `erl`; Debian has it in erlang-base")
    source = ROOT / "bench" / "peers" / f"{ERLANG_MODULE}.erl"
    try:
        compiled = subprocess.run(
            [erlc, "-o", str(scratch), str(source)],
            capture_output=True,
            text=True,
            timeout=COMPILE_WITHIN,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Missing(f"`erlc` was not done within {COMPILE_WITHIN:g} s") from None
    if compiled.returncode != 0:
        raise Missing(f"its program does not compile: {last_line(compiled.stdout + compiled.stderr)}")
    return Subject(ERLANG, (erl, "+S", "1:1", "-noshell", "-pa", str(scratch), "-s", ERLANG_MODULE, "main", "-extra"))
