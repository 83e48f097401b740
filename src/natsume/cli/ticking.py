"""The schedules of a broker as the commands see them: what lies there, what should, and what may be done."""

import getpass
import os
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, Final

import msgspec

from natsume.core.reconcile import Put, Wanted
from natsume.exceptions import UsageError
from natsume.model.tick import Mark, Present, Ran, ScheduleKey
from natsume.ports import Outgoing, Schedules
from natsume.runtime.reconciler import Reconciler, tick_task
from natsume.schedules import parse

_AHEAD: Final = timedelta(days=366 * 10)
Row = dict[str, Any]


class Timetable:
    """What is known of all schedules at one time."""

    def __init__(self, port: Schedules, outgoing: Outgoing, reconciler: Reconciler, now: float) -> None:
        self.now = now
        self.keys: list[ScheduleKey] = []
        self._port = port
        self._outgoing = outgoing
        self._reconciler = reconciler
        self._wanted = dict(reconciler.agenda.wanted)
        self._present: dict[ScheduleKey, Present] = {}
        self._foreign: list[Present] = []
        self._marks: dict[str, Mark] = {}
        self._ran: dict[str, Ran] = {}

    async def read(self) -> None:
        """Learn what lies in the broker."""
        self._present, self._foreign = {}, []
        for one in await self._port.present():
            if one.entry is None:
                self._foreign.append(one)
            else:
                self._present.setdefault(one.entry.key, one)
        self.keys = sorted(self._present.keys() | self._wanted.keys(), key=lambda key: key.name)
        self._marks = await self._port.marks([key.id for key in self.keys])
        self._ran = await self._port.ran([key.id for key in self.keys])

    def named(self, name: str) -> list[ScheduleKey]:
        """The schedules of this name: one, or all of an actor; UsageError if there is none."""
        found = [key for key in self.keys if name == key.name or key.name.startswith(f"{name}/")]
        if not found:
            known = ", ".join(key.name for key in self.keys[:5]) or "there are none"
            raise UsageError(f"no schedule is called {name!r}; `natsume schedules ls` lists them ({known})")
        return found

    def row(self, key: ScheduleKey) -> Row:
        """A schedule in one row."""
        state = self._state(key)
        following = self._next(key, 1) if state == "armed" else []
        ran = self._ran.get(key.id)
        return {
            "name": key.name,
            "schedule": self._text(key),
            "state": state,
            "last": _utc(ran.at) if ran else None,
            "next": following[0] if following else None,
        }

    def foreign(self) -> list[Row]:
        """Rows of what lies among the schedules and is not ours."""
        empty = {"schedule": None, "state": "not ours", "last": None, "next": None}
        return [{"name": one.subject} | empty for one in self._foreign]

    def whole(self, key: ScheduleKey, count: int) -> Row:
        """All that is known of a schedule."""
        present, mark, ran = self._present.get(key), self._marks.get(key.id, Mark()), self._ran.get(key.id)
        entry = present.entry if present is not None else self._wanted[key].entry
        assert entry is not None
        return self.row(key) | {
            "actor": key.actor,
            "instance": key.instance,
            "vo": key.vo,
            "args": msgspec.json.decode(entry.body or b"{}"),
            "target": entry.target,
            "last_task": ran.tick if ran else None,
            "paused_by": mark.paused_by,
            "paused_at": _utc(mark.paused_at) if mark.paused_at else None,
            "armed_at": _utc(present.at) if present is not None else None,
            "subject": present.subject if present is not None else None,
            "upcoming": self._next(key, count),
        }

    async def trigger(self, name: str) -> list[Row]:
        """Submit a task of each schedule now, under an id of its own."""
        rows = []
        for key in self.named(name):
            task = tick_task(self._definition(key), datetime.fromtimestamp(self.now, UTC))
            task = msgspec.structs.replace(
                task, id=f"{key.id}-now-{os.urandom(8).hex()}", schedule=None, submitted_at=self.now
            )
            await self._outgoing.submit(task)
            rows.append({"name": key.name, "id": task.id})
        return rows

    async def pause(self, name: str) -> list[Row]:
        """Keep that these schedules are paused, then take them away."""
        keys = self.named(name)
        for key in keys:
            mark = self._marks.get(key.id, Mark())
            if mark.paused_by is None:
                await self._port.mark(key.id, msgspec.structs.replace(mark, paused_by=_who(), paused_at=self.now))
        return await self._reconciled(keys)

    async def resume(self, name: str) -> list[Row]:
        """Keep that these schedules are not paused, then arm them; a conductor arms what is not known here."""
        keys = self.named(name)
        for key in keys:
            mark = self._marks.get(key.id, Mark())
            if mark.paused_by is not None:
                await self._port.mark(key.id, msgspec.structs.replace(mark, paused_by=None, paused_at=None))
        return await self._reconciled(keys)

    async def backfill(self, name: str, after: datetime, until: datetime, most: int) -> list[Row]:
        """Submit the ticks of a time that no record knows."""
        rows = []
        if after >= min(until, datetime.fromtimestamp(self.now, UTC)):
            raise UsageError("there is no past time between --from and --to; let --from be before both --to and now")
        for key in self.named(name):
            wanted = self._definition(key)
            until = min(until, datetime.fromtimestamp(self.now, UTC))
            due = list(islice(parse(wanted.entry.text).occurrences(after, until), most + 1))
            if len(due) > most:
                raise UsageError(f"{key.name} was due more than {most} times then; choose a shorter time")
            # Asked for, they run whatever ran since: they are under no policy of ticks.
            tasks = [msgspec.structs.replace(tick_task(wanted, time), schedule=None) for time in due]
            count = await self._reconciler.make_up(tasks)
            rows.append({"name": key.name, "due": len(due), "submitted": count})
        return rows

    async def sync(self, prune: bool) -> list[Row]:
        """Do what a conductor would do; `prune` removes what this code does not know."""
        actions = await self._reconciler.once()
        rows: list[Row] = [
            {"action": "armed", "name": action.entry.key.name}
            if isinstance(action, Put)
            else {"action": "removed", "name": action.present.entry.key.name if action.present.entry else ""}
            for action in actions
        ]
        if prune:
            await self.read()
            for key, present in self._present.items():
                if key not in self._wanted and await self._port.remove(present):
                    rows.append({"action": "removed", "name": key.name})
        return rows

    async def _reconciled(self, keys: list[ScheduleKey]) -> list[Row]:
        chosen = set(keys)
        await self._reconciler.once(chosen.__contains__)
        await self.read()
        self.keys = sorted(chosen, key=lambda key: key.name)
        return [{"name": key.name, "state": self._state(key)} for key in self.keys]

    def _definition(self, key: ScheduleKey) -> Wanted:
        present = self._present.get(key)
        if key in self._wanted:
            return self._wanted[key]
        assert present is not None
        assert present.entry is not None
        return Wanted(present.entry)

    def _state(self, key: ScheduleKey) -> str:
        if self._marks.get(key.id, Mark()).paused_by is not None:
            return "paused"
        return "armed" if key in self._present else "waits for a conductor"

    def _text(self, key: ScheduleKey) -> str:
        given = msgspec.json.decode(self._definition(key).entry.text)
        return ", ".join(f"{name} {value}" for name, value in given.items())

    def _next(self, key: ScheduleKey, count: int) -> list[str]:
        now = datetime.fromtimestamp(self.now, UTC)
        schedule = parse(self._definition(key).entry.text)
        return [_utc(due.timestamp()) for due in islice(schedule.occurrences(now, now + _AHEAD), count)]


def _utc(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _who() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # in a container a user may have no name
        return str(os.getuid())
