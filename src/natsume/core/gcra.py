"""When a task may start under a rate limit: GCRA, a place for each start instead of a count for each window.

Each grant owns an interval of the limiter's time line, as long as its items times T = (window + lateness) / limit;
no two intervals overlap, and a grant's time g lies at most (burst - 1) T before its interval and never after its
beginning. So the grants of S items that lie within D of each other fit into D + burst T, which is S <= D / T + burst.

A start may lag its grant by less than the lateness, or the grant is void and its quota lost; starts within one
window thus have grants within D = window + lateness, and that is S <= limit + burst. (A task of more items than
the burst is one lump that cannot be split: then its items stand in the place of the burst.)

Times are nanoseconds of the broker's clock inside, so that sums are exact, and Unix seconds outside.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from natsume.model import limits, times
from natsume.model.limit_rule import RateRule, Share

_NS: Final = 1_000_000_000


class Quota(msgspec.Struct, frozen=True, omit_defaults=True):
    """A limiter's time line: taken up to `tat` (the theoretical arrival time), but for some gaps before it.

    A gap is what a task left that could not come sooner, because another of its limiters made it wait.
    """

    tat: int = 0
    gaps: tuple[tuple[int, int], ...] = ()
    version: int = 0


class Asked(msgspec.Struct, frozen=True):
    """A share that one task asks for, to start at `earliest` or later."""

    rule: RateRule
    items: int
    earliest: float


def lateness_s(rule: RateRule) -> float:
    """How long after its time a grant is good, for which the places are wider."""
    return min(rule.window_s * limits.GRANT_LATE_SHARE, times.GRANT_LATE_S)


def usable_s(rule: RateRule) -> float:
    """The part of the lateness that a worker uses; the rest is for what the clocks of two workers differ."""
    return lateness_s(rule) * limits.GRANT_USED_SHARE


def lacking(shares: Sequence[Share], grants: Mapping[str, float], at: float, *, ahead: bool = False) -> list[Share]:
    """The shares without a place that is good at a time; at one `ahead` it must leave time to start in."""
    part = 0.5 if ahead else 1.0
    return [share for share in shares if grants.get(share.name, 0.0) + usable_s(share.rule) * part < at]


def unused(grants: Mapping[str, float], started_at: float) -> dict[str, float]:
    """The places that a start at this time, of whatever copy of the task, has not used."""
    return {name: at for name, at in grants.items() if at > started_at}


def reserve(quota: Quota, asked: Sequence[Asked], now: float) -> tuple[list[float | None], Quota]:
    """A time for each, in order of arrival, and the quota that is left; None where none is near enough."""
    given: list[float | None] = []
    for one in asked:
        at, quota = _reserve(quota, one, round(now * _NS))
        given.append(at)
    return given, quota


def left_s(quota: Quota, now: float) -> float:
    """How long a quota still says anything: after that it is as good as none."""
    return max(0.0, quota.tat / _NS - now)


def _reserve(quota: Quota, asked: Asked, now: int) -> tuple[float | None, Quota]:
    rule = asked.rule
    if rule.version > quota.version:
        quota = _renewed(quota, rule, now)
    earliest = max(now, round(asked.earliest * _NS))
    width = asked.items * _interval(rule)
    before = (rule.burst - min(asked.items, rule.burst)) * _interval(rule)
    for gap in quota.gaps:
        start = max(gap[0], earliest)
        if start + width <= gap[1]:
            rest = _without(quota.gaps, gap, (start, start + width), now)
            return max(earliest, start - before) / _NS, msgspec.structs.replace(quota, gaps=rest)
    free = max(quota.tat, now)
    start = max(free, earliest)
    at = max(earliest, start - before)
    if at - now > times.RESERVE_AHEAD_S * _NS:
        return None, quota
    gaps = quota.gaps if start == free else _shortened((*quota.gaps, (free, start)), now)
    return at / _NS, msgspec.structs.replace(quota, tat=start + width, gaps=gaps)


def _renewed(quota: Quota, rule: RateRule, now: int) -> Quota:
    """Under a new version the places ahead are void; what has started still counts, for a window of the new rule."""
    longest = _interval(rule) * max(rule.limit, rule.burst)
    return Quota(min(quota.tat, now + longest), (), rule.version)


def _interval(rule: RateRule) -> int:
    return -(-round((rule.window_s + lateness_s(rule)) * _NS) // rule.limit)


def _without(
    gaps: tuple[tuple[int, int], ...], gap: tuple[int, int], taken: tuple[int, int], now: int
) -> tuple[tuple[int, int], ...]:
    rest = [one for one in gaps if one != gap]
    return _shortened((*rest, (gap[0], taken[0]), (taken[1], gap[1])), now)


def _shortened(gaps: tuple[tuple[int, int], ...], now: int) -> tuple[tuple[int, int], ...]:
    """The gaps that are still ahead, in order, and only so many: one that is forgotten is quota lost, never gained."""
    ahead = sorted(gap for gap in gaps if gap[1] > max(gap[0], now))
    return tuple(sorted(sorted(ahead, key=lambda gap: gap[0] - gap[1])[: limits.GAPS_MAX]))
