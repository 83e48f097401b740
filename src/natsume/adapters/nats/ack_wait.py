"""How long a dead worker's tasks stay away: what the lanes' consumers say, or what they are told to say."""

import asyncio
import logging
from typing import Any

import msgspec

from natsume.adapters.nats.request import Request
from natsume.enums import Size
from natsume.exceptions import BrokerError
from natsume.model.subject import LANES, TASKS, Lane

_log = logging.getLogger(__name__)
_NS = 1e9


async def agree(request: Request, size: Size, wanted_s: float | None) -> float:
    """The `ack_wait` of a size's lanes in seconds, the shortest if they differ; all have `wanted_s` if it is given."""
    lanes = [lane for lane in LANES if lane.size is size]
    configs = await asyncio.gather(*(_config(request, lane) for lane in lanes))
    if wanted_s is None:
        return float(min(config["ack_wait"] for config in configs)) / _NS
    wanted = round(wanted_s * _NS)
    stale = [config for config in configs if config["ack_wait"] != wanted]
    for config in stale:
        body = {"stream_name": TASKS, "config": config | {"ack_wait": wanted}, "action": "update"}
        await _api(request, f"CONSUMER.CREATE.{TASKS}.{config['name']}", body)
        before_s = config["ack_wait"] / _NS
        _log.info("ack_wait of lane %s is now %g s; it was %g s", config["name"], wanted_s, before_s)
    return wanted_s


async def _config(request: Request, lane: Lane) -> dict[str, Any]:
    answer = await _api(request, f"CONSUMER.INFO.{TASKS}.{lane.consumer}")
    return dict(answer["config"])


async def _api(request: Request, subject: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    answer = await request(f"$JS.API.{subject}", b"" if body is None else msgspec.json.encode(body))
    decoded = msgspec.json.decode(answer, type=dict[str, Any])
    if "error" in decoded:
        error = decoded["error"]
        raise BrokerError(f"the broker refuses {subject}: {error['description']}", error.get("err_code", 0))
    return decoded
