"""What a worker has of the world, in one place."""

from collections.abc import Callable

from natsume.actors.registry import Actor
from natsume.base_task import BaseTask
from natsume.model.lock import Blocked, Want
from natsume.ports import (
    Boots,
    Chunks,
    Commits,
    Deliveries,
    Inquiries,
    Joins,
    Leases,
    Limiters,
    Outgoing,
    Presence,
    Records,
    Ticks,
)
from natsume.runtime.limiting import RuleOf, as_declared, rule_of
from natsume.runtime.opening import Override, as_it_is
from natsume.runtime.strikes import none_stands


class Ports:
    """What a worker carries effects out through; the deliveries are known once it has started."""

    def __init__(
        self,
        records: Records,
        commits: Commits,
        outgoing: Outgoing,
        leases: Leases,
        limiters: Limiters,
        chunks: Chunks,
        joins: Joins,
        inquiries: Inquiries,
        ticks: Ticks,
        now: Callable[[], float],
        boots: Boots,
        presence: Presence,
        overrides: Override = as_it_is,
        rule: RuleOf = rule_of,
        struck: Callable[[Actor, BaseTask], Blocked | None] = none_stands,
        of_block: Callable[[Want, Actor, str | None], Want] = as_declared,
    ) -> None:
        self.records = records
        self.commits = commits
        self.outgoing = outgoing
        self.leases = leases
        self.limiters = limiters
        self.chunks = chunks
        self.joins = joins
        self.inquiries = inquiries
        self.ticks = ticks
        self.now = now
        self.boots = boots
        self.presence = presence
        self.overrides = overrides
        self.rule = rule
        self.struck = struck
        self.of_block = of_block
        self.deliveries: Deliveries
