"""When each schedule ticked last, as it is to stand in a broker that is made anew."""

import logging
from collections.abc import Mapping, Sequence

import msgspec

from natsume.actors.registry import Registry
from natsume.adapters.nats.schedules import RAN
from natsume.adapters.sql.ticks import SqlTicks
from natsume.config.agenda import agenda
from natsume.model.config import Applied, TasksConfig
from natsume.model.times import START_TTL_S

_log = logging.getLogger(__name__)


async def last_ticks(
    ticks: SqlTicks, registry: Registry, off: Sequence[str], kept: Mapping[str, bytes], now: float
) -> dict[str, bytes]:
    """The keys of the bucket `config` that say so, of the schedules that this code and this configuration ask for."""
    wanted = agenda(registry, _config(kept), off, now).wanted
    found = await ticks.last([key.id for key in wanted], now - START_TTL_S)
    return {RAN + schedule: msgspec.json.encode(ran) for schedule, ran in found.items()}


def _config(kept: Mapping[str, bytes]) -> TasksConfig:
    try:
        return msgspec.json.decode(kept["tasks"], type=Applied).config if "tasks" in kept else TasksConfig()
    except msgspec.MsgspecError as error:
        _log.warning("the tasks file is not read, so its schedules show no last time before they tick: %s", error)
        return TasksConfig()
