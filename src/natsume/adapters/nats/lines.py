"""Which locks somebody waits for, read from the subjects of TASKS (port Lines)."""

import asyncio
from random import sample
from typing import Final

import msgspec

from natsume.adapters.nats.direct import DirectReader
from natsume.adapters.nats.request import Request
from natsume.model.subject import TASKS

_INFO: Final = f"$JS.API.STREAM.INFO.{TASKS}"
_PARKED: Final = msgspec.json.encode({"subjects_filter": "parked.>"})


class _State(msgspec.Struct):
    subjects: dict[str, int] | None = None


class _Info(msgspec.Struct):
    state: _State = msgspec.field(default_factory=_State)


class StreamLines:
    """The lines in one broker's TASKS."""

    def __init__(self, tasks: DirectReader, request: Request) -> None:
        self._tasks = tasks
        self._request = request

    async def keys(self, count_max: int) -> list[str]:
        """The locks that somebody waits for, any so many of them."""
        info = msgspec.json.decode(await self._request(_INFO, _PARKED), type=_Info)
        lines = sorted({name.split(".")[1] for name in info.state.subjects or ()})
        some = sample(lines, min(count_max, len(lines)))
        found = await asyncio.gather(*(self._tasks.after(f"parked.{line}.*.*.*", 1, 1) for line in some))
        return [key for first in found for one in first if (key := one.headers.get("Natsume-Lock-Key"))]
