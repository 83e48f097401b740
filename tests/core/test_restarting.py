"""Pauses between starts grow while nothing comes to be ready, up to a bound."""

from natsume.core.restarting import pause_s


def test_pauses_double_to_a_bound_and_never_overflow():
    assert [pause_s(starts) for starts in range(8)] == [0.5, 1, 2, 4, 8, 16, 30, 30]
    assert pause_s(10_000) == 30
