"""What a client makes of tokens, of duplicates and of ends."""

from typing import Any

import msgspec

from natsume.exceptions import DuplicateTask, TaskFailed, UnknownTask, UsageError
from natsume.model import limits
from natsume.model.record import Done
from natsume.model.subject import is_id
from natsume.model.task import ENDED, State


def checked_token(token: str) -> str:
    """What may be a task's id; raises UnknownTask."""
    if not is_id(token) or len(token) > limits.ID_MAX:
        raise UnknownTask(f"{token!r} is no task's id")
    return token


def check_on_duplicate(given: object) -> None:
    """Raise UsageError for what nobody can do with a duplicate."""
    if given not in ("return", "raise"):
        raise UsageError(f'on_duplicate={given!r} cannot be; use "return" or "raise"')


def told_of_duplicate(actor: str, holder: str, on_duplicate: str) -> str:
    """The holder of a place, or DuplicateTask with it."""
    if on_duplicate == "raise":
        raise DuplicateTask(f"{actor} is unique, and task {holder} holds its place", holder)
    return holder


def result_of(done: Done) -> Any:
    """What a task returned; raises TaskFailed of one that did not succeed."""
    if done.state is not State.COMPLETED:
        assert done.state in ENDED
        cause = f": {done.failure.type}: {done.failure.message}" if done.failure else ""
        raise TaskFailed(f"task {done.id} of {done.actor} ended {done.state}{cause}", done.state)
    return msgspec.json.decode(done.result)
