"""The dependencies of one task: opened step by step, closed in reverse."""

import inspect
from collections.abc import Mapping
from contextlib import asynccontextmanager, contextmanager
from enum import Enum, auto
from functools import partial
from types import TracebackType
from typing import Any, NamedTuple

from natsume.exceptions import MissingDependency


class How(Enum):
    """How a step comes to its value."""

    GIVE = auto()
    CALL = auto()
    AWAIT = auto()
    ENTER = auto()
    ENTER_ASYNC = auto()
    PROVIDE = auto()


class Step(NamedTuple):
    """One value of a task: `make`, called with the values of earlier slots by name."""

    how: How
    make: Any
    params: tuple[tuple[str, int], ...]
    name: str
    variables: tuple[str, ...] = ()


class Injection:
    """The dependencies of one task, open while it runs, closed in reverse.

    A failure of the task is thrown into what is open; it cannot be swallowed there. A failure to
    close is a failure of the task.
    """

    __slots__ = ("_actor", "_given", "_open", "_params", "_steps")

    def __init__(
        self,
        actor: str,
        steps: tuple[Step, ...],
        params: tuple[tuple[str, int], ...],
        given: Mapping[type, object],
    ) -> None:
        self._actor = actor
        self._steps = steps
        self._params = params
        self._given = given
        self._open: list[tuple[bool, Any]] = []

    async def __aenter__(self) -> dict[str, Any]:
        slots: list[Any] = []
        try:
            for step in self._steps:
                slots.append(await self._value(step, {name: slots[index] for name, index in step.params}))
        except BaseException as error:
            final = await self._close(error)
            assert final is not None, "a failure stays one"
            if final is error:
                raise
            raise final from error
        return {name: slots[index] for name, index in self._params}

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._open:
            return
        final = await self._close(error)
        if final is not None and final is not error:
            raise final

    async def _value(self, step: Step, arguments: dict[str, Any]) -> Any:
        match step.how:
            case How.CALL:
                return step.make(**arguments)
            case How.AWAIT:
                return await step.make(**arguments)
            case How.ENTER | How.ENTER_ASYNC:
                return await self._enter(step.make(**arguments), isasync=step.how is How.ENTER_ASYNC)
            case How.GIVE if step.make in self._given:
                return self._given[step.make]
            case How.GIVE:
                raise MissingDependency(f"{self._actor} needs {step.name}, which only a worker gives")
        return await self._provide(step.make)

    async def _provide(self, make: partial[Any]) -> Any:
        """The instance that a provider's factory returns or opens: anything else is what leads to it."""
        value, cls = make(), make.args[0]
        if isinstance(value, cls):
            return value
        if inspect.isawaitable(value):
            value = await value
        if inspect.isasyncgen(value):
            value = asynccontextmanager(lambda: value)()
        elif inspect.isgenerator(value):
            value = contextmanager(lambda: value)()
        if not isinstance(value, cls) and hasattr(value, "__aenter__"):
            return await self._enter(value, isasync=True)
        if not isinstance(value, cls) and hasattr(value, "__enter__"):
            return await self._enter(value, isasync=False)
        return value

    async def _enter(self, context: Any, *, isasync: bool) -> Any:
        value = await context.__aenter__() if isasync else context.__enter__()
        self._open.append((isasync, context))
        return value

    async def _close(self, failure: BaseException | None) -> BaseException | None:
        """Close all, whatever happens; the failure that is then the task's."""
        while self._open:
            isasync, context = self._open.pop()
            why = (None, None, None) if failure is None else (type(failure), failure, failure.__traceback__)
            try:
                if isasync:
                    await context.__aexit__(*why)
                else:
                    context.__exit__(*why)
            except BaseException as error:  # noqa: BLE001 - the others must close too
                if error is failure:
                    continue
                # The first failure is the task's own and decides its retry; a cancellation beats it.
                if failure is None or (isinstance(failure, Exception) and not isinstance(error, Exception)):
                    failure = error
                else:
                    failure.add_note(f"closing a dependency failed as well: {error!r}")
        return failure
