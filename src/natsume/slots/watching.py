"""Looks at what the tasks in slots take, with the processes that they started, where the kernel alone cannot say."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Final

import psutil

from natsume.slots.resources import excess
from natsume.slots.shortages import Shortages
from natsume.slots.slot import Slot

_log = logging.getLogger(__name__)

_EVERY_S: Final = 0.25


async def watch(slots: Mapping[int, Slot], shortages: Shortages) -> None:
    """End each slot whose task exceeds a limit, until cancelled."""
    while True:
        await asyncio.sleep(_EVERY_S)
        shortages.look()
        watched = [slot for slot in slots.values() if slot.busy and slot.limits.watched and slot.pid]
        if watched:
            seen = await asyncio.to_thread(_look, [slot.pid for slot in watched])
            for slot, (cpu_s, resident) in zip(watched, seen, strict=True):
                _judge(slot, cpu_s, resident)


def _judge(slot: Slot, cpu_s: float, resident: int) -> None:
    run = slot.busy
    if run is None or run.actor is None or slot.cpu_began is None:
        return
    slot.peak_bytes = max(slot.peak_bytes, resident)
    exceeded = excess(run.actor.name, slot.limits, cpu_s - slot.cpu_began, resident)
    if exceeded is not None:
        slot.exceed(exceeded)


def _look(pids: list[int]) -> list[tuple[float, int]]:
    return [_taken(pid) for pid in pids]


def _taken(pid: int) -> tuple[float, int]:
    """Seconds of processors and resident bytes of a process and its descendants; those that end meanwhile take none."""
    try:
        root = psutil.Process(pid)
        family = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0.0, 0
    cpu_s, resident = 0.0, 0
    for one in family:
        try:
            times, memory = one.cpu_times(), one.memory_info()
        except psutil.NoSuchProcess:
            continue
        cpu_s += times.user + times.system + times.children_user + times.children_system
        resident += memory.rss
    return cpu_s, resident
