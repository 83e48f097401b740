"""Periodic actors: what a class says, in every form that a task's class may have."""

from dataclasses import dataclass

import msgspec
import pydantic
import pytest

from natsume import (
    CatchUp,
    CronSchedule,
    IntervalSeconds,
    MutexLock,
    Overlap,
    PeriodicBaseTask,
    PeriodicVoAwareBaseTask,
    UsageError,
)
from natsume.actors.registry import Registry
from natsume.config.agenda import agenda
from natsume.config.tasks_file import parse
from natsume.model.config import TasksConfig


class Bare(PeriodicBaseTask):
    default_schedule = IntervalSeconds(60)

    async def execute(self):
        return None


@dataclass
class Reports(PeriodicVoAwareBaseTask):
    default_schedule = CronSchedule("0 6 * * *", "Europe/Zurich")
    detail: str = "short"

    async def execute(self):
        return None


class Model(PeriodicBaseTask, pydantic.BaseModel):
    default_schedule = IntervalSeconds(60)
    _enabled = False
    catch_up = CatchUp.SKIP
    count: int = 1

    async def execute(self):
        return None


class Struct(PeriodicBaseTask, msgspec.Struct):
    default_schedule = IntervalSeconds(60)
    overlap = Overlap.ALL
    count: int

    async def execute(self):
        return None


REGISTRY = Registry.of_classes({"g:Bare": Bare, "g:Reports": Reports, "g:Model": Model, "g:Struct": Struct})


def wanted(text: str, off: tuple[str, ...] = ()):
    found = agenda(REGISTRY, parse(text.encode(), "t.yaml") if text else TasksConfig(), off, 1.0)
    return {key.name: bytes(one.entry.body) for key, one in found.wanted.items()}, found.problems


def test_what_a_class_says():
    assert REGISTRY.find("g:Model").periodic.enabled is False
    assert REGISTRY.find("g:Model").periodic.catch_up is CatchUp.SKIP
    assert REGISTRY.find("g:Reports").periodic.per_vo
    assert REGISTRY.find("g:Reports").arguments.names == ("vo", "detail")


def test_the_locks_are_per_class_and_per_vo():
    assert Bare().execution_locks == [MutexLock("task", "Bare")]
    assert Reports("lhcb").execution_locks == [MutexLock("task", "Reports", "lhcb")]
    assert Struct(1).execution_locks == []


def test_without_configuration_only_what_needs_none_ticks():
    ticking, problems = wanted("")
    assert ticking == {"g:Bare/default": b"{}"}
    assert len(problems) == 1
    assert "g:Struct/default does not tick" in problems[0]
    assert "count" in problems[0]


def test_vos_and_instances_come_from_the_file():
    ticking, problems = wanted(
        "vos: [a, b]\n"
        "common:\n"
        "  g:Model: {enabled: true}\n"
        "  g:Struct: {schedules: {five: {every: 5, args: {count: 5}}, rest: {enabled: false}}}\n"
        "vo-overrides:\n"
        "  b: {g:Reports: {schedules: {default: {args: {detail: long}}}}}\n"
    )
    assert ticking == {
        "g:Bare/default": b"{}",
        "g:Model/default": b"{}",
        "g:Reports/default/a": b'{"vo":"a"}',
        "g:Reports/default/b": b'{"detail":"long","vo":"b"}',
        "g:Struct/five": b'{"count":5}',
    }
    assert not problems


def test_actors_are_switched_off_by_pattern():
    assert wanted("", ("g:B*", "g:Struct"))[0] == {}


def test_an_instance_that_cannot_be_costs_a_sentence_and_not_the_others():
    ticking, problems = wanted("common: {g:Bare: {schedules: {a@b: {every: 5}}}}")
    assert list(ticking) == ["g:Bare/default"]
    assert [problem.partition(" does not tick")[0] for problem in problems] == [
        "g:Bare/a@b",
        "g:Struct/default",
    ]


@pytest.mark.parametrize(
    ("attributes", "sentence"),
    [
        ({}, "default_schedule is missing"),
        ({"default_schedule": 60}, "default_schedule is 60"),
        ({"default_schedule": IntervalSeconds(5), "catch_up": "never"}, "catch_up is 'never'"),
        ({"default_schedule": IntervalSeconds(5), "overlap": None}, "overlap is None"),
        ({"default_schedule": IntervalSeconds(5), "jitter_s": -1}, "jitter_s is -1"),
        ({"default_schedule": IntervalSeconds(5), "catch_up_window_s": 7200}, "from 0 to 3600"),
    ],
)
def test_a_class_that_cannot_tick_is_no_actor(attributes, sentence):
    async def execute(self):
        return None

    cls = type("Wrong", (PeriodicBaseTask,), {"execute": execute} | attributes)
    with pytest.raises(UsageError, match=sentence):
        Registry.of_classes({"g:Wrong": cls})
