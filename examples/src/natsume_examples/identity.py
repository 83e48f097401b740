"""What a task knows of itself."""

import uuid

from natsume.telemetry import task_fields


def task_id() -> str:
    """The id of the task that runs here, the same at each of its runs; a new one where none runs.

    A task may run more than once: what it writes under this id, it writes once.
    """
    fields = task_fields.get()
    return fields[0] if fields else uuid.uuid4().hex
