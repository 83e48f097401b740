"""The diagram in the docs is drawn from the table: every rule over representative inputs."""

from collections import defaultdict
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from natsume.core import events as ev
from natsume.core import phases as at
from natsume.core.attempt import TABLE, step
from natsume.core.delivery import Delivery, Rules
from natsume.core.tick import TickRules
from natsume.enums import CatchUp, Overlap, Priority, Size
from natsume.model.lock import Blocked, Want
from natsume.model.record import Done, Failed, Failure, History, Started
from natsume.model.subject import Lane
from natsume.model.task import Fault, Reason, State, Task
from natsume.model.tick import ScheduleKey
from natsume.model.told import Flag

PAGE: Final = Path(__file__).parents[2] / "docs" / "explanation" / "states.md"
REGENERATE: Final = "python -m tests.core.test_state_diagram"

_LANE: Final = Lane(Priority.NORMAL, Size.SMALL)
_OTHER: Final = Lane(Priority.BACKGROUND, Size.SMALL)
_TASK: Final = Task("t", "app:Fit", _LANE, b"{}")
_RULES: Final = Rules("app:Fit", _LANE)
_DONE: Final = Done("t", "app:Fit", State.COMPLETED, "n", "w", 1, 0.0, 0.0)
_FAILED: Final = Failed("t", "app:Fit", 1, Failure("E", "no"), "w", 0.0, 0.0, 1.0, 1)
_STARTED: Final = Started("t", "app:Fit", 1, "w", 0.0)
_TICK: Final = replace(_TASK, id=ScheduleKey("app:Fit").tick(datetime.fromtimestamp(60, UTC)), schedule='{"every":60}')
_SKIPS: Final = replace(_RULES, ticks=TickRules(CatchUp.SKIP, overlap=Overlap.SKIP))
_BLOCKED: Final = Blocked(Want("k", "k"), "other", since=0.0)
_FLAG: Final = Flag("t", "anna", 0.0)
_RUN: Final = at.Running("me", mark=1, crashes=1)
_LOST: Final = replace(_RUN, lost=True)

_DELIVERIES: Final = [Delivery(_TASK, b"", 1, delivered) for delivered in (1, 2)] + [
    Delivery(replace(_TASK, waiting_since=-9.0), b"", 1),
    Delivery(_TICK, b"", 1, stored_at=99.0),
]
_RULE_SETS: Final = [
    _RULES,
    _SKIPS,
    replace(_RULES, lane=_OTHER),
    replace(_RULES, drop_on_shutdown=True, wait_limit_s=1.0),
    replace(_RULES, limited=True),
]
_PHASES: Final[list[at.Phase]] = [
    at.Buffered(),
    at.Locking("me", suspect=False),
    at.Locking("me", suspect=True),
    at.Checking("me"),
    at.Checking("me", alone=True),
    at.Skipping("me", "late"),
    at.Expiring("me", _BLOCKED),
    at.Asking("me", "other"),
    at.Isolating("me"),
    at.Marking("me", 1),
    at.Reserving(_RUN),
    at.SetAside(),
    _RUN,
    _LOST,
    at.Committing(_DONE, _RUN),
    at.Committing(_DONE, _LOST),
    at.Committing(_DONE),
    at.Failing(_FAILED, _RUN),
    at.Arming(_TASK, 0.0),
    at.Parking(_TASK, _BLOCKED, 0.0),
    at.Forwarding(_TASK),
    at.Closed(),
]
_EVENTS: Final[list[ev.Event]] = [
    ev.Opened(0.0, "me"),
    ev.Opened(0.0, "me", suspect=True),
    ev.Opened(0.0, "me", locks=True),
    ev.Opened(0.0, "me", struck=_BLOCKED),
    ev.Opened(0.0, "me", flag=_FLAG),
    ev.Opened(0.0, "me", fault=Fault(Reason.UNPARSABLE, "no")),
    ev.Opened(0.0, "me", fault=Fault(Reason.UNKNOWN_ACTOR, "no")),
    ev.Locked(),
    ev.LockRefused(0.0, _BLOCKED),
    ev.LookedUp(0.0, History()),
    ev.LookedUp(0.0, History(done=_DONE)),
    ev.LookedUp(0.0, History(failed=_FAILED)),
    ev.LookedUp(0.0, History(started=replace(_STARTED, nonce="me"))),
    ev.LookedUp(0.0, History(started=replace(_STARTED, crashes=1))),
    ev.LookedUp(0.0, History(started=replace(_STARTED, crashes=3))),
    ev.LookedUp(0.0, History(started=replace(_STARTED, nonce="other"))),
    ev.Answered(0.0, goes_on=True),
    ev.Answered(0.0, goes_on=False),
    ev.Isolated(),
    ev.Marked(1),
    ev.MarkRefused(),
    ev.Granted(),
    ev.Throttled(0.0, 0.1, {}),
    ev.Throttled(0.0, 9.0, {}),
    ev.GrantVoid(),
    ev.Flagged(0.0, "me", _FLAG),
    ev.Honoured(0.0, 0.0, _FLAG),
    ev.Returned(0.0, 0.0, b"null"),
    ev.Raised(0.0, 0.0, Failure("E", "no")),
    ev.Raised(0.0, 0.0, Failure("E", "no"), retry_at=1.0),
    ev.Snoozed(1.0),
    ev.Interrupted(0.0, 0.0),
    ev.LeaseGone(),
    ev.Written(),
    ev.Overtaken(_FAILED),
    ev.Uncertain(),
]


def arrows() -> dict[tuple[str, str], list[str]]:
    """The events that lead from a phase to a phase, in the order of the table."""
    found: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for phase, event in product(_PHASES, _EVENTS):
        if (type(phase), type(event)) not in TABLE:
            continue
        for delivery, rules in product(_DELIVERIES, _RULE_SETS):
            after, _ = step(phase, delivery, rules, event)
            labels = found[type(phase).__name__, type(after).__name__]
            if type(event).__name__ not in labels:
                labels.append(type(event).__name__)
    return found


def diagram() -> str:
    """The states as mermaid draws them."""
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> Buffered"]
    lines += [f"    {before} --> {after}: {', '.join(labels)}" for (before, after), labels in arrows().items()]
    return "\n".join([*lines, "    Closed --> [*]", "```"])


def test_every_row_is_in_the_diagram() -> None:
    drawn = {(before, label) for (before, _), labels in arrows().items() for label in labels}
    assert drawn == {(phase.__name__, event.__name__) for phase, event in TABLE}


def test_the_page_shows_the_table_as_it_is() -> None:
    assert diagram() in PAGE.read_text(), f"{PAGE.name} is not what the table says; run `{REGENERATE}`"


def test_the_page_names_every_phase_and_event() -> None:
    text = PAGE.read_text().replace(diagram(), "")
    missing = [kind.__name__ for kind in {*map(type, _PHASES), *map(type, _EVENTS)} if f"`{kind.__name__}`" not in text]
    assert not missing, f"{PAGE.name} does not say what these are: {', '.join(sorted(missing))}"


def regenerate() -> None:
    """Put the diagram as it is into the page."""
    before, _, rest = PAGE.read_text().partition("```mermaid")
    _, _, after = rest.partition("```\n")
    PAGE.write_text(f"{before}{diagram()}\n{after}")


if __name__ == "__main__":
    regenerate()
