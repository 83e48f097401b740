"""Which dead letters a command means: by id, or by what they have in common."""

import re
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Final

import typer

from natsume.core.settling import DeadLetter, Wanted
from natsume.model.task import Reason
from natsume.service.replaying import DeadLetters

_AGE: Final = re.compile(r"(\d{1,9})([smhd])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}

Ids = Annotated[list[str] | None, typer.Argument(metavar="ID", help="The dead letters' ids.")]
ByActor = Annotated[str | None, typer.Option(help="Only those of this actor.")]
ByReason = Annotated[Reason | None, typer.Option(help="Only those with this reason.")]
ByTenant = Annotated[str | None, typer.Option(help="Only those of this tenant (VO).")]
ByOwner = Annotated[str | None, typer.Option(help="Only those of this owner.")]
After = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="Only those that died since: 2026-11-21T06:00 (UTC), or an age, as 30m, 2h, 7d."),
]
Before = Annotated[str | None, typer.Option(metavar="TIME", help="Only those that died before, likewise.")]


def wanted(
    actor: str | None,
    reason: Reason | None,
    tenant: str | None,
    owner: str | None,
    after: str | None,
    before: str | None,
) -> Wanted:
    """The filter that the options make."""
    return Wanted(actor, reason, tenant, owner, point(after, "--after"), point(before, "--before"))


def choice_of(
    ids: list[str] | None, wanted: Wanted, everything: bool
) -> Callable[[DeadLetters], AsyncIterator[DeadLetter]]:
    """The dead letters of these ids, or all open ones that the filter takes; refuses what makes no clear choice."""
    if ids and (everything or wanted != Wanted()):
        raise typer.BadParameter("give ids or a filter, not both")
    if not (ids or everything or wanted != Wanted()):
        raise typer.BadParameter("say which: ids, a filter such as --actor, or --all")
    return partial(_of_ids, ids) if ids else lambda letters: letters.ls(wanted)


async def _of_ids(ids: list[str], letters: DeadLetters) -> AsyncIterator[DeadLetter]:
    for letter in await letters.find(list(dict.fromkeys(ids))):
        yield letter


def point(text: str | None, option: str) -> float | None:
    """The Unix time that an option means, given as a time or as an age."""
    if text is None:
        return None
    age = _AGE.fullmatch(text)
    if age is not None:
        return time.time() - int(age[1]) * _SECONDS[age[2]]
    try:
        at = datetime.fromisoformat(text)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        hint = f"{text!r} is neither a time such as 2026-11-21T06:00 nor an age such as 2h"
        raise typer.BadParameter(hint, param_hint=option) from None
