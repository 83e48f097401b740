"""What a task in a slot reaches of the world: each call is a request to the worker, whose answer it awaits."""

import asyncio
import itertools
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from natsume import exceptions
from natsume.actors.registry import Registry
from natsume.core.join import Join
from natsume.exceptions import BrokerError, NatsumeError
from natsume.model import limits
from natsume.model.lock import Want
from natsume.model.record import Chunk, Done
from natsume.model.task import Task
from natsume.model.told import Commented, Progressed
from natsume.runtime.reaching import Reach
from natsume.runtime.run import Run
from natsume.runtime.telling import Tell, Telling
from natsume.slots import frames
from natsume.slots.channel import Channel


class Asking:
    """Sends requests of the task that runs here, and gives each its answer."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._numbers = itertools.count()
        self._waiting: dict[int, asyncio.Future[frames.Answer]] = {}
        self._turns = asyncio.Semaphore(limits.SLOT_REQUESTS_MAX)

    async def ask(self, make: Callable[[int], frames.Request], kind: Any = None) -> Any:
        """The value of the answer, of this type; raises what the worker says that it raised."""
        async with self._turns:
            number = next(self._numbers)
            waiting = self._waiting[number] = asyncio.get_running_loop().create_future()
            try:
                self._channel.send(make(number))
                answer = await waiting
            except asyncio.CancelledError:
                self._channel.send(frames.Withdraw(number))
                raise
            finally:
                del self._waiting[number]
        if answer.error is not None:
            raise _error(answer)
        return None if kind is None else frames.decode(answer.value, kind)

    def answered(self, answer: frames.Answer) -> None:
        """Take an answer; one that nobody waits for any more is dropped."""
        waiting = self._waiting.get(answer.number)
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)


def _error(answer: frames.Answer) -> Exception:
    kind: Any = getattr(exceptions, answer.error or "", None)
    if not (isinstance(kind, type) and issubclass(kind, NatsumeError)):
        return NatsumeError(answer.sentence)
    return kind(answer.sentence, answer.code) if issubclass(kind, BrokerError) else kind(answer.sentence)


class Locks:
    """Takes locks for the task that runs here (a Locker)."""

    def __init__(self, asking: Asking) -> None:
        self._asking = asking

    async def hold(self, want: Want, wait_s: float) -> int:
        """Take a lock, waiting for it at most so long; its fencing token. Raises LockNotAcquired."""
        token: int = await self._asking.ask(lambda number: frames.Hold(number, want, wait_s), int)
        return token

    async def give_back(self, want: Want) -> None:
        """Give back what was taken last of this lock."""
        await self._asking.ask(lambda number: frames.GiveBack(number, want))


class Reaching:
    """Makes what the tasks of one slot reach."""

    def __init__(self, registry: Registry, channel: Channel) -> None:
        self._registry = registry
        self._channel = channel
        self.asking = Asking(channel)

    def of(self, now: Callable[[], float]) -> Reach:
        """What a run reaches; `now` is the broker's clock."""
        return Reach(
            self._registry,
            self._submit,
            self._write_chunk,
            SlotTelling(self._tell, now, self._channel),
            self._locker,
            self._read_joins,
            self._read_ends,
            now,
        )

    async def _submit(self, task: Task, due: float | None) -> None:
        await self.asking.ask(lambda number: frames.Submit(number, task, due))

    def _locker(self, _run: Run) -> Locks:
        return Locks(self.asking)

    async def _write_chunk(self, _run: Run, count: int, chunk: Chunk) -> None:
        await self.asking.ask(lambda number: frames.WriteChunk(number, count, chunk))

    async def _tell(self, record: Progressed | Commented) -> None:
        if isinstance(record, Progressed):
            self._channel.send(frames.Said(record.progress))
        else:
            await self.asking.ask(lambda number: frames.Comment(number, record.key, record.text))

    async def _read_joins(self, ids: Sequence[str]) -> dict[str, tuple[Join, int]]:
        kind = dict[str, tuple[Join, int]]
        found: dict[str, tuple[Join, int]] = await self.asking.ask(
            lambda number: frames.ReadJoins(number, list(ids)), kind
        )
        return found

    async def _read_ends(self, ids: Sequence[str]) -> dict[str, Done]:
        """As many as fit in one answer at a time."""
        found: dict[str, Done] = {}
        left = list(ids)
        while left:
            part, count = await self.asking.ask(partial(_ends, left), tuple[dict[str, Done], int])
            found |= part
            left = left[count:]
        return found


def _ends(ids: list[str], number: int) -> frames.ReadEnds:
    return frames.ReadEnds(number, ids)


class SlotTelling(Telling):
    """What the runs of a slot say; who asks whether to stop is told what has come until then."""

    def __init__(self, tell: Tell, now: Callable[[], float], channel: Channel) -> None:
        super().__init__(tell, now)
        self._channel = channel
        self._thread = threading.get_ident()

    def hear(self) -> None:
        """Read what the worker says, where this is the thread of the loop, which the task may keep from reading."""
        if threading.get_ident() == self._thread:
            self._channel.read()
