"""Which strike stops a task."""

from collections.abc import Callable, Iterable, Mapping

import msgspec

from natsume.exceptions import UsageError
from natsume.model.limits import STRIKES_MAX
from natsume.model.strike import Strike, Strikes


def struck(strikes: Iterable[Strike], arguments: Callable[[], Mapping[str, object]]) -> Strike | None:
    """The first strike of a task's actor that stops it; `arguments` gives the task's, if any of them matters."""
    given: Mapping[str, object] | None = None
    for strike in strikes:
        if not strike.arguments:
            return strike
        given = arguments() if given is None else given
        if all(name in given and is_value(given[name], text) for name, text in strike.arguments.items()):
            return strike
    return None


def with_strike(standing: Strikes | None, strike: Strike) -> Strikes:
    """The strikes with this one, in the place of one on the same tasks; raises UsageError where there are too many."""
    others = without_strike(standing, strike.key).strikes
    if len(others) >= STRIKES_MAX:
        raise UsageError(f"{STRIKES_MAX} strikes stand; end some with `natsume unstrike`")
    return Strikes((*others, strike))


def without_strike(standing: Strikes | None, key: str) -> Strikes:
    """The strikes without the one of this key."""
    return Strikes(tuple(one for one in (standing.strikes if standing else ()) if one.key != key))


def is_value(value: object, text: str) -> bool:
    """Whether a person who writes this text means this value: the text itself, or the JSON of anything else."""
    if isinstance(value, str):
        return value == text
    try:
        meant = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return False
    return msgspec.json.encode(meant, order="sorted") == msgspec.json.encode(value, order="sorted")
