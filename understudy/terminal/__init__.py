"""What `understudy run` shows: `run_brief` starts a run and tells of it, `cancel_run` cancels one."""

from understudy.terminal.run import cancel_run, run_brief

__all__ = ["cancel_run", "run_brief"]
