"""A policy turns the number of a retry into its time, or None to give up."""

from datetime import UTC, datetime, timedelta

import pytest

from natsume.exceptions import UsageError
from natsume.retry_policies import ExponentialBackoff, NoRetry, RetryPolicyBase


class Frozen(ExponentialBackoff):
    def now(self):
        return datetime(2030, 1, 1, tzinfo=UTC)


def test_no_retry():
    assert NoRetry().schedule_retry(1, ValueError()) is None


def test_retries_count_retries():
    policy = ExponentialBackoff(base_delay_seconds=10, max_retries=3)
    assert [policy.delay_s(n) for n in (1, 2, 3, 4)] == [10, 20, 40, None]


def test_times_are_aware():
    assert Frozen().schedule_retry(2, ValueError()) == datetime(2030, 1, 1, 0, 0, 20, tzinfo=UTC)


def test_delays_have_an_end():
    assert ExponentialBackoff(10, 50, max_delay_seconds=60).delay_s(40) == 60
    policy = ExponentialBackoff(10, 10**9)
    assert policy.schedule_retry(10**8, ValueError()) > datetime.now(UTC)


def test_jitter_spreads_to_both_sides():
    draws = iter([0.0, 0.5])
    policy = Frozen(10, jitter=0.2, uniform=lambda: next(draws))
    times = [policy.schedule_retry(1, ValueError()) - policy.now() for _ in range(2)]
    assert times == [timedelta(seconds=8), timedelta(seconds=10)]


def test_a_policy_of_ones_own_needs_one_method():
    class OnceOnConnectionErrors(RetryPolicyBase):
        def schedule_retry(self, attempt, exception):
            return self.now() if attempt == 1 and isinstance(exception, ConnectionError) else None

    assert OnceOnConnectionErrors().schedule_retry(1, ConnectionError()) is not None
    assert OnceOnConnectionErrors().schedule_retry(1, ValueError()) is None


@pytest.mark.parametrize("options", [{"max_retries": -1}, {"base_delay_seconds": -1}, {"jitter": 2}])
def test_impossible_policies_are_refused(options):
    with pytest.raises(UsageError):
        ExponentialBackoff(**options)
