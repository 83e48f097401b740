"""A strike: an actor, or some argument values of it, that does not run until somebody ends the strike."""

import msgspec

from natsume.model import subject
from natsume.model.lock import Mode, Want

KIND = "strike"


class Strike(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who stopped which actor, when and why; with `arguments`, only tasks that have all of these values."""

    actor: str
    who: str
    why: str
    at: float
    arguments: dict[str, str] = {}

    def __str__(self) -> str:
        return f"{self.name} by {self.who}" + (f": {self.why}" if self.why else "")

    @property
    def key(self) -> str:
        """The key of its line."""
        return subject.lock_key(KIND, self.actor, *(part for pair in sorted(self.arguments.items()) for part in pair))

    @property
    def name(self) -> str:
        """What people call it."""
        values = ",".join(f"{name}={value}" for name, value in sorted(self.arguments.items()))
        return f"{KIND}:{self.actor}" + (f"({values})" if values else "")

    @property
    def want(self) -> Want:
        """What its tasks wait for."""
        return Want(self.key, self.name, Mode.STRUCK)


class Strikes(msgspec.Struct, frozen=True, omit_defaults=True):
    """All strikes that stand."""

    strikes: tuple[Strike, ...] = ()


def is_strike_name(name: str) -> bool:
    """Whether this is what people call a strike."""
    return name.startswith(f"{KIND}:")


def is_strike(key: str) -> bool:
    """Whether this is the key of a strike's line."""
    return key.startswith(f"{KIND}.")
