"""Unique tasks: what makes two tasks the same, and the claim by which one of them holds its place."""

from typing import Literal

import msgspec

from natsume.exceptions import UsageError
from natsume.model import limits
from natsume.model.record import Submitted


class Unique(msgspec.Struct, frozen=True):
    """No second task is taken in while one of the same arguments (or id) has not ended.

    With `period_s` the place is held for that long instead, whether the task ends sooner or later.
    """

    by: Literal["args", "id"] = "args"
    period_s: float | None = None

    def __post_init__(self) -> None:
        if self.by not in {"args", "id"}:
            raise UsageError(f'Unique(by={self.by!r}) cannot be; use "args" or "id"')
        if self.period_s is not None and not 1 <= self.period_s <= limits.CONFIGURED_S_MAX:
            raise UsageError(f"Unique(period_s={self.period_s!r}) cannot be; use 1 to {limits.CONFIGURED_S_MAX:g} s")


def unique_of(given: object) -> Unique | None:
    """What a submission says of its place: a Unique, or what it is to be `by`; UsageError for anything else."""
    if given is None or isinstance(given, Unique):
        return given
    if given in ("args", "id"):
        return Unique(by=given)
    raise UsageError(f'unique={given!r} cannot be; use Unique(), Unique(by="id"), Unique(period_s=60), "args" or "id"')


class Claim(msgspec.Struct, frozen=True, omit_defaults=True):
    """A held place: the whole message of the task that holds it, and when that is due.

    `nonce` tells the submission that made it, for the id alone does not where ids are chosen.
    """

    nonce: str
    message: Submitted
    due: float | None = None
    period_s: float | None = None

    @property
    def id(self) -> str:
        """The task that holds the place."""
        return self.message.id
