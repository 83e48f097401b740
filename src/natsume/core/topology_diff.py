"""How the streams and consumers of a broker differ from their definition, and what may be changed."""

from typing import Any, Final, Literal

import msgspec

from natsume.model import times
from natsume.model.subject import TASKS

Config = dict[str, Any]

BYTES_PER_ID: Final = 500
"""Memory that the broker keeps for each id in RECORDS (measured: 455 MB for a million)."""

IMMUTABLE: Final[dict[str, frozenset[str]]] = {
    "stream": frozenset({"retention", "storage"}),
    "consumer": frozenset({"ack_policy", "deliver_policy", "max_waiting", "replay_policy"}),
}
"""Fields that the server never changes; known here so that a refusal comes before any change."""

_UNORDERED = frozenset({"subjects", "filter_subjects"})
_NOTHING: Final[tuple[object, ...]] = (None, False, 0, "", [], {})


class Entity(msgspec.Struct, frozen=True):
    """A stream or a durable consumer as its file defines it."""

    kind: Literal["stream", "consumer"]
    stream: str
    name: str
    config: Config

    @property
    def label(self) -> str:
        """How operators call it: `TASKS`, `KV_locks`, `TASKS/normal-small`."""
        return self.name if self.kind == "stream" else f"{self.stream}/{self.name}"


class Difference(msgspec.Struct, frozen=True):
    """One field that the broker has otherwise than the file; `there` is None where the entity is missing."""

    entity: str
    field: str
    there: Any
    here: Any


class Change(msgspec.Struct, frozen=True):
    """What `apply` did to an entity."""

    entity: str
    action: Literal["created", "updated"]
    fields: tuple[str, ...] = ()


def differences(entity: Entity, there: Config | None) -> list[Difference]:
    """The fields named by the file that the broker has otherwise; others are nobody's business."""
    if there is None:
        return [Difference(entity.label, "", None, entity.config["name"])]
    return [
        Difference(entity.label, field, there.get(field), here)
        for field, here in entity.config.items()
        if not _same(field, there.get(field), here)
    ]


def _same(field: str, there: object, here: object) -> bool:
    if field in _UNORDERED and isinstance(there, list) and isinstance(here, list):
        return sorted(there) == sorted(here)
    # The server leaves out what is zero.
    return there == here or (there in _NOTHING and here in _NOTHING)


def updated(entity: Entity, there: Config) -> Config:
    """The configuration to send: the file's fields over those the broker has, so that others stay."""
    merged = there | entity.config
    # One filter and several exclude each other.
    if "filter_subject" in entity.config:
        merged.pop("filter_subjects", None)
    elif "filter_subjects" in entity.config:
        merged.pop("filter_subject", None)
    return merged


def configured(entity: Entity, ack_wait_s: float | None, replicas: int | None) -> Entity:
    """The entity with what is configured put above what its file says."""
    config = entity.config
    if entity.kind == "consumer" and entity.stream == TASKS and ack_wait_s is not None:
        config = config | {"ack_wait": round(ack_wait_s * 1e9)}
    if entity.kind == "stream" and replicas is not None:
        config = config | {"num_replicas": replicas}
    return msgspec.structs.replace(entity, config=config)


def existing(entity: Entity, replicas: int | None) -> Entity:
    """The entity as it is compared: the file's one replica is only where a stream starts from."""
    if entity.kind == "stream" and replicas is None:
        config = {field: value for field, value in entity.config.items() if field != "num_replicas"}
        return msgspec.structs.replace(entity, config=config)
    return entity


def refusal(entity: Entity, found: list[Difference]) -> str | None:
    """Why these differences cannot be applied, in one sentence; None if they can."""
    for difference in found:
        if difference.field in IMMUTABLE[entity.kind]:
            return (
                f"{entity.kind} {entity.label} has {difference.field} {difference.there!r}, its file says "
                f"{difference.here!r}, and the server never changes that; nothing was changed: "
                f"{_way_out(entity)}"
            )
    return None


def _way_out(entity: Entity) -> str:
    if entity.kind == "consumer":
        command = f"nats consumer rm {entity.stream} {entity.name}"
        return f"remove it with `{command}` (its messages stay) and apply again"
    return f"back it up with `nats stream backup {entity.name} DIR`, remove it and apply again"


def over_budget(expected_per_hour: int, memory_budget_mb: int) -> str | None:
    """Why the broker's memory does not suffice for this many tasks an hour; None if it does."""
    ids = expected_per_hour * times.PLAIN_TTL_S / 3600
    need_mb = ids * BYTES_PER_ID / 1e6
    if need_mb <= memory_budget_mb:
        return None
    return (
        f"{expected_per_hour} tasks an hour keep {ids:.0f} ids in RECORDS "
        f"for its horizon of {times.PLAIN_TTL_S:.0f} s, {need_mb:.0f} MB of the broker's memory "
        f"at {BYTES_PER_ID} bytes each, above the budget of {memory_budget_mb} MB; nothing was changed"
    )
