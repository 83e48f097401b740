"""What Natsume raises, and what a task may raise to say how it ended."""

from datetime import datetime, timedelta
from typing import Final

# None; no responders, as in an election or at a start; JetStream not available now; another publish in flight;
# a sealed stream, which is about to be recreated.
_TRANSIENT: Final = frozenset({0, 503, 10008, 10109, 10164})
# A message or its headers are larger than the stream or the server takes.
_TOO_LARGE: Final = frozenset({10054, 10097})
_SNOOZE_MAX_S: Final = 100 * 365 * 86_400.0


class NatsumeError(Exception):
    """Any error of Natsume: one sentence that says what is wrong, where, and what to do."""


class UsageError(NatsumeError):
    """A call, an option or a declaration that cannot be right."""


class ArgumentsError(UsageError):
    """A task's arguments do not fit its actor; the sentence holds the path of the wrong field."""


class Unparsable(ArgumentsError):
    """A task's body is not a JSON object at all."""


class UnknownActor(UsageError):
    """No actor has this name here."""


class UnknownTask(NatsumeError):
    """Nothing knows a task with this id."""


class Forbidden(NatsumeError):
    """Who asks may see a task, and may not do with it what they want."""


class MissingDependency(NatsumeError):
    """A dependency of an actor cannot be provided; the sentence names what to set."""


class Unbound(NatsumeError):
    """`schedule()` was called where no client is bound."""


class BrokerError(NatsumeError):
    """The broker refused or did not answer.

    `code` is the server's error code, 0 where there is none.
    """

    def __init__(self, sentence: str, code: int = 0) -> None:
        super().__init__(sentence)
        self.code = code

    @property
    def is_transient(self) -> bool:
        """Whether the same request may do at another moment: no answer, an election, a publish in flight."""
        return self.code in _TRANSIENT

    @property
    def is_too_large(self) -> bool:
        """Whether what was sent is larger than will ever be taken."""
        return self.code in _TOO_LARGE


class Disconnected(BrokerError):
    """There is no connection now; nothing was buffered."""


class NotAcknowledged(BrokerError):
    """A publish got no PubAck before its deadline; whether it was stored is unknown."""


class FlagsFull(BrokerError):
    """As many tasks are flagged to be cancelled as may be."""


class MissingChunk(BrokerError):
    """Children that a done record names are not in the stream."""


class LedgerError(NatsumeError):
    """The ledger's database refused or did not answer; `refused` says that it will never take these data."""

    def __init__(self, sentence: str, *, refused: bool = False) -> None:
        super().__init__(sentence)
        self.refused = refused


class StartupFailed(NatsumeError):
    """What an entry point of `natsume.broker_startup` does failed, so that a lost broker is not rebuilt yet."""


class DuplicateTask(NatsumeError):
    """A unique task was not submitted, for another one holds its place: `token` says which."""

    def __init__(self, sentence: str, token: str) -> None:
        super().__init__(sentence)
        self.token = token


class TaskFailed(NatsumeError):
    """The task whose result was asked for ended without one."""

    def __init__(self, sentence: str, state: str) -> None:
        super().__init__(sentence)
        self.state = state


class LeaseLost(NatsumeError):
    """A lock was lost while its task ran."""


class Fenced(LeaseLost):
    """A fenced write changed nothing, for a later holder of the lock has written already."""


class LockNotAcquired(NatsumeError):
    """A lock that a running task asked for was held by others for as long as it would wait."""


class ResourceLimitExceeded(NatsumeError):
    """The task took more than it may: `limit` is the name of what its actor declares, `value` what that allows.

    `peak` is the most that was seen of it, in the unit of the limit.
    """

    def __init__(self, actor: str, limit: str, value: float, peak: float, note: str = "") -> None:
        unit = "MB" if limit.endswith("_mb") else "s"
        took = f"it took {peak:.4g} {unit}" + (f" {note}" if note else "")
        super().__init__(f"{actor} exceeded its {limit} of {value:g} {unit}: {took}")
        self.limit = limit
        self.value = value
        self.peak = peak


class ProcessDied(NatsumeError):
    """The process that the task had to itself ended before the task did, by the signal `signal` or by itself."""

    def __init__(self, sentence: str, signal: int | None = None) -> None:
        super().__init__(sentence)
        self.signal = signal


class ProcessesLeft(NatsumeError):
    """The task returned and left processes running, which were killed."""


class TaskRetryRequestedError(Exception):
    """Raised by a task to be tried again, whatever the type of the error; the policy decides when."""


class UnretryableError(Exception):
    """Raised by a task that no retry can help: the policy is not asked."""


class CancelHonoured(Exception):
    """Raised by a task that stops because `should_cancel()` said so.

    Cancelled, it ends CANCELLED with the comment; stopped by its worker's shutdown, it runs again.
    """

    def __init__(self, comment: str = "") -> None:
        super().__init__(comment)
        self.comment = comment


class Snooze(Exception):
    """Raised by a task to run again later; it costs no attempt.

    Takes a number of seconds, a `timedelta`, or an aware `datetime`; anything else is a failure of the task.
    """

    def __init__(self, until: float | timedelta | datetime) -> None:
        super().__init__(f"snoozed: {until}")
        self.until = until
        if isinstance(until, datetime):
            if until.tzinfo is None:
                raise UsageError(f"Snooze({until}) has no time zone; use datetime.now(UTC) + ...")
            return
        seconds = until.total_seconds() if isinstance(until, timedelta) else until
        if not isinstance(seconds, int | float) or not 0 <= seconds <= _SNOOZE_MAX_S:
            raise UsageError(f"Snooze({until!r}) is no time to come; use seconds, a timedelta or an aware datetime")
