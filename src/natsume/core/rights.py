"""Who may do what with whose task.

An operator may do everything. A task's owner, and those who may see its tenant's tasks, may see it and comment on
it; they may cancel or replay it only where its actor widens that right to them.
"""

import re
from enum import StrEnum
from typing import Final

import msgspec

from natsume.core.said import fitted
from natsume.exceptions import UsageError


class Act(StrEnum):
    """What one may want to do with a task."""

    SEE = "see"
    COMMENT = "comment on"
    CANCEL = "cancel"
    REPLAY = "replay"


class By(StrEnum):
    """How far a right reaches: each includes those before it."""

    OPERATOR = "operator"
    OWNER = "owner"
    TENANT = "tenant"


class Who(msgspec.Struct, frozen=True):
    """Somebody who asks: a user, the tenants whose tasks they may see, and whether they are an operator."""

    user: str | None = None
    tenants: tuple[str, ...] = ()
    operator: bool = False


class Widened(msgspec.Struct, frozen=True):
    """By whom an actor lets its tasks be cancelled and replayed."""

    cancel: By = By.OPERATOR
    replay: By = By.OPERATOR


OPERATOR: Final = Who(operator=True)
NARROW: Final = Widened()
_FIELDS: Final = Widened.__struct_fields__
_HEADER: Final = re.compile(r"^natsume-rights:[ \t]*([^\r\n]*)", re.IGNORECASE | re.MULTILINE)


def who_is(as_user: str | Who | None) -> Who:
    """The one in whose name a call is made: without a name the operator. Raises UsageError for what is neither."""
    if as_user is None:
        return OPERATOR
    if not isinstance(as_user, str | Who):
        raise UsageError(f"as_user={as_user!r} cannot be; give a user's name, or a Who")
    return Who(as_user) if isinstance(as_user, str) else as_user


def owns(who: Who, owner: str | None) -> bool:
    """Whether a task of this owner is theirs."""
    return bool(who.user) and owner in {who.user, fitted(who.user)}


def shares(who: Who, tenant: str | None) -> bool:
    """Whether they may see the tasks of this tenant."""
    return bool(tenant) and any(tenant in {one, fitted(one)} for one in who.tenants)


def may(who: Who, act: Act, owner: str | None, tenant: str | None, widened: Widened = NARROW) -> bool:
    """Whether somebody may do this with a task of this owner and tenant."""
    if who.operator:
        return True
    match act:
        case Act.SEE | Act.COMMENT:
            by = By.TENANT
        case Act.CANCEL:
            by = widened.cancel
        case Act.REPLAY:
            by = widened.replay
    return (by is not By.OPERATOR and owns(who, owner)) or (by is By.TENANT and shares(who, tenant))


def written(widened: Widened) -> str | None:
    """What a task carries of its actor's rights, such as `cancel=owner replay=tenant`; None for the narrow ones."""
    given = {name: getattr(widened, name) for name in _FIELDS}
    return " ".join(f"{name}={by}" for name, by in given.items() if by is not By.OPERATOR) or None


def read(text: str | None) -> Widened:
    """The rights that a task carries; what is not understood widens nothing."""
    known = {name: by for name, _, by in (part.partition("=") for part in (text or "").split())}
    return Widened(**{name: By(known[name]) for name in _FIELDS if known.get(name) in set(By)})


def carried(headers: str | None) -> Widened:
    """The rights in the header lines of a task."""
    found = _HEADER.search(headers or "")
    return read(found[1]) if found else NARROW
