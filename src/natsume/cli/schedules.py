"""`natsume schedules`: what ticks, when it did last and does next; pause it, trigger it, make ticks up."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
import typer

from natsume.cli.session import group_app, session_of
from natsume.cli.table import AsJson, AsJsonObject, show_one, show_rows
from natsume.exceptions import UsageError
from natsume.model.config import Unreadable
from natsume.settings import Settings

if TYPE_CHECKING:  # `--help` need not load the broker
    from natsume.cli.ticking import Timetable

app = group_app("List, pause, trigger and make up what ticks.")

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="group:Name/instance[/vo], or group:Name for all of an actor.")
]
_BACKFILL_MAX: Final = 10_000


@app.command("ls")
def list_schedules(context: typer.Context, as_json: AsJson = False) -> None:
    """List the schedules with their last and next times."""

    async def look(timetable: "Timetable") -> list[dict[str, Any]]:
        return [*map(timetable.row, timetable.keys), *timetable.foreign()]

    show_rows(
        _run(context, look), as_json, "nothing ticks here; a conductor or `natsume schedules sync` arms schedules"
    )


@app.command()
def show(
    context: typer.Context,
    name: Name,
    count: Annotated[int, typer.Option(min=1, max=1000, help="How many of the next times.")] = 5,
    as_json: AsJsonObject = False,
) -> None:
    """Show one schedule, its arguments and its next times."""

    async def look(timetable: "Timetable") -> dict[str, Any]:
        keys = timetable.named(name)
        if len(keys) > 1:
            raise UsageError(f"{name} has {len(keys)} schedules: name one, such as {keys[0].name}")
        return timetable.whole(keys[0], count)

    show_one(_run(context, look), as_json)


@app.command()
def trigger(context: typer.Context, name: Name, as_json: AsJson = False) -> None:
    """Run a schedule's task now, besides its ticks, and print its id."""
    show_rows(_run(context, lambda timetable: timetable.trigger(name)), as_json, "")


@app.command()
def pause(context: typer.Context, name: Name, as_json: AsJson = False) -> None:
    """Let a schedule tick no more until it is resumed, whatever code and configuration say."""
    show_rows(_run(context, lambda timetable: timetable.pause(name)), as_json, "")


@app.command()
def resume(context: typer.Context, name: Name, as_json: AsJson = False) -> None:
    """Let a paused schedule tick again from now on."""
    show_rows(_run(context, lambda timetable: timetable.resume(name)), as_json, "")


@app.command()
def backfill(
    context: typer.Context,
    name: Name,
    after: Annotated[str, typer.Option("--from", help="From when on, as 2026-11-21T06:00; UTC if it names no zone.")],
    until: Annotated[str | None, typer.Option("--to", help="Until when; default: now.")] = None,
    as_json: AsJson = False,
) -> None:
    """Submit the ticks of a past time that no record knows, under the ids they would have had."""

    async def make_up(timetable: "Timetable") -> list[dict[str, Any]]:
        first = _moment(after) - timedelta(microseconds=1)
        last = _moment(until) if until else datetime.fromtimestamp(timetable.now, UTC)
        return await timetable.backfill(name, first, last, _BACKFILL_MAX)

    show_rows(_run(context, make_up), as_json, "nothing was due then")


@app.command()
def sync(
    context: typer.Context,
    prune: Annotated[
        bool, typer.Option("--prune", help="Remove also the schedules of actors that are not installed here.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Arm, replace and remove schedules as code and configuration say, without a conductor."""
    show_rows(_run(context, lambda timetable: timetable.sync(prune)), as_json, "nothing to change")


def _run(context: typer.Context, command: Callable[["Timetable"], Any]) -> Any:
    async def run() -> Any:
        async with _timetable(session_of(context).settings) as timetable:
            return msgspec.to_builtins(await command(timetable))

    return asyncio.run(run())


@asynccontextmanager
async def _timetable(settings: Settings) -> AsyncIterator["Timetable"]:
    from natsume.actors.registry import Registry  # noqa: PLC0415
    from natsume.cli.ticking import Timetable  # noqa: PLC0415 - `--help` need not load the broker
    from natsume.compose.conductor import reconciler_of  # noqa: PLC0415
    from natsume.connected import connected  # noqa: PLC0415

    async with connected(settings, name="natsume schedules") as broker:
        registry = Registry.load(settings.prefixes)
        reconciler = reconciler_of(broker, settings, registry)
        applied, _ = await broker.config.read()
        if isinstance(applied, Unreadable):
            raise UsageError(f"{applied}; use the one that applied it")
        reconciler.configure(applied)
        timetable = Timetable(broker.schedules, broker.outgoing, reconciler, broker.now())
        await timetable.read()
        yield timetable


def _moment(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{text!r} is no time; write one such as 2026-11-21T06:00") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)
