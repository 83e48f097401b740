"""The kinds of objects that locks are taken on; applications register their own."""

import difflib
import sys
from typing import ClassVar, Self

from natsume.exceptions import UsageError


class UnknownObjectType(UsageError, ValueError):
    """No type of locked objects has this name, or another module has taken it."""


class LockedObjectType(str):
    """A registered kind of object: a string, the same object for the same name."""

    __slots__ = ()

    TASK: ClassVar["LockedObjectType"]
    JOB: ClassVar["LockedObjectType"]
    TRANSFORMATION: ClassVar["LockedObjectType"]

    def __new__(cls, name: str) -> Self:
        """The registered type of this name, in any case."""
        known = _registered.get(name) or _registered.get(name.lower())
        if known is None:
            near = difflib.get_close_matches(str(name), _registered, n=1)
            hint = f"did you mean {near[0]!r}" if near else f"known are {', '.join(sorted(_registered))}"
            raise UnknownObjectType(
                f"Unknown LockedObjectType {name!r}: {hint}; call register_locked_object_type() in a module that"
                " an entry point of natsume.lock_object_types names"
            )
        return known  # type: ignore[return-value]  # subclasses have no types of their own

    def __getnewargs__(self) -> tuple[str]:
        return (str(self),)


_registered: dict[str, LockedObjectType] = {}
_registrars: dict[str, str] = {}


def register_locked_object_type(name: str) -> LockedObjectType:
    """Register a kind of object; the same module may do so again, another one is refused."""
    registrar = str(sys._getframe(1).f_globals.get("__name__"))
    if not name or any(letter.isspace() for letter in name):
        raise UsageError(f"a locked object type is a word, not {name!r}")
    if _registrars.setdefault(name, registrar) != registrar:
        raise UnknownObjectType(
            f"LockedObjectType {name!r} is already registered by {_registrars[name]}: choose another name"
        )
    return _registered.setdefault(name, str.__new__(LockedObjectType, name))


TASK = LockedObjectType.TASK = register_locked_object_type("task")
JOB = LockedObjectType.JOB = register_locked_object_type("job")
TRANSFORMATION = LockedObjectType.TRANSFORMATION = register_locked_object_type("transformation")
