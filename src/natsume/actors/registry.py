"""The actors of this installation, found by entry points and checked once, at start."""

import difflib
import inspect
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from itertools import chain
from types import ModuleType
from typing import Any, Self

from natsume.actors.arguments import Arguments
from natsume.actors.batching import Batching, batching_flaws, batching_of, plan_of
from natsume.actors.declarations import declaration_flaws, declared, rights_of
from natsume.actors.inject import Plan
from natsume.actors.periodic import Periodic, flaws_of, periodic_of
from natsume.base_task import BaseTask
from natsume.enums import Priority, Size
from natsume.exceptions import UnknownActor, UsageError
from natsume.flows import Flow
from natsume.model.claim import Unique
from natsume.model.config import RetriesConfig
from natsume.model.subject import Lane
from natsume.retry_policies import RetryPolicyBase
from natsume.threads import is_synchronous

PREFIX = "natsume"
_NAME = re.compile(r"[^\s:]{1,128}:[^\s:]{1,128}")


@dataclass(frozen=True, slots=True)
class Actor:
    """One task type, ready to run: all that its class says, read once."""

    name: str
    cls: type[BaseTask]
    lane: Lane
    arguments: Arguments
    retry_policy: RetryPolicyBase
    dlq_eligible: bool
    timeout_s: float
    drop_on_shutdown: bool
    plan: Plan
    needs_locks: bool
    wait_limit_s: float | None = None
    on_wait_limit: str = "dead_letter"
    periodic: Periodic | None = None
    events: tuple[str, ...] = ()
    events_from: str = "now"
    unique: Unique | None = None
    interrupted_by_cancel: bool = False
    rights: str | None = None
    synchronous: bool = False
    cpu_limit_s: float | None = None
    memory_limit_mb: float | None = None
    retries: RetriesConfig | None = None
    batching: Batching | None = None
    takes_result: str | None = None


class Registry:
    """The actors by name and by class.

    `problems` says, a sentence each, what could not be an actor; `clashes` are those of them that
    leave open which class a name means, so that no process may start.
    """

    def __init__(self, actors: Iterable[Actor] = (), problems: Iterable[str] = (), clashes: Iterable[str] = ()) -> None:
        self._by_name = {actor.name: actor for actor in actors}
        self._by_class: dict[type, Actor] = {}
        for actor in self._by_name.values():
            self._by_class.setdefault(actor.cls, actor)
        self.clashes = list(clashes)
        self.problems = [*problems, *self.clashes]

    @classmethod
    def load(cls, prefixes: Sequence[str] = ()) -> Self:
        """What the installed distributions offer under `natsume` and these prefixes; never raises."""
        found = entry_points()  # reads the metadata of every distribution: once is enough
        load = _Load()
        prefixes = tuple(dict.fromkeys((PREFIX, *prefixes)))
        load.object_types(found, prefixes)  # first, for a module of tasks may name a type of any of them
        for prefix in prefixes:
            for group in sorted(found.groups):
                if group.startswith(f"{prefix}.tasks."):
                    load.tasks(group.removeprefix(f"{prefix}.tasks."), found.select(group=group))
        return cls(load.actors.values(), load.problems, load.clashes)

    @classmethod
    def of_classes(cls, classes: Mapping[str, type[BaseTask]]) -> Self:
        """A registry of exactly these classes by `group:Name`; UsageError if one cannot be an actor."""
        return cls(make_actor(name, task) for name, task in classes.items())

    @property
    def actors(self) -> list[Actor]:
        """All actors, by name."""
        return sorted(self._by_name.values(), key=lambda actor: actor.name)

    def get(self, name: str) -> Actor | None:
        """The actor of this name."""
        return self._by_name.get(name)

    def find(self, text: str) -> Actor:
        """The actor that a person means: its full name, or its name alone where only one has it."""
        same = [name for name in self._by_name if text in {name, name.partition(":")[2]}]
        if text in self._by_name or len(same) == 1:
            return self._by_name[text if text in self._by_name else same[0]]
        near = same or difflib.get_close_matches(text, self._by_name, n=3, cutoff=0.5) or sorted(self._by_name)[:3]
        hint = f"did you mean {' or '.join(near)}?" if near else "no entry point of natsume.tasks.<group> is installed"
        broken = [problem for problem in self.problems if text and text in problem]
        raise UnknownActor("; ".join([f"no actor is called {text!r}: {hint}", *broken[:1]]))

    def of(self, task: object) -> Actor:
        """The actor of a task or of its class."""
        cls = task if isinstance(task, type) else type(task)
        actor = self._by_class.get(cls)
        if isinstance(task, Flow):
            raise UsageError("a flow is submitted whole: client.spawn(flow), or flow.schedule() inside execute()")
        if actor is None:
            raise UnknownActor(
                f"{cls.__qualname__} has no entry point: add {cls.__name__} ="
                f' "{cls.__module__}:{cls.__qualname__}" to natsume.tasks.<group> and install its distribution'
            )
        return actor


def load_object_types(prefixes: Sequence[str]) -> None:
    """Register the lock object types of the installed distributions; what cannot be used is left out."""
    _Load().object_types(entry_points(), dict.fromkeys((PREFIX, *prefixes)))


def make_actor(name: str, cls: Any) -> Actor:
    """The actor that a class makes; UsageError says what keeps it from being one."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} is no actor's name: it is `group:Name`, without spaces or further colons")
    if not (isinstance(cls, type) and issubclass(cls, BaseTask)):
        raise UsageError(f"{name}: {cls!r} is not a subclass of BaseTask")
    flaw = next(chain(batching_flaws(cls), _flaws(cls), declaration_flaws(cls)), None)
    if flaw is not None:
        raise UsageError(f"{name}: {flaw}")
    return Actor(
        name=name,
        cls=cls,
        lane=Lane(cls.priority, cls.size),
        arguments=Arguments(name, cls),
        retry_policy=cls.retry_policy,
        dlq_eligible=bool(cls.dlq_eligible),
        timeout_s=float(cls.timeout_s),
        drop_on_shutdown=bool(cls.drop_on_shutdown),
        plan=plan_of(name, cls),
        needs_locks=cls.execution_locks is not BaseTask.execution_locks,
        wait_limit_s=declared(cls, "wait_limit_s"),
        on_wait_limit=declared(cls, "on_wait_limit"),
        periodic=periodic_of(cls),
        events=tuple(declared(cls, "events")),
        events_from=declared(cls, "events_from"),
        unique=declared(cls, "unique"),
        interrupted_by_cancel=declared(cls, "cancel") == "interrupt",
        rights=rights_of(cls),
        cpu_limit_s=declared(cls, "cpu_limit_s"),
        memory_limit_mb=declared(cls, "memory_limit_mb"),
        synchronous=declared(cls, "batch_max") is None and is_synchronous(cls.execute),
        batching=batching_of(cls),
        takes_result=declared(cls, "takes_result"),
    )


def _flaws(cls: type[BaseTask]) -> Iterator[str]:
    if declared(cls, "batch_max") is not None:
        pass  # it has execute_batch() instead
    elif cls.execute is BaseTask.execute:
        yield f"{cls.__name__} has no execute(): define `async def execute(self, ...)`"
    elif not inspect.isroutine(cls.execute) or _yields(inspect.unwrap(cls.execute)):
        yield f"{cls.__name__}.execute is no function that returns: define it with `async def` or `def`"
    if not isinstance(cls.priority, Priority):
        yield f"{cls.__name__}.priority is {cls.priority!r}: set it to a Priority"
    if not isinstance(cls.size, Size):
        yield f"{cls.__name__}.size is {cls.size!r}: set it to a Size"
    policy: object = cls.retry_policy
    if isinstance(policy, type) or not callable(getattr(policy, "schedule_retry", None)):
        yield f"{cls.__name__}.retry_policy is {policy!r}: set it to a policy, such as NoRetry()"
    timeout: object = cls.timeout_s
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not timeout > 0:
        yield f"{cls.__name__}.timeout_s is {timeout!r}: set it to a number of seconds above 0"
    yield from flaws_of(cls)


def _yields(function: Any) -> bool:
    return inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)


class _Load:
    """What was found so far; an entry point that cannot be used costs a sentence, not the others."""

    def __init__(self) -> None:
        self.actors: dict[str, Actor] = {}
        self.problems: list[str] = []
        self.clashes: list[str] = []

    def tasks(self, group: str, points: Iterable[EntryPoint]) -> None:
        # The same distribution may be listed twice (an editable install beside its build).
        for point in dict.fromkeys(points):
            name = f"{group}:{point.name}"
            if name in self.actors:
                known = self.actors[name].cls
                self.clashes.append(
                    f"{name} is defined twice, as {known.__module__}:{known.__qualname__} and by"
                    f" {point.group} as {point.value}: rename one of them"
                )
                continue
            try:
                self.actors[name] = make_actor(name, point.load())
            except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever an import raises
                self.problems.append(_sentence(name, point, error))

    def object_types(self, found: Any, prefixes: Iterable[str]) -> None:
        points: Iterable[EntryPoint] = chain.from_iterable(
            found.select(group=f"{prefix}.lock_object_types") for prefix in prefixes
        )
        for point in dict.fromkeys(points):
            try:
                if not isinstance(point.load(), ModuleType):
                    raise UsageError("its value is not a module")
            except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever an import raises
                self.problems.append(_sentence(point.name, point, error))


def _sentence(what: str, point: EntryPoint, error: BaseException) -> str:
    cause = " ".join(str(error).split()).removeprefix(f"{what}: ")
    kind = "" if isinstance(error, UsageError) else f"{type(error).__name__}: "
    return f"{what} cannot be used, which {point.group} says is {point.value}: {kind}{cause}"
