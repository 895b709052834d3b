"""Files of one name that several steps have written: the run says so at its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.daemon import house
from tests.support.device import devices

if TYPE_CHECKING:
    from pathlib import Path

SAME = """
[agents.scribe]
role = "Scribe"
prompt = "You write the file that you are asked for."
tools = ["write_artifact"]
[workflows.same]
title = "Two write one name"
steps = [
    { name = "left", agent = "scribe", depends_on = [] },
    { name = "right", agent = "scribe", depends_on = [] },
]
"""
BRIEF = 'Write the plan, each of you.\ncall-tool: write_artifact {"name": "plan.md", "content": "The plan."}'


async def test_names_that_conflict_are_reported_at_the_end(tmp_path: Path) -> None:
    async with house(tmp_path, None, more=SAME) as here, devices(here.port, "ada") as (ada,):
        run_id = await ada.start_run(BRIEF, workflow="same")
        assert await ada.run_ended(run_id) == "completed"
        ada.verify()
        last = [frame for frame in ada.log if frame["type"] == "run_status"][-1]
        assert last["metadata"]["conflicts"] == {"plan.md": ["left", "right"]}
        assert last["content"].endswith("a file of the same name: plan.md (left, right).")
        shown = (await ada.ask("get_run", run_id=run_id))["metadata"]
        assert shown["run"]["conflicts"] == {"plan.md": ["left", "right"]}
