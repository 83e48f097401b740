"""Gathers what `natsume doctor` judges; changes nothing, and what cannot be seen is a fact as well."""

import asyncio
import json
import time
import urllib.request
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit

from natsume.adapters.nats import topology
from natsume.adapters.nats.broker import Broker
from natsume.adapters.nats.lanes import read_effects, read_lanes
from natsume.core.diagnosis import Durability, Facts
from natsume.core.topology_diff import Difference
from natsume.exceptions import BrokerError, NatsumeError
from natsume.model.subject import TASKS
from natsume.settings import Settings

_MONITOR_PORT: Final = 8222
_MONITOR_S: Final = 1.0
_NS: Final = 1e9
_ANSWER_MAX: Final = 10_000_000
_CONNECTIONS_MAX: Final = 10_000


async def examine(
    settings: Settings, problems: list[str], *, monitor_url: str | None, ack_wait_s: float | None, window_s: float
) -> Facts:
    """The facts of the installation that these settings lead to."""
    monitor_url = monitor_url or _monitor_of(settings.nats_url)
    asked = asyncio.create_task(asyncio.to_thread(_durability, monitor_url))
    try:
        broker = await Broker.connect(settings, name="natsume doctor")
    except NatsumeError as error:
        await asked
        return Facts(settings.nats_url, unreachable=str(error), problems=tuple(problems))
    try:
        seen = await _seen(broker, ack_wait_s, window_s)
        if any(entry.ends_at is None for lock in seen.get("locks", ()) for entry in lock.entries):
            seen["connected"] = await asyncio.to_thread(_connected, monitor_url)
    finally:
        await broker.close()
    return Facts(
        settings.nats_url,
        version=broker.wire.server_version,
        durability=await asked,
        problems=tuple(problems),
        **seen,
    )


async def _seen(broker: Broker, ack_wait_s: float | None, window_s: float) -> dict[str, Any]:
    """What the broker tells of itself; where TASKS is missing there is nothing to read on its lanes."""
    try:
        differences = await topology.diff(broker.request, ack_wait_s=ack_wait_s)
    except BrokerError as error:
        return {"jetstream": str(error)}
    if ack_wait_s is None:  # then workers take what the broker has
        differences = [difference for difference in differences if difference.field != "ack_wait"]
    seen: dict[str, Any] = {"differences": tuple(map(_sentence, differences))}
    if any(not difference.field for difference in differences):
        return seen
    began = time.time()
    info = await broker.stream_info(TASKS)
    middle = (began + time.time()) / 2
    return seen | {
        "schedules_allowed": bool(info["config"].get("allow_msg_schedules")),
        "skew_s": datetime.fromisoformat(info["ts"]).timestamp() - middle,
        "lanes": await read_lanes(broker, window_s),
        "effects": await read_effects(broker),
        "locks": tuple(await broker.locks.standing()),
        "now": datetime.fromisoformat(info["ts"]).timestamp(),
    }


def _sentence(difference: Difference) -> str:
    if not difference.field:
        return f"{difference.entity} is missing"
    return f"{difference.entity} has {difference.field} {difference.there!r} instead of {difference.here!r}"


def _monitor_of(nats_url: str) -> str:
    first = nats_url.partition(",")[0].strip()
    host = urlsplit(first if "://" in first else f"nats://{first}").hostname or "127.0.0.1"
    return f"http://{host}:{_MONITOR_PORT}"


def _connected(monitor_url: str) -> tuple[str, ...] | None:
    """The names of all connections, as the monitoring endpoint says; None where it does not."""
    try:
        found = _asked(f"{monitor_url.rstrip('/')}/connz?limit={_CONNECTIONS_MAX}")
        names = tuple(str(one.get("name", "")) for one in found["connections"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return names if found.get("total", 0) <= len(names) else None


def _asked(url: str) -> Any:
    if urlsplit(url).scheme not in {"http", "https"}:
        raise ValueError(f"{url} is no http URL")
    with urllib.request.urlopen(url, timeout=_MONITOR_S) as answer:  # noqa: S310 - its scheme was looked at
        return json.loads(answer.read(_ANSWER_MAX))


def _durability(monitor_url: str) -> Durability:
    """What the monitoring endpoint says of the server's writes."""
    try:
        if urlsplit(monitor_url).scheme not in {"http", "https"}:
            return Durability(problem=f"{monitor_url} is no http URL")
        config = _asked(f"{monitor_url.rstrip('/')}/varz")["jetstream"]["config"]
    except (OSError, ValueError, KeyError) as error:
        return Durability(problem=f"{monitor_url}/varz does not tell ({error})")
    interval = config.get("sync_interval")
    if config.get("sync_always"):
        return Durability(sync_always=True)
    if not interval:
        return Durability(problem=f"{monitor_url}/varz does not name it")
    return Durability(sync_interval_s=interval / _NS)
