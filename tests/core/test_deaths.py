"""What the end of a process means for the attempt that ran in it."""

import signal

import pytest

from natsume.exceptions import ProcessDied, ResourceLimitExceeded
from natsume.model.task import Reason
from natsume.runtime.failing import reason_of
from natsume.slots.deaths import Death, cause_of
from natsume.slots.frames import Limits

NONE = Limits(3600)
CPU = Limits(3600, cpu_limit_s=2)
MEMORY = Limits(3600, memory_limit_mb=100)


@pytest.mark.parametrize(
    ("death", "limits", "kind", "words", "reason"),
    [
        (Death(signal.SIGSEGV), NONE, ProcessDied, "SIGSEGV (signal 11)", Reason.SIGNAL),
        (Death(signal.SIGKILL), NONE, ProcessDied, "SIGKILL", Reason.SIGNAL),
        (Death(signal.SIGKILL, out_of_memory=True), NONE, ProcessDied, "OOM killer", Reason.SIGNAL),
        (Death(42), NONE, ProcessDied, "signal 42", Reason.SIGNAL),
        (Death(7 << 8), NONE, ProcessDied, "exited with code 7", Reason.CRASHED),
        (Death(0), NONE, ProcessDied, "exited with code 0", Reason.CRASHED),
        (Death(signal.SIGKILL, broken="no frame"), NONE, ProcessDied, "for no frame", Reason.CRASHED),
        (Death(signal.SIGXCPU, 1.9), CPU, ResourceLimitExceeded, "cpu_limit_s of 2 s", Reason.CPU_LIMIT),
        (Death(signal.SIGKILL, 3.5), CPU, ResourceLimitExceeded, "it took 3.5 s", Reason.CPU_LIMIT),
        (Death(signal.SIGKILL, 1.0), CPU, ProcessDied, "SIGKILL", Reason.SIGNAL),
        (Death(signal.SIGABRT, 0, 200 * 2**20), MEMORY, ResourceLimitExceeded, "it took 200 MB", Reason.MEMORY_LIMIT),
        (Death(signal.SIGXCPU, 9.0), NONE, ProcessDied, "SIGXCPU", Reason.SIGNAL),
    ],
)
def test_each_end_has_its_cause(
    death: Death, limits: Limits, kind: type[Exception], words: str, reason: Reason
) -> None:
    cause = cause_of("g:A", death, limits)
    assert type(cause) is kind
    assert words in str(cause)
    assert reason_of(cause) is reason


def test_the_limit_for_which_it_was_killed_is_the_cause() -> None:
    exceeded = ResourceLimitExceeded("g:A", "memory_limit_mb", 100, 130)
    assert cause_of("g:A", Death(signal.SIGKILL, exceeded=exceeded), MEMORY) is exceeded
