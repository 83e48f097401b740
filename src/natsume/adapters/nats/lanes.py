"""What waits on the lanes and for the reactor, as the broker's consumers tell it."""

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import msgspec

from natsume.adapters.nats.broker import Broker
from natsume.adapters.nats.direct import DirectReader
from natsume.core.lanes import Reading
from natsume.enums import Priority
from natsume.exceptions import BrokerError
from natsume.model.subject import LANES, RECORDS, TASKS, Lane, parse_ready

REACTOR: Final = "reactor"
_EFFECTS: Final = ("record.done.effects.>", "record.done.dead.>")
_UNKNOWN: Final = "?"


async def read_lanes(broker: Broker, window_s: float = 0.0) -> dict[Lane, Reading]:
    """A reading of each lane; background lanes that hold something are read twice, `window_s` apart."""
    reader = DirectReader(broker.wire, TASKS)
    try:
        found = await asyncio.gather(*(_reading(broker, reader, TASKS, lane.consumer, [lane.filter]) for lane in LANES))
        readings = dict(zip(LANES, found, strict=True))
        held = [lane for lane in LANES if lane.priority is Priority.BACKGROUND and readings[lane].pending]
        if window_s and held:
            await asyncio.sleep(window_s)
            for lane in held:
                again = await _reading(broker, reader, TASKS, lane.consumer, [lane.filter])
                before = readings[lane].pending
                readings[lane] = msgspec.structs.replace(again, pending_before=before, window_s=window_s)
        return readings
    finally:
        reader.close()


async def read_effects(broker: Broker) -> Reading:
    """A reading of the reactor's consumer."""
    reader = DirectReader(broker.wire, RECORDS)
    try:
        return await _reading(broker, reader, RECORDS, REACTOR, _EFFECTS)
    finally:
        reader.close()


async def count_by_actor(broker: Broker) -> dict[Lane, dict[str, int]]:
    """How many tasks of each actor lie on each lane, waiting or in a worker's hands."""
    counts: dict[Lane, dict[str, int]] = {lane: {} for lane in LANES}
    offset = 0
    while True:
        info = await broker.stream_info(TASKS, subjects_filter="task.>", offset=offset)
        page: Mapping[str, int] = info["state"].get("subjects") or {}
        for subject, count in page.items():
            lane, actor = parse_ready(subject)
            counts[lane][actor or _UNKNOWN] = counts[lane].get(actor or _UNKNOWN, 0) + count
        offset += len(page)
        if not page or offset >= info.get("total", 0):
            return counts


async def _reading(
    broker: Broker, reader: DirectReader, stream: str, consumer: str, filters: tuple[str, ...] | list[str]
) -> Reading:
    info = await _consumer_info(broker, stream, consumer)
    now = datetime.fromisoformat(info["ts"])
    oldest = None
    if info["num_pending"]:
        oldest = await _oldest_s(now, reader, info["delivered"]["stream_seq"] + 1, filters)
    moments = [info[part].get("last_active") for part in ("delivered", "ack_floor")]
    ages = [_age_s(now, moment) for moment in moments if moment]
    return Reading(
        info["num_pending"],
        info["num_ack_pending"],
        info["num_waiting"],
        info["num_redelivered"],
        oldest,
        min(ages, default=None),
    )


async def _consumer_info(broker: Broker, stream: str, consumer: str) -> dict[str, Any]:
    answer = msgspec.json.decode(await broker.request(f"$JS.API.CONSUMER.INFO.{stream}.{consumer}", b""))
    if "error" in answer:
        said = answer["error"]["description"]
        raise BrokerError(
            f"consumer {stream}/{consumer}: {said}; run `natsume topology apply`", answer["error"].get("err_code", 0)
        )
    return dict(answer)


async def _oldest_s(
    now: datetime, reader: DirectReader, sequence: int, filters: tuple[str, ...] | list[str]
) -> float | None:
    """The age of the first message from here on that one of the filters takes."""
    first = [await reader.after(subject, sequence, 1) for subject in filters]
    return max((_age_s(now, found[0].at) for found in first if found), default=None)


def _age_s(now: datetime, moment: str) -> float:
    return max(0.0, (now - datetime.fromisoformat(moment)).total_seconds())
