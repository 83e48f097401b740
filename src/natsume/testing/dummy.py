"""A task that does nothing but count, for tests of what watches and cancels tasks."""

import asyncio
from dataclasses import dataclass
from typing import ClassVar

from natsume.base_task import BaseTask
from natsume.control import TaskControl
from natsume.exceptions import CancelHonoured


@dataclass
class DummyTask(BaseTask):
    """Counts up to `seconds`, one a second, each time tells how far it is and asks whether to stop; may `fail` then."""

    seconds: int = 10
    fail: bool = False

    pause_s: ClassVar[float] = 1.0

    async def execute(self, control: TaskControl) -> int:
        """Count; returns how far it came."""
        for second in range(self.seconds):
            if stop := control.should_cancel():
                raise CancelHonoured(f"{stop} after {second} of {self.seconds} s")
            await control.progress(second, self.seconds, f"{second} of {self.seconds} s")
            await asyncio.sleep(self.pause_s)
        if self.fail:
            raise RuntimeError(f"failed after {self.seconds} s, as it was told to")
        await control.progress(self.seconds, self.seconds)
        return self.seconds
