"""The grammar of `task_status`: each task is queued, tried, perhaps queued and tried again, and ends exactly once."""

from collections.abc import Iterator

import attrs

from tests.support.grammar_tables import TASK_ENDS, Frame


@attrs.define
class Task:
    """What is known of one task; `from_start` is false where the log begins in its middle."""

    from_start: bool
    status: str = ""
    attempt: int = 0


@attrs.define
class Tasks:
    """All that a log tells of."""

    tasks: dict[str, Task] = attrs.field(factory=dict)

    def unfinished(self) -> list[str]:
        return [task_id for task_id, task in self.tasks.items() if task.status not in TASK_ENDS]

    def see(self, metadata: Frame, from_start: bool) -> Iterator[tuple[str, str]]:
        """The rules that one `task_status` breaks, each with what is wrong."""
        task_id, status, attempt = metadata["task_id"], metadata["status"], metadata.get("attempt", 0)
        task = self.tasks.get(task_id)
        if task is None:
            accepted = status == "queued" and "cause" in metadata
            task = self.tasks[task_id] = Task(from_start or accepted)
            if task.from_start and status != "queued":
                yield "task_order", f"{task_id} begins with {status}"
        known = task.from_start or task.attempt > 0
        if task.status in TASK_ENDS:
            yield "after_task_end", f"{status} of {task_id}"
        begins = status == "running" and task.status != "running"
        if status == "queued" and "attempt" in metadata:
            yield "task_attempt", f"{task_id} waits, and has an attempt"
        elif status != "queued" and known and attempt != task.attempt + begins:
            yield "task_attempt", f"{status} with attempt {attempt} of {task_id}, {task.attempt + begins} was due"
        if (status == "failed") != ("error" in metadata) or ("result" in metadata and status not in TASK_ENDS):
            yield "task_outcome", f"{status} of {task_id} with an error or a result, or without"
        task.status, task.attempt = status, max(attempt, task.attempt)
