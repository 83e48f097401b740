"""`natsume locks`: who holds what, who waits for it, and an end to it by hand."""

import asyncio
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from natsume.cli.session import new_app, session_of
from natsume.cli.table import AsJson, AsJsonObject, show_one, show_rows
from natsume.cli.task_row import moment
from natsume.cli.who import Why, reason, who
from natsume.core.lock_list import chosen, key_of, mode_of
from natsume.exceptions import UsageError
from natsume.model.limits import LOCK_LINE_SHOWN
from natsume.model.lock import Entry, Standing, Waiting
from natsume.model.told import Released
from natsume.settings import Settings

app = new_app("List the locks, show one with those that wait for it, or release it by hand.")

Lock = Annotated[str, typer.Argument(metavar="LOCK", help="Its key or its name: mutex.job.7 or mutex:job:7.")]


@app.command("ls")
def list_locks(context: typer.Context, as_json: AsJson = False) -> None:
    """List who holds which lock since when, and how many wait for it; those of most waiters first."""
    show_rows(asyncio.run(_list(session_of(context).settings)), as_json, "no lock is held, and none is waited for")


@app.command()
def show(context: typer.Context, lock: Lock, as_json: AsJsonObject = False) -> None:
    """Show who holds a lock, and the first that wait for it, in their order."""
    row = asyncio.run(_show(session_of(context).settings, key_of(lock)))
    if as_json:
        show_one(row, as_json)
        return
    show_one({name: row[name] for name in ("key", "name", "waiters")}, as_json)
    show_rows(row["holders"], as_json, "nobody holds it")
    show_rows(row["line"], as_json, "nobody waits for it")


@app.command()
def release(
    context: typer.Context,
    lock: Lock,
    why: Why,
    slot: Annotated[str | None, typer.Option(help="Which holder, by the slot that `ls` shows.")] = None,
    holder: Annotated[str | None, typer.Option(help="Which holder, by its run or its task.")] = None,
) -> None:
    """End a holder's lease by hand, also one that is never to end by itself, and wake who is next.

    A task that still runs under a lease with a TTL is stopped when its worker notices, and runs again. Who did
    it and why is kept with the task, and shown by `natsume tasks show`.
    """
    text = reason(why)
    asked = _release(session_of(context).settings, key_of(lock), slot, holder, text)
    ended, standing = asyncio.run(asked)
    typer.echo(f"{standing.name} is released: task {ended.id} held it; {standing.waiters} wait for it")


async def _list(settings: Settings) -> list[dict[str, Any]]:
    from natsume.cli.looking import looking  # noqa: PLC0415 - `--help` need not load the broker

    async with looking(settings) as broker:
        await broker.refresh_clock()
        locks, now = await broker.locks.standing(), broker.now()
    locks.sort(key=lambda lock: (-lock.waiters, lock.name))
    return [row for lock in locks for row in _rows(lock, now)]


async def _show(settings: Settings, key: str) -> dict[str, Any]:
    from natsume.cli.looking import looking  # noqa: PLC0415 - `--help` need not load the broker

    async with looking(settings) as broker:
        await broker.refresh_clock()
        lock = await broker.locks.one(key)
        line = await broker.locks.waiting(key, LOCK_LINE_SHOWN)
        now = broker.now()
    if not lock.entries and not lock.waiters:
        raise UsageError(f"nobody holds {lock.name} or waits for it; `natsume locks ls` lists the locks")
    holders = [{name: row[name] for name in _OF_HOLDER} for row in _rows(lock, now) if lock.entries]
    waits = [_waiting(one, now) for one in line]
    return {"key": lock.key, "name": lock.name, "waiters": lock.waiters, "holders": holders, "line": waits}


async def _release(
    settings: Settings, key: str, slot: str | None, holder: str | None, why: str
) -> tuple[Released, Standing]:
    from natsume.connected import connected  # noqa: PLC0415 - `--help` need not load the broker

    async with connected(settings, name="natsume locks") as broker:
        lock = await broker.locks.one(key)
        entry = chosen(lock, slot, holder)
        own = entry.holding
        released = Released(
            own.task, key, lock.name, entry.slot, own.holder, own.worker, own.since, who(), why, broker.now()
        )
        if not await broker.locks.release(lock, entry, released):
            raise UsageError(f"{lock.name} was given back by task {own.task} at the same time; nothing was done")
    return released, lock


_OF_HOLDER = ("slot", "hold", "mode", "holder", "task", "worker", "owner", "since", "age_s", "ends")


def _rows(lock: Standing, now: float) -> Iterator[dict[str, Any]]:
    """A row for each holder, or one for a lock that is only waited for."""
    for entry in lock.entries or (None,):
        yield {"key": lock.key, **_held(entry, now), "waiters": lock.waiters, "name": lock.name}


def _held(entry: Entry | None, now: float) -> dict[str, Any]:
    if entry is None:
        return dict.fromkeys(("holder", "since", "age_s", "slot", "hold", "mode", "task", "worker", "owner", "ends"))
    own = entry.holding
    return {
        "holder": own.holder or None,
        "since": moment(own.since),
        "age_s": round(max(now - own.since, 0.0), 3),
        "slot": entry.slot,
        "hold": own.hold.value,
        "mode": mode_of(entry.slot).value,
        "task": own.task,
        "worker": own.worker or None,
        "owner": own.owner,
        "ends": moment(entry.ends_at),
    }


def _waiting(one: Waiting, now: float) -> dict[str, Any]:
    return {
        "task": one.task,
        "actor": one.actor,
        "priority": one.rank.partition("-")[0],
        "mode": one.mode,
        "since": moment(one.since),
        "waits_s": round(max(now - one.since, 0.0), 3),
        "behind": one.behind or None,
        "returns_at": moment(one.until),
    }
