"""The signature of `execute` says what a task needs; each task gets it anew, and it is closed with it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import Annotated, Any

import pytest

from natsume.actors.inject import make_plan, overriding
from natsume.depends import DBDepends, Depends, NoTransaction, given, provide
from natsume.exceptions import MissingDependency, UsageError

LOG: list[str] = []


@pytest.fixture(autouse=True)
def log():
    LOG.clear()
    return LOG


def number() -> int:
    LOG.append("number")
    return 5


async def doubled(n: Annotated[int, Depends(number)]) -> int:
    return 2 * n


async def session():
    LOG.append("open")
    try:
        yield "session"
    except BaseException as error:
        LOG.append(f"roll back {error}")
        raise
    LOG.append("commit")


def cursor(session: Annotated[str, Depends(session)]):
    yield f"cursor of {session}"
    LOG.append("close")


def fails_to_open(session: Annotated[str, Depends(session)]):
    raise OSError("no disk")


def fails_to_close(session: Annotated[str, Depends(session)]):
    yield
    raise OSError("disk full")


def hush():
    try:
        yield
    except ValueError:
        LOG.append("hushed")


class Database:
    def __init__(self, text: str) -> None:
        self.text = text

    @classmethod
    @asynccontextmanager
    async def transaction(cls):
        LOG.append("begin")
        yield cls("in transaction")
        LOG.append("end")


class JobDB(Database):
    pass


provide(
    Database,
    lambda cls: cls.transaction(),
    no_transaction=lambda cls: cls("idle"),
    variables=lambda cls: (f"NATSUME_DB_URL_{cls.__name__.upper()}",),
)


@given
class Context:
    pass


async def opened(execute, given=None, **options):
    async with make_plan("g:Task", execute).open(given or {}, **options) as arguments:
        return arguments


async def test_nothing_asked_nothing_planned():
    async def execute(self, *args, **kwargs: Any): ...

    assert make_plan("g:Task", execute).empty
    assert await opened(execute) == {}


async def test_functions_run_once_per_task_and_may_depend():
    async def execute(self, a: Annotated[int, Depends(number)], b: Annotated[int, Depends(doubled)]): ...

    assert await opened(execute) == {"a": 5, "b": 10}
    assert LOG == ["number"]


async def test_generators_close_in_reverse():
    async def execute(self, c: Annotated[str, Depends(cursor)]): ...

    assert await opened(execute) == {"c": "cursor of session"}
    assert LOG == ["open", "close", "commit"]


@pytest.mark.parametrize("failure", [ValueError("no"), asyncio.CancelledError("no")])
async def test_a_failing_task_rolls_back(failure):
    async def execute(self, c: Annotated[str, Depends(cursor)]): ...

    with pytest.raises(type(failure)) as raised:
        async with make_plan("g:Task", execute).open({}):
            raise failure
    assert raised.value is failure
    assert LOG == ["open", "roll back no"]


async def test_a_commit_that_fails_fails_the_task_and_rolls_back_the_others():
    async def execute(self, c: Annotated[None, Depends(fails_to_close)]): ...

    with pytest.raises(OSError, match="disk full"):
        await opened(execute)
    assert LOG == ["open", "roll back disk full"]


async def test_a_dependency_cannot_swallow_the_tasks_failure():
    async def execute(self, c: Annotated[None, Depends(hush)]): ...

    with pytest.raises(ValueError, match="no"):
        async with make_plan("g:Task", execute).open({}):
            raise ValueError("no")
    assert LOG == ["hushed"]


async def test_an_error_while_opening_closes_what_is_open():
    async def execute(self, c: Annotated[None, Depends(fails_to_open)]): ...

    with pytest.raises(OSError, match="no disk"):
        await opened(execute)
    assert LOG == ["open", "roll back no disk"]


async def test_subclasses_of_a_provided_base_need_no_marker():
    async def execute(
        self,
        bare: JobDB,
        same: Annotated[JobDB, DBDepends(JobDB.transaction)],
        idle: Annotated[JobDB, NoTransaction()],
        also_idle: Annotated[JobDB, NoTransaction(JobDB)],
    ): ...

    arguments = await opened(execute)
    assert arguments["bare"] is arguments["same"]
    assert arguments["bare"].text == "in transaction"
    assert arguments["idle"] is arguments["also_idle"]
    assert arguments["idle"].text == "idle"
    assert LOG == ["begin", "end"]
    plan = make_plan("g:Task", execute)
    assert plan.missing({}) == ["g:Task needs JobDB: set NATSUME_DB_URL_JOBDB"]
    assert plan.missing({"NATSUME_DB_URL_JOBDB": "x"}) == []


@pytest.mark.parametrize("kind", ["instance", "coroutine", "generator", "async generator"])
async def test_factories_of_any_kind(kind):
    class Base:
        pass

    def generator(cls):
        yield cls()

    async def async_generator(cls):
        yield cls()

    async def coroutine(cls):
        return cls()

    factories = {"instance": lambda cls: cls(), "coroutine": coroutine, "generator": generator}
    provide(Base, factories.get(kind, async_generator))

    async def execute(self, it): ...

    execute.__annotations__["it"] = Base
    assert isinstance((await opened(execute))["it"], Base)


async def test_what_the_worker_gives():
    async def execute(self, context: Context): ...

    context = Context()
    assert await opened(execute, {Context: context}) == {"context": context}
    with pytest.raises(MissingDependency, match="g:Task needs Context"):
        await opened(execute)


async def test_replacements_for_tests():
    async def execute(self, a: Annotated[int, Depends(doubled)], db: JobDB, context: Context): ...

    def three() -> int:
        return 3

    replacements = {number: three, JobDB.transaction: lambda: "db", Context: lambda: "context"}
    expected = {"a": 6, "db": "db", "context": "context"}
    assert await opened(execute, overrides=replacements) == expected
    with overriding(replacements):
        assert await opened(execute) == expected
    with pytest.raises(MissingDependency):
        await opened(execute)


async def test_defaults_are_kept():
    async def execute(self, a: Unknown = 1, b: int = 2, c=3): ...  # noqa: F821

    assert await opened(execute) == {}


def test_what_nobody_provides_is_an_error_of_the_plan():
    async def typo(self, a: Unknown): ...  # noqa: F821

    async def plain(self, limit: int): ...

    with pytest.raises(UsageError, match=r"g:Task: nothing provides a: 'Unknown' of .*TYPE_CHECKING"):
        make_plan("g:Task", typo)
    with pytest.raises(UsageError, match=r"g:Task: nothing provides limit: 'int' of .*annotate it with Depends"):
        make_plan("g:Task", plain)


def test_circles_are_an_error_of_the_plan():
    def loop(it): ...

    loop.__annotations__["it"] = Annotated[int, Depends(loop)]

    with pytest.raises(UsageError, match="depends on itself"):
        make_plan("g:Task", _taking(loop))


def _taking(function):
    async def execute(self, it): ...

    execute.__annotations__["it"] = Annotated[int, Depends(function)]
    return execute
