"""How `execute()` says what it needs, and how an application teaches Natsume to provide it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from natsume.base_task import BaseTask
from natsume.exceptions import UsageError
from natsume.model.record import When
from natsume.threads import needs_loop

__all__ = [
    "CallbackSpawner",
    "DBDepends",
    "Depends",
    "NoTransaction",
    "Provider",
    "Spawner",
    "given",
    "is_given",
    "provide",
    "provider_of",
]

T = TypeVar("T")


@dataclass(frozen=True)
class Depends:
    """In `Annotated[T, Depends(f)]`: the value is what `f` returns or yields, once per task."""

    dependency: Callable[..., Any] | None = None


class DBDepends(Depends):
    """In `Annotated[SomeDB, DBDepends(SomeDB.transaction)]`: a transaction that ends with the task."""


@dataclass(frozen=True)
class NoTransaction:
    """In `Annotated[SomeDB, NoTransaction()]`: the database without an open transaction."""

    database: type | None = None


@dataclass(frozen=True)
class Provider:
    """How instances of a base class and its subclasses come to be."""

    factory: Callable[[Any], Any]
    no_transaction: Callable[[Any], Any] | None = None
    variables: Callable[[Any], Iterable[str]] = lambda _cls: ()


_providers: dict[type, Provider] = {}
_given: set[type] = set()


def provide(
    base: type[T],
    factory: Callable[[type[T]], Any],
    *,
    no_transaction: Callable[[type[T]], Any] | None = None,
    variables: Callable[[type[T]], Iterable[str]] | None = None,
) -> None:
    """Inject every subclass of `base` by bare annotation: `factory(cls)` per task.

    The factory returns the instance, or a coroutine, (async) context manager or generator that
    gives it. `variables(cls)` names the environment variables without which it cannot.
    """
    if not isinstance(base, type) or not callable(factory):
        raise UsageError(f"provide() takes a base class and a function of the class, not {base!r}, {factory!r}")
    _providers[base] = Provider(factory, no_transaction, variables or (lambda _cls: ()))


def provider_of(cls: type) -> Provider | None:
    """The provider of the nearest base class that has one."""
    return next((_providers[base] for base in cls.__mro__ if base in _providers), None)


def given(cls: type[T]) -> type[T]:
    """Declare (as a decorator) that the runtime gives each task its instance of this type."""
    _given.add(cls)
    return cls


def is_given(cls: object) -> bool:
    """Whether the runtime gives each task its instance of this type."""
    return isinstance(cls, type) and cls in _given


class Spawner(Protocol):
    """What takes a group of children for the commit of the task that runs."""

    async def spawn_with_callback(
        self,
        children: Iterable[object],
        callback: object,
        *,
        on_failure: object | None = None,
        when: When = When.ALL_SUCCEEDED,
    ) -> str:
        """Take a group; the id of its join."""
        ...


@given
class CallbackSpawner:
    """Spawns children and a callback that runs once after all of them; injected by bare annotation."""

    def __init__(self, spawner: Spawner) -> None:
        self._spawner = spawner

    @needs_loop
    async def spawn_with_callback(
        self,
        children: Iterable[BaseTask],
        callback: BaseTask,
        *,
        on_failure: BaseTask | None = None,
        when: When = When.ALL_SUCCEEDED,
    ) -> str:
        """Take children and a callback for this task's commit; returns the id of their join.

        The callback runs after all members succeeded, or with ALL_DONE after all ended; `on_failure` runs
        once when the first member fails for good. An empty group calls back at once.
        """
        return await self._spawner.spawn_with_callback(children, callback, on_failure=on_failure, when=when)
