"""What the applied tasks file changes of an actor while it runs: its retries and its limits."""

from dataclasses import fields, is_dataclass, replace
from typing import Final

import msgspec

from natsume.actors.registry import Actor
from natsume.base_task import BaseTask
from natsume.model.config import Applied, RetriesConfig, SizeConfig, SizesConfig, TaskConfig, TasksConfig, Unreadable
from natsume.retry_policies import ExponentialBackoff, RetryPolicyBase

LIMITS: Final = ("timeout_s", "cpu_limit_s", "memory_limit_mb")
"""What a try of a task may take, as its class and the tasks file call it."""


class Overrides:
    """Gives each task the actor that the configuration makes of it; costs nothing where nothing is configured."""

    def __init__(self) -> None:
        self._config: TasksConfig | None = None
        self._actors: dict[tuple[str, str | None], Actor] = {}

    def take(self, applied: Applied | Unreadable | None) -> None:
        """Let this configuration hold from the next start of a task on."""
        config = applied.config if isinstance(applied, Applied) else None
        says = config is not None and (config.common or config.vo_overrides or config.sizes != SizesConfig())
        self._config = config if says else None
        self._actors = {}

    def __call__(self, actor: Actor, tenant: str | None) -> Actor:
        """The actor as it runs for this tenant (VO)."""
        if self._config is None:
            return actor
        vo = tenant if tenant in self._config.vo_overrides else None
        known = self._actors.get((actor.name, vo))
        if known is None:
            known = self._actors[actor.name, vo] = configured(
                sized(actor, self._config.sizes), self._config.for_task(actor.name, vo)
            )
        return known


def sized(actor: Actor, sizes: SizesConfig) -> Actor:
    """An actor with what its size may take, where its class says nothing."""
    config: SizeConfig = getattr(sizes, actor.lane.size.value)
    silent = [name for name in LIMITS if getattr(actor, name) == getattr(BaseTask, name)]
    given = {name: value for name in silent if (value := getattr(config, name)) is not None}
    return replace(actor, **given) if given else actor


def configured(actor: Actor, config: TaskConfig) -> Actor:
    """An actor with what is configured of it."""
    given = {name: value for name in LIMITS if (value := getattr(config.limits, name)) is not None}
    if given:
        actor = replace(actor, **given)
    return actor if config.retries == RetriesConfig() else with_retries(actor, config.retries)


def with_retries(actor: Actor, retries: RetriesConfig) -> Actor:
    """An actor whose policy has these values."""
    return replace(actor, retry_policy=policy(actor.retry_policy, retries), retries=retries)


def policy(own: RetryPolicyBase, retries: RetriesConfig) -> RetryPolicyBase:
    """A policy with these values; one that is not exponential itself makes way for one that is."""
    given = {name: value for name, value in msgspec.structs.asdict(retries).items() if value is not None}
    exponential = isinstance(own, ExponentialBackoff) and is_dataclass(own)
    if exponential and {field.name for field in fields(own) if field.init} >= given.keys():  # type: ignore[arg-type]
        return replace(own, **given)  # type: ignore[type-var]
    return ExponentialBackoff(**given)
