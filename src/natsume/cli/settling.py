"""Carries out an order on dead letters, one after the other, and tells of each as soon as it is done."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from natsume.actors.registry import Registry
from natsume.cli.table import Array
from natsume.cli.task_row import moment
from natsume.core.settling import DeadLetter, Order, Outcome, Verdict, judge
from natsume.model.limits import REPLAYS_PER_S_MAX
from natsume.service.replaying import DeadLetters, Link, paced
from natsume.settings import Settings

if TYPE_CHECKING:
    from natsume.adapters.nats.broker import Broker

DryRun = Annotated[bool, typer.Option("--dry-run", help="Tell what would be done; change nothing.")]
Rate = Annotated[float, typer.Option(min=0.001, max=REPLAYS_PER_S_MAX, help="At most so many a second.")]
Why = Annotated[str | None, typer.Option(metavar="TEXT", help="Why, for those who look at it later.")]
Who = Annotated[str | None, typer.Option(help="Who says so; default: the user of this machine.")]
RATE: Final = 100.0

_CHANGES: Final = frozenset({Outcome.REPLAYED, Outcome.DISCARDED, Outcome.FINISHED})

Chosen = Callable[[DeadLetters], AsyncIterator[DeadLetter]]
Ordered = Callable[[DeadLetters, DeadLetter], Order]


@asynccontextmanager
async def letters_of(settings: Settings) -> AsyncIterator[tuple[DeadLetters, "Broker"]]:
    """The dead letters of a broker as it is; the actors are loaded when they are first asked for."""
    from natsume.cli.looking import looking  # noqa: PLC0415 - `--help` need not load the broker

    registry: list[Registry] = []

    def load() -> Registry:
        if not registry:
            registry.append(Registry.load(settings.prefixes))
        return registry[0]

    async with looking(settings) as broker:
        yield DeadLetters(broker.letters, broker.inquiries, broker.outgoing, load, broker.now), broker


async def settle(settings: Settings, chosen: Chosen, order: Ordered, dry_run: bool, rate: float, as_json: bool) -> int:
    """Carry out the order for each; the exit code, 1 if any was refused."""
    tell = _Telling(dry_run, as_json)
    async with letters_of(settings) as (letters, broker):
        if dry_run:
            async for letter in chosen(letters):
                tell.one(letter, judge(letter, order(letters, letter), broker.now()))
        else:
            await broker.refresh()  # its clock
            async for letter in paced(chosen(letters), rate):
                verdict, after = await letters.carry_out(letter, order(letters, letter))
                tell.one(after, verdict)
    return tell.end()


class _Telling:
    """A line for each letter, or one JSON array, and their sum at the end."""

    def __init__(self, dry_run: bool, as_json: bool) -> None:
        self._dry_run = dry_run
        self._array = Array() if as_json else None
        self._counts: dict[Outcome, int] = {}

    def one(self, letter: DeadLetter, verdict: Verdict) -> None:
        """Tell of one letter."""
        self._counts[verdict.outcome] = self._counts.get(verdict.outcome, 0) + 1
        row = _row(letter, verdict)
        if self._array is not None:
            self._array.add(row)
            return
        would = "would be " if self._dry_run and verdict.outcome in _CHANGES else ""
        name = f" as {row['replay']}" if row["replay"] else ""
        why = f": {verdict.sentence}" if verdict.sentence else ""
        typer.echo(f"{row['id']} {would}{verdict.outcome}{name}{why}")

    def end(self) -> int:
        """Tell the sum, on stderr; the exit code."""
        if self._array is not None:
            self._array.end()
        counts = ", ".join(f"{count} {outcome}" for outcome, count in self._counts.items())
        dry = " (dry run: nothing was changed)" if self._dry_run else ""
        typer.echo(f"natsume: {counts or 'no dead letter fits'}{dry}", err=True)
        return 1 if Outcome.REFUSED in self._counts else 0


def link_row(link: Link) -> dict[str, Any]:
    """What was decided, by whom, why and when, and what came of it."""
    settled = link.settled
    return {
        "id": settled.id,
        "what": "edited and replayed" if settled.edited else settled.kind,
        "who": settled.who,
        "why": settled.why,
        "at": moment(settled.at),
        "replay": settled.replay,
        "sent": settled.sent,
        "state": str(link.end.state) if link.end is not None else None,
    }


def _row(letter: DeadLetter, verdict: Verdict) -> dict[str, Any]:
    done, settled = letter.done, letter.settled
    assert done.letter is not None
    return {
        "id": done.id,
        "actor": done.actor,
        "reason": str(done.letter.reason),
        "outcome": str(verdict.outcome),
        "replay": verdict.task.id if verdict.task else settled.replay if settled else None,
        "sentence": verdict.sentence or None,
    }
