"""Actors that tick fast, and what is known of their runs."""

import asyncio
from dataclasses import dataclass
from typing import ClassVar

from natsume import BaseTask, TaskInfo
from natsume.base_task import PeriodicBaseTask, PeriodicVoAwareBaseTask
from natsume.enums import CatchUp, Overlap
from natsume.schedules import IntervalSeconds, RRuleSchedule

EVERY_SECOND = IntervalSeconds(1)


@dataclass
class Beat(PeriodicBaseTask):
    default_schedule = EVERY_SECOND

    async def execute(self):
        return None


@dataclass
class Odd(PeriodicBaseTask):
    """An interval that no cron expression says: each occurrence is armed by the one before."""

    default_schedule = IntervalSeconds(7)

    async def execute(self):
        return None


@dataclass
class Rule(PeriodicBaseTask):
    default_schedule = RRuleSchedule("FREQ=SECONDLY;INTERVAL=2")

    async def execute(self):
        return None


@dataclass
class Hourly(PeriodicBaseTask):
    default_schedule = IntervalSeconds(3600)

    async def execute(self):
        return None


@dataclass
class Disabled(PeriodicBaseTask):
    default_schedule = EVERY_SECOND
    _enabled = False

    async def execute(self):
        return None


@dataclass
class PerVo(PeriodicVoAwareBaseTask):
    default_schedule = EVERY_SECOND

    async def execute(self):
        return self.vo


@dataclass
class PerVoRule(PeriodicVoAwareBaseTask):
    """Armed occurrence by occurrence, with a child."""

    default_schedule = RRuleSchedule("FREQ=SECONDLY;INTERVAL=2")

    async def execute(self, info: TaskInfo):
        return [self.vo, info.tenant, await Plain(self.vo).schedule()]


@dataclass
class RuleAll(PeriodicBaseTask):
    default_schedule = RRuleSchedule("FREQ=SECONDLY;INTERVAL=2")
    catch_up = CatchUp.ALL

    async def execute(self):
        return None


@dataclass
class RuleSkip(PeriodicBaseTask):
    default_schedule = RRuleSchedule("FREQ=SECONDLY;INTERVAL=2")
    catch_up = CatchUp.SKIP

    async def execute(self):
        return None


@dataclass
class Long(PeriodicBaseTask):
    """Runs until it is told to end."""

    default_schedule = EVERY_SECOND
    running: ClassVar[int] = 0
    most: ClassVar[int] = 0
    end: ClassVar[asyncio.Event]

    async def execute(self):
        cls = type(self)
        cls.running += 1
        cls.most = max(cls.most, cls.running)
        try:
            await cls.end.wait()
        finally:
            cls.running -= 1


@dataclass
class LongSkip(Long):
    overlap = Overlap.SKIP


@dataclass
class LongAll(Long):
    overlap = Overlap.ALL


@dataclass
class EachOne(PeriodicBaseTask):
    default_schedule = EVERY_SECOND
    catch_up = CatchUp.ALL
    runs: ClassVar[list[str]] = []

    async def execute(self, info: TaskInfo):
        self.runs.append(info.id)


@dataclass
class OnlyFresh(PeriodicBaseTask):
    default_schedule = EVERY_SECOND
    catch_up = CatchUp.SKIP

    async def execute(self):
        return None


@dataclass
class Plain(BaseTask):
    text: str

    async def execute(self):
        return self.text


ALL = {
    f"t:{cls.__name__}": cls
    for cls in (Beat, Odd, Rule, RuleAll, RuleSkip, Disabled, PerVo, PerVoRule, EachOne, OnlyFresh, Plain)
}
