"""Brings the broker's streams, consumers and buckets to what their files say.

Speaks the raw JetStream API through a `Request`, so that any connection will do. Running it in several
processes at once is safe: creating what is there as wanted is no error to the server, and who meets
another's creation looks again.
"""

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import msgspec

from natsume.adapters.nats.request import Request
from natsume.adapters.nats.topology_files import files, load
from natsume.core import topology_diff
from natsume.core.topology_diff import Change, Config, Difference, Entity
from natsume.exceptions import BrokerError

__all__ = ["apply", "diff", "ensure", "files", "load", "show"]

MEMORY_BUDGET_MB: Final = 2048
"""Memory that the broker's records may take where nobody says otherwise."""

_STREAM_MISSING = 10059
_CONSUMER_MISSING = 10014
_STREAM_IN_USE = 10058
_CONSUMER_EXISTS = 10148
_CONSUMER_GONE = 10149
_OVERTAKEN = frozenset({_STREAM_IN_USE, _CONSUMER_EXISTS, _CONSUMER_GONE})
_ROUNDS_MAX = 5


async def apply(
    request: Request,
    *,
    ack_wait_s: float | None = None,
    replicas: int | None = None,
    expected_per_hour: int | None = None,
    memory_budget_mb: int = MEMORY_BUDGET_MB,
    root: Path | None = None,
) -> list[Change]:
    """Creates what is missing and updates what the files say otherwise; returns what it did.

    BrokerError, before anything is changed, if a change is impossible or the expected rate does not fit.
    """
    if sentence := topology_diff.over_budget(expected_per_hour or 0, memory_budget_mb):
        raise BrokerError(sentence)
    entities = [topology_diff.configured(entity, ack_wait_s, replicas) for entity in load(root)]
    changes: list[Change] = []
    for _ in range(_ROUNDS_MAX):
        there = await _there(request, entities)
        found = _found(entities, there, replicas)
        _refuse(entities, found)
        done, overtaken = await _settle(request, entities, there, found)
        changes += done
        if not overtaken:
            return changes
    raise BrokerError("others keep changing the topology while it is applied; apply again when they are done")


async def ensure(
    request: Request,
    *,
    ack_wait_s: float | None = None,
    replicas: int | None = None,
    root: Path | None = None,
) -> None:
    """Creates what is missing and touches nothing that is there."""
    entities = [topology_diff.configured(entity, ack_wait_s, replicas) for entity in load(root)]
    there = await _there(request, entities)
    missing = [entity for entity, config in zip(entities, there, strict=True) if config is None]
    await _in_order(request, missing, {})


async def diff(
    request: Request,
    *,
    ack_wait_s: float | None = None,
    replicas: int | None = None,
    root: Path | None = None,
) -> list[Difference]:
    """Every field that the broker has otherwise than the files and the configuration."""
    entities = [topology_diff.configured(entity, ack_wait_s, replicas) for entity in load(root)]
    found = _found(entities, await _there(request, entities), replicas)
    return [difference for differences in found for difference in differences]


async def show(request: Request, *, root: Path | None = None) -> list[dict[str, Any]]:
    """One row for each stream and consumer of the files: what is in it and what waits."""
    entities = load(root)
    answers = await asyncio.gather(*(_info(request, entity) for entity in entities))
    return [_row(entity, answer) for entity, answer in zip(entities, answers, strict=True)]


def _row(entity: Entity, answer: dict[str, Any] | None) -> dict[str, Any]:
    row: dict[str, Any] = {"entity": entity.label, "there": answer is not None}
    if answer is None:
        return row
    if entity.kind == "stream":
        state = answer["state"]
        return row | {
            "messages": state["messages"],
            "bytes": state["bytes"],
            "consumers": state["consumer_count"],
        }
    return row | {
        "pending": answer["num_pending"],
        "unacked": answer["num_ack_pending"],
        "redelivered": answer["num_redelivered"],
        "pulls": answer["num_waiting"],
    }


async def _there(request: Request, entities: list[Entity]) -> list[Config | None]:
    answers = await asyncio.gather(*(_info(request, entity) for entity in entities))
    return [None if answer is None else answer["config"] for answer in answers]


def _found(entities: list[Entity], there: list[Config | None], replicas: int | None) -> list[list[Difference]]:
    return [
        topology_diff.differences(topology_diff.existing(entity, replicas), config)
        for entity, config in zip(entities, there, strict=True)
    ]


def _refuse(entities: list[Entity], found: list[list[Difference]]) -> None:
    for entity, differences in zip(entities, found, strict=True):
        if sentence := topology_diff.refusal(entity, differences):
            raise BrokerError(sentence)


async def _settle(
    request: Request, entities: list[Entity], there: list[Config | None], found: list[list[Difference]]
) -> tuple[list[Change], bool]:
    """The changes that these differences led to, and whether another process was faster with one of them."""
    todo = [entity for entity, differences in zip(entities, found, strict=True) if differences]
    known = {e.label: config for e, config in zip(entities, there, strict=True) if config is not None}
    changes = [_change(differences) for differences in found if differences]
    outcome = await _in_order(request, todo, known)
    done = [change for change, settled in zip(changes, outcome, strict=True) if settled]
    return done, not all(outcome)


def _change(differences: list[Difference]) -> Change:
    entity = differences[0].entity
    if not differences[0].field:
        return Change(entity, "created")
    return Change(entity, "updated", tuple(difference.field for difference in differences))


async def _in_order(request: Request, todo: list[Entity], known: dict[str, Config]) -> list[bool]:
    """Streams first, then the consumers on them; each whether it was done, in the order of `todo`."""
    streams = [entity for entity in todo if entity.kind == "stream"]
    consumers = [entity for entity in todo if entity.kind == "consumer"]
    return [*await _send_all(request, streams, known), *await _send_all(request, consumers, known)]


async def _send_all(request: Request, todo: Iterable[Entity], known: dict[str, Config]) -> list[bool]:
    return await asyncio.gather(*(_send(request, entity, known.get(entity.label)) for entity in todo))


async def _send(request: Request, entity: Entity, there: Config | None) -> bool:
    """Creates or updates one entity; False if another process was faster."""
    config = entity.config if there is None else topology_diff.updated(entity, there)
    action = "create" if there is None else "update"
    if entity.kind == "stream":
        answer = await _api(request, f"STREAM.{action.upper()}.{entity.name}", config)
    else:
        body = {"stream_name": entity.stream, "config": config, "action": action}
        answer = await _api(request, f"CONSUMER.CREATE.{entity.stream}.{entity.name}", body)
    error = answer.get("error")
    if error is None:
        return True
    if error.get("err_code") in _OVERTAKEN:
        return False
    raise _refused(entity, action, error)


async def _info(request: Request, entity: Entity) -> dict[str, Any] | None:
    """What the server says about an entity; None if it is not there."""
    subject = f"STREAM.INFO.{entity.name}"
    if entity.kind == "consumer":
        subject = f"CONSUMER.INFO.{entity.stream}.{entity.name}"
    answer = await _api(request, subject)
    error = answer.get("error")
    if error is None:
        return answer
    if error.get("err_code") in (_STREAM_MISSING, _CONSUMER_MISSING):
        return None
    raise _refused(entity, "look up", error)


async def _api(request: Request, subject: str, body: Config | None = None) -> dict[str, Any]:
    answer = await request(f"$JS.API.{subject}", b"" if body is None else msgspec.json.encode(body))
    try:
        return msgspec.json.decode(answer, type=dict[str, Any])
    except msgspec.DecodeError as error:
        sentence = f"the broker gives no answer to $JS.API.{subject}; is JetStream enabled for this account?"
        raise BrokerError(sentence) from error


def _refused(entity: Entity, action: str, error: dict[str, Any]) -> BrokerError:
    said = error.get("description", "no reason given")
    code = int(error.get("err_code") or error.get("code") or 0)
    return BrokerError(f"the broker refuses to {action} {entity.kind} {entity.label}: {said} ({code})", code)
