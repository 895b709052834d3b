"""What the command line shows: `run_brief` starts a run and tells of it; the others give one order each."""

from understudy.terminal.decide import choose_mode, decide_approval, person_at
from understudy.terminal.orders import cancel_run, steer_run
from understudy.terminal.run import run_brief

__all__ = ["cancel_run", "choose_mode", "decide_approval", "person_at", "run_brief", "steer_run"]
