"""What `understudy run` shows: `run_brief` starts a run and tells of it; `cancel_run` and `steer_run` give orders."""

from understudy.terminal.run import cancel_run, run_brief, steer_run

__all__ = ["cancel_run", "run_brief", "steer_run"]
