"""What `execute()` asks for, planned once per actor and provided anew for each task.

A plan is a flat list of steps, each after those that it needs; a step's result is one slot.
"""

import inspect
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from types import SimpleNamespace
from typing import Annotated, Any, NamedTuple, get_args, get_origin, get_type_hints

from natsume.actors.injection import How, Injection, Step
from natsume.depends import Depends, NoTransaction, is_given, provider_of
from natsume.exceptions import UsageError

Overrides = Mapping[Any, Callable[..., Any]]
_overrides: dict[Any, Callable[..., Any]] = {}
_UNRESOLVED = "it has no annotation that its module can evaluate at run time (an import under TYPE_CHECKING?)"
_UNPROVIDED = "annotate it with Depends, call natsume.depends.provide() for its base, or give it a default"
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


class Plan(NamedTuple):
    """What the tasks of one actor are given; `empty` if that is nothing."""

    actor: str
    execute: Callable[..., Any]
    steps: tuple[Step, ...]
    params: tuple[tuple[str, int], ...]
    empty: bool

    def open(self, given: Mapping[type, object], overrides: Overrides | None = None) -> Injection:
        """The arguments of one task's `execute`, inside an `async with`."""
        if overrides or _overrides:
            plan = make_plan(self.actor, self.execute, {**_overrides, **(overrides or {})})
            return Injection(plan.actor, plan.steps, plan.params, given)
        return Injection(self.actor, self.steps, self.params, given)

    def gives(self, kind: type) -> bool:
        """Whether it asks for this of what the worker itself gives."""
        return any(step.how is How.GIVE and step.make is kind for step in self.steps)

    def missing(self, environ: Mapping[str, str]) -> list[str]:
        """One sentence for each environment variable that a dependency needs and nobody set."""
        needs = {(step.name, variable): None for step in self.steps for variable in step.variables}
        return [f"{self.actor} needs {name}: set {variable}" for name, variable in needs if not environ.get(variable)]


@contextmanager
def overriding(replacements: Overrides) -> Iterator[None]:
    """Replace dependencies (by function or type) in every plan opened inside the block; for tests."""
    before = dict(_overrides)
    _overrides.update(replacements)
    try:
        yield
    finally:
        _overrides.clear()
        _overrides.update(before)


def make_plan(actor: str, execute: Callable[..., Any], overrides: Overrides | None = None) -> Plan:
    """The plan of an actor's `execute`; UsageError if a parameter can never be provided.

    An unbound method's first parameter is the task.
    """
    planner = _Planner(actor, overrides or {})
    params = planner.params(execute, skip=0 if inspect.ismethod(execute) else 1)
    return Plan(actor, execute, tuple(planner.steps), params, empty=not params)


class _Planner:
    def __init__(self, actor: str, overrides: Overrides) -> None:
        self._actor = actor
        self._overrides = {_key(target): replacement for target, replacement in overrides.items()}
        self._slots: dict[Hashable, int | None] = {}
        self.steps: list[Step] = []

    def params(self, function: Callable[..., Any], skip: int = 0) -> tuple[tuple[str, int], ...]:
        """The slots that a function's parameters take; those without one keep their default."""
        found = []
        for parameter in list(_signature(function).parameters.values())[skip:]:
            if parameter.kind in _VARIADIC:
                continue
            annotation = _annotation(function, parameter)
            slot = self._slot(annotation, parameter.default)
            if slot is not None:
                found.append((parameter.name, slot))
            elif parameter.default is parameter.empty:
                raise UsageError(
                    f"{self._actor}: nothing provides {parameter} of {_name(function)}: "
                    + (_UNRESOLVED if annotation is None else _UNPROVIDED)
                )
        return tuple(found)

    def _slot(self, annotation: Any, default: object) -> int | None:
        marker = default if isinstance(default, Depends | NoTransaction) else None
        if get_origin(annotation) is Annotated:
            annotation, *extras = get_args(annotation)
            marker = next((extra for extra in extras if _is_marker(extra)), marker)
        if isinstance(marker, NoTransaction):
            return self._without_transaction(marker.database or annotation)
        target = annotation if marker is None else _key(marker.dependency or annotation)
        if target in self._overrides:
            return self._called(target, self._overrides[target])
        if is_given(target):
            return self._add(target, Step(How.GIVE, target, (), _name(target)))
        provider = provider_of(target) if isinstance(target, type) else None
        if provider is not None:
            variables = tuple(provider.variables(target))
            return self._add(target, Step(How.PROVIDE, partial(provider.factory, target), (), _name(target), variables))
        return None if marker is None else self._called(target, target)

    def _without_transaction(self, cls: Any) -> int | None:
        provider = provider_of(cls) if isinstance(cls, type) else None
        own: Any = provider and provider.no_transaction
        make = partial(own, cls) if own else partial(_own_no_transaction, cls)
        if not own and not hasattr(cls, "no_transaction"):
            raise UsageError(f"{self._actor}: {_name(cls)} has no no_transaction(): give one to provide()")
        variables = tuple(provider.variables(cls)) if provider else ()
        return self._add((NoTransaction, cls), Step(How.PROVIDE, make, (), _name(cls), variables))

    def _called(self, target: Hashable, function: Callable[..., Any]) -> int:
        slot = self._slots.get(target, -1)
        if slot is None:
            raise UsageError(f"{self._actor}: the dependency {_name(function)} depends on itself")
        if slot >= 0:
            return slot
        self._slots[target] = None
        how, make = _kind(function)
        step = Step(how, make, self.params(function), _name(function))
        del self._slots[target]
        return self._add(target, step)

    def _add(self, key: Hashable, step: Step) -> int:
        slot = self._slots.get(key)
        if slot is None:
            slot = self._slots[key] = len(self.steps)
            self.steps.append(step)
        return slot


def _own_no_transaction(cls: Any) -> Any:
    return cls.no_transaction()


def _is_marker(extra: object) -> bool:
    # Ported code may say fastapi's Depends, which has the same shape.
    return isinstance(extra, Depends | NoTransaction) or type(extra).__name__ == "Depends"


def _key(target: Any) -> Any:
    """What a dependency is known by: `SomeDB.transaction` is `SomeDB` where that has a provider."""
    owner = getattr(target, "__self__", None)
    if isinstance(owner, type) and target.__name__ == "transaction" and provider_of(owner):
        return owner
    return target


def _kind(function: Any) -> tuple[How, Callable[..., Any]]:
    """How a function gives its value: generators and decorated context managers are entered."""
    call = function if inspect.isroutine(function) or isinstance(function, type | partial) else function.__call__
    inner = inspect.unwrap(call)
    if inspect.isasyncgenfunction(inner):
        return How.ENTER_ASYNC, function if inner is not call else asynccontextmanager(function)
    if inspect.isgeneratorfunction(inner):
        return How.ENTER, function if inner is not call else contextmanager(function)
    return (How.AWAIT if inspect.iscoroutinefunction(call) else How.CALL), function


def _signature(function: Any) -> inspect.Signature:
    try:
        return inspect.signature(function)
    except ValueError:  # a builtin type that keeps its signature to itself
        return inspect.Signature()


def _annotation(function: Any, parameter: inspect.Parameter) -> Any:
    """A parameter's annotation, evaluated by itself, so that one bad name does not spoil the others."""
    if parameter.annotation is parameter.empty:
        return None
    owner: Any = getattr(function, "__init__", None) if isinstance(function, type) else function
    owner = inspect.unwrap(getattr(owner, "func", owner))
    names = getattr(owner, "__globals__", None) or getattr(type(owner).__call__, "__globals__", {})
    single = SimpleNamespace(__annotations__={"it": parameter.annotation})
    try:
        return get_type_hints(single, globalns=names, include_extras=True)["it"]
    except (NameError, AttributeError, TypeError):
        return None


def _name(thing: Any) -> str:
    return getattr(thing, "__qualname__", None) or str(thing)
