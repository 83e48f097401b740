"""What killed a task's process, and so what its attempt failed of."""

import os
import signal

import msgspec

from natsume.exceptions import NatsumeError, ProcessDied, ResourceLimitExceeded
from natsume.slots.frames import Limits
from natsume.slots.resources import excess


class Death(msgspec.Struct, frozen=True):
    """How a process ended: its wait status, what it took for its task, whether the kernel ran out of memory meanwhile.

    `exceeded` is the limit for which the worker killed it, `broken` what was wrong with what it sent.
    """

    status: int
    cpu_s: float = 0.0
    peak_bytes: int = 0
    out_of_memory: bool = False
    exceeded: ResourceLimitExceeded | None = None
    broken: str | None = None


def cause_of(actor: str, death: Death, limits: Limits) -> NatsumeError:
    """The failure of the attempt whose process died so."""
    exceeded = death.exceeded or excess(actor, limits, death.cpu_s, death.peak_bytes)
    if exceeded is not None:
        return exceeded
    killer = os.WTERMSIG(death.status) if os.WIFSIGNALED(death.status) else None
    if killer == signal.SIGXCPU and limits.cpu_limit_s is not None:
        return ResourceLimitExceeded(actor, "cpu_limit_s", limits.cpu_limit_s, death.cpu_s)
    took = f"it had used {death.cpu_s:.3g} s of processors and {death.peak_bytes / 1e6:.0f} MB"
    if death.broken is not None:
        return ProcessDied(f"{actor}: its process was killed, for {death.broken}; {took}")
    if killer is None:
        code = os.waitstatus_to_exitcode(death.status)
        return ProcessDied(f"{actor}: its process exited with code {code} in the middle of it; {took}")
    name = _name(killer)
    if killer == signal.SIGKILL and death.out_of_memory:
        name += " while the kernel was out of memory: most likely it was the OOM killer"
    return ProcessDied(f"{actor}: its process was killed by {name}; {took}", killer)


def _name(number: int) -> str:
    try:
        return f"{signal.Signals(number).name} (signal {number})"
    except ValueError:
        return f"signal {number}"
