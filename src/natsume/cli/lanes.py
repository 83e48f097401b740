"""`natsume lanes`: what waits, since when, and whether that is good."""

import asyncio
import math
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from natsume.actors.registry import Registry
from natsume.cli.session import new_app, session_of
from natsume.cli.table import AsJson, show_rows
from natsume.core.lanes import Judgement, Reading, judge, judge_effects, judge_waiters
from natsume.settings import Settings

app = new_app()


@app.command()
def lanes(
    context: typer.Context,
    window_s: Annotated[
        float, typer.Option(min=0.0, max=600.0, help="How far apart to read background lanes that hold something.")
    ] = 1.0,
    as_json: AsJson = False,
) -> None:
    """Show what waits on each lane and for the conductor, and whether that is good.

    A backlog is bad on a realtime lane, bad on a normal one if it lasts, and bad on a background one
    if it only grows. The counts by actor include what workers have in hand; `batches` says of each batching actor
    how many calls its tasks make at the fewest.
    """
    show_rows(asyncio.run(_rows(session_of(context).settings, window_s)), as_json, "")


async def _rows(settings: Settings, window_s: float) -> list[dict[str, Any]]:
    from natsume.adapters.nats.lanes import count_by_actor, read_effects, read_lanes  # noqa: PLC0415 - not for --help
    from natsume.cli.looking import looking  # noqa: PLC0415

    async with looking(settings) as broker:
        readings = await read_lanes(broker, window_s)
        effects = await read_effects(broker)
        counts = await count_by_actor(broker)
        locks = await broker.locks.standing()
    most = {actor.name: actor.batching.most for actor in Registry.load(settings.prefixes).actors if actor.batching}
    rows = [_row(lane, reading, counts[lane], judge(lane, readings), most) for lane, reading in readings.items()]
    waiters = sum(lock.waiters for lock in locks)
    if waiters:
        rows.append(_row("locks", Reading(waiters), {}, judge_waiters(locks), {}))
    return [*rows, _row("effects", effects, {}, judge_effects(effects), {})]


def _row(
    lane: str, reading: Reading, actors: dict[str, int], judgement: Judgement, most: Mapping[str, int]
) -> dict[str, Any]:
    return {
        "lane": str(lane),
        "pending": reading.pending,
        "in_flight": reading.in_flight,
        "waiting_pulls": reading.waiting_pulls,
        "redelivered": reading.redelivered,
        "oldest_s": None if reading.oldest_s is None else round(reading.oldest_s, 3),
        "actors": actors,
        "batches": {actor: math.ceil(count / most[actor]) for actor, count in actors.items() if actor in most},
        "judgement": judgement.word,
        "sentence": ": ".join(filter(None, (judgement.sentence, judgement.advice))),
    }
