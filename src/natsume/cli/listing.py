"""`natsume tasks ls`: the tasks of a filter, newest first, from the ledger; what has just ended is told as ended."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cache, partial
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
import typer

from natsume.actors.registry import Registry
from natsume.cli.choosing import point
from natsume.cli.session import session_of
from natsume.cli.table import Array, AsJson, show_rows
from natsume.core.listing import labels_of
from natsume.exceptions import UnknownActor
from natsume.model.codec import timestamp
from natsume.model.ledger import Filter, Row
from natsume.model.limits import FIND_MAX
from natsume.model.task import State
from natsume.service.ledger import Ledger
from natsume.settings import Settings

if TYPE_CHECKING:
    from natsume.adapters.nats.broker import Broker

_ACTOR: Final = "its name alone if only one has it, * for any text. It need not be installed any more."
_TIME: Final = "a time (UTC if it names no zone), or an age as 30m, 2h, 7d"
Texts = list[str] | None
Time = str | None


def list_tasks(
    context: typer.Context,
    state: Annotated[list[State] | None, typer.Option(help="Those in this state; may be given several times.")] = None,
    actor: Annotated[Texts, typer.Option(help=f"Those of this actor; {_ACTOR}")] = None,
    owner: Annotated[Texts, typer.Option(help="Those of this owner, likewise; an empty one: those without.")] = None,
    tenant: Annotated[Texts, typer.Option(help="Those of this tenant (VO); an empty one: those without.")] = None,
    worker: Annotated[Texts, typer.Option(help="Those that this worker ran last; * stands for any text.")] = None,
    token: Annotated[Texts, typer.Option("--id", help="Those with this token; * stands for any text.")] = None,
    parent: Annotated[Texts, typer.Option(help="The children of this task.")] = None,
    root: Annotated[Texts, typer.Option(help="All descendants of this task.")] = None,
    join: Annotated[Texts, typer.Option(help="The members of this join.")] = None,
    reason: Annotated[Texts, typer.Option(help="Dead letters with this reason.")] = None,
    label: Annotated[Texts, typer.Option(metavar="NAME=VALUE", help="Those with this label; with all of them.")] = None,
    after: Annotated[Time, typer.Option(help=f"Enqueued after {_TIME}.")] = None,
    before: Annotated[Time, typer.Option(help="Enqueued before, likewise.")] = None,
    started_after: Annotated[Time, typer.Option(help="Started after.")] = None,
    started_before: Annotated[Time, typer.Option(help="Started before.")] = None,
    finished_after: Annotated[Time, typer.Option(help="Ended after.")] = None,
    finished_before: Annotated[Time, typer.Option(help="Ended before.")] = None,
    heartbeat_after: Annotated[Time, typer.Option(help="Last heard of after.")] = None,
    heartbeat_before: Annotated[Time, typer.Option(help="Last heard of before.")] = None,
    cancel_requested: Annotated[
        bool | None, typer.Option("--cancel-requested/--no-cancel-requested", help="Whether somebody cancelled them.")
    ] = None,
    consumed: Annotated[
        bool | None, typer.Option("--consumed/--not-consumed", help="Whether their owners have seen their ends.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many; JSON as well.")] = 100,
    as_json: AsJson = False,
) -> None:
    """List the tasks for which all of the options hold, newest first."""
    settings = session_of(context).settings
    installed = cache(partial(Registry.load, settings.prefixes))
    wanted = Filter(
        states=_values(state),
        actors=_values([_full(one, installed) for one in actor or []]),
        owners=_values(owner),
        tenants=_values(tenant),
        workers=_values(worker),
        ids=_values(token),
        parents=_values(parent),
        roots=_values(root),
        joins=_values(join),
        reasons=_values(reason),
        labels=labels_of(label) if label else None,
        enqueued_after=point(after, "--after"),
        enqueued_before=point(before, "--before"),
        started_after=point(started_after, "--started-after"),
        started_before=point(started_before, "--started-before"),
        finished_after=point(finished_after, "--finished-after"),
        finished_before=point(finished_before, "--finished-before"),
        heartbeat_after=point(heartbeat_after, "--heartbeat-after"),
        heartbeat_before=point(heartbeat_before, "--heartbeat-before"),
        cancel_requested=cancel_requested,
        consumed=consumed,
    )
    found = asyncio.run(_list(settings, wanted, limit, as_json))
    if not found:
        _doubt(actor or [], installed)


@asynccontextmanager
async def asking(settings: Settings) -> AsyncIterator[tuple[Ledger, "Broker"]]:
    """The ledger and the records, for an operator."""
    from natsume.adapters.sql.asked import AskedLedger  # noqa: PLC0415 - `--help` need not load either
    from natsume.cli.looking import looking  # noqa: PLC0415

    async with looking(settings) as broker:
        ledger = Ledger(broker.inquiries, AskedLedger(settings), Registry)
        try:
            yield ledger, broker
        finally:
            await ledger.close()


async def _list(settings: Settings, wanted: Filter, limit: int, as_json: bool) -> bool:
    """Print them; whether there were any."""
    rows: list[dict[str, Any]] = []
    array = Array() if as_json else None
    place, left, found = None, limit, False
    async with asking(settings) as (ledger, _):
        while left > 0:
            page = await ledger.find(wanted, count=min(left, FIND_MAX), after=place)
            for row in page.tasks:
                if array is not None:
                    array.add(row_of(row))
                else:
                    rows.append({name: value for name, value in row_of(row).items() if name in _TABLE})
            left, place, found = left - len(page.tasks), page.next, found or bool(page.tasks)
            if place is None:
                break
    if array is not None:
        array.end()
        return found
    show_rows(rows, False, "there are no such tasks")
    if place is not None:
        typer.echo(f"natsume: and more; use --limit, or --before {rows[-1]['submitted_at']}", err=True)
    return found


def _full(name: str, installed: Callable[[], Registry]) -> str:
    """The actor that a name alone means; of a class that is gone the tasks are there, whatever its group was."""
    if not name or "*" in name or ":" in name:
        return name
    registry = installed()
    if any(actor.name.endswith(f":{name}") for actor in registry.actors):
        return registry.find(name).name
    return f"*:{name}"


def _doubt(names: list[str], installed: Callable[[], Registry]) -> None:
    """Say of a list that is empty which of these actors are none here, for one may be misspelt."""
    for name in names:
        if name and "*" not in name:
            try:
                installed().find(name)
            except UnknownActor as error:
                typer.echo(f"natsume: {error}", err=True)


def row_of(row: Row) -> dict[str, Any]:
    """A task of a list, as a person or a program reads it; times are ISO 8601 in UTC."""
    return {
        **{name: getattr(row, name) for name in ("id", "actor")},
        "state": str(row.state),
        **{name: getattr(row, name) for name in ("lane", "owner", "tenant", "parent", "attempts")},
        **{name: _moment(getattr(row, name)) for name in _MOMENTS},
        **{name: getattr(row, name) for name in ("worker", "error", "reason")},
        "labels": msgspec.json.decode(row.labels) if row.labels else None,
        **{name: getattr(row, name) for name in ("progress_done", "progress_total", "cancel_requested", "consumed")},
    }


_MOMENTS: Final = ("submitted_at", "started_at", "finished_at", "due_at", "heartbeat_at")
_TABLE: Final = frozenset(
    {"id", "actor", "state", "lane", "owner", "tenant", "attempts", "submitted_at", "finished_at"}
)


def _moment(at: float | None) -> str | None:
    return None if at is None else timestamp(at)


def _values(given: list[Any] | None) -> tuple[Any, ...] | None:
    """What a field of the filter is to be: not asked, or any of these; one that is empty alone asks for none."""
    return None if not given else () if given == [""] else tuple(given)
