"""The flags that a worker knows: read before its first pull, told at once, so that no task is looked up for one."""

from collections.abc import Sequence

from natsume.model.told import Flag
from natsume.runtime.watch import Watch


class Flagging:
    """Which tasks are to be cancelled, and tells those of them that run."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._flags: dict[str, Flag] = {}

    def of(self, task_id: str) -> Flag | None:
        """The flag of a task."""
        return self._flags.get(task_id)

    def take(self, flags: Sequence[Flag], *, whole: bool) -> None:
        """Learn of all flags that there are, or of some more."""
        if whole:
            self._flags = {flag.id: flag for flag in flags}
        else:
            self._flags.update((flag.id, flag) for flag in flags)
        for run in self._watch.runs.values():
            flag = self._flags.get(run.delivery.task.id)
            if flag is not None and run.flag is None:
                run.flagged_by(flag)
