"""Actors are found by the entry points of installed distributions."""

import importlib
import sys
from textwrap import dedent

import pytest

from natsume import BaseTask, LockedObjectType, MutexLock, NoRetry
from natsume.actors.registry import Registry
from natsume.enums import Priority, Size
from natsume.exceptions import UnknownActor, UsageError
from natsume.model.subject import Lane

OWNERS = """
    from dataclasses import dataclass
    from natsume import BaseTask, Priority, Size, ExponentialBackoff, MutexLock

    @dataclass
    class SyncOwners(BaseTask):
        priority = Priority.REALTIME
        size = Size.LARGE
        retry_policy = ExponentialBackoff(max_retries=2)
        dlq_eligible = True
        owner: str

        @property
        def execution_locks(self):
            return [MutexLock("job", self.owner)]

        async def execute(self): ...

    class Purge(BaseTask):
        async def execute(self): ...
"""


@pytest.fixture
def distribution(tmp_path, monkeypatch):
    """Make a distribution of one module, with these entry points."""
    made = []

    def make(module, source, entry_points):
        root = tmp_path / f"site-{module}"
        info = root / f"{module}-1.0.dist-info"
        info.mkdir(parents=True)
        (root / f"{module}.py").write_text(dedent(source))
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(dedent(entry_points))
        monkeypatch.syspath_prepend(str(root))
        importlib.invalidate_caches()
        made.append(module)

    yield make
    for module in made:
        sys.modules.pop(module, None)


def test_what_a_class_says_is_read_once(distribution):
    distribution("own1", OWNERS, "[natsume.tasks.own]\nSyncOwners = own1:SyncOwners\nPurge = own1:Purge\n")
    registry = Registry.load()
    actor = registry.find("own:SyncOwners")
    assert registry.problems == []
    assert (actor.lane, actor.dlq_eligible) == (Lane(Priority.REALTIME, Size.LARGE), True)
    assert (actor.needs_locks, registry.find("own:Purge").needs_locks) == (True, False)
    assert actor.retry_policy.max_retries == 2
    assert actor.plan.empty
    assert registry.of(actor.cls("a")) is registry.of(actor.cls) is registry.get("own:SyncOwners") is actor
    assert registry.find("Purge").name == "own:Purge"
    assert {"own:Purge", "own:SyncOwners"} <= {actor.name for actor in registry.actors}


def test_near_matches(distribution):
    distribution("own2", OWNERS, "[natsume.tasks.own]\nSyncOwners = own2:SyncOwners\n")
    with pytest.raises(UnknownActor, match=r"no actor is called 'own:SyncOwner': did you mean .*own:SyncOwners"):
        Registry.load().find("own:SyncOwner")
    assert Registry.load().get("own:Nothing") is None


def test_other_prefixes(distribution):
    distribution("own3", OWNERS, "[diracx.tasks.own]\nPurge = own3:Purge\n")
    assert Registry.load().get("own:Purge") is None
    assert Registry.load(["diracx"]).get("own:Purge") is not None


def test_one_name_for_two_classes_is_a_clash(distribution):
    points = "[natsume.tasks.own]\nPurge = own4:Purge\n[diracx.tasks.own]\nPurge = own4:SyncOwners\n"
    distribution("own4", OWNERS, points)
    registry = Registry.load(["diracx"])
    assert registry.clashes == registry.problems
    assert "own:Purge is defined twice" in registry.clashes[0]


def test_one_broken_entry_point_spares_the_others(distribution):
    points = """
        [natsume.tasks.own]
        Purge = own5:Purge
        Gone = own5:Gone
        NoModule = nowhere:Task
        NotATask = own5:dataclass
    """
    distribution("own5", OWNERS, points)
    distribution("exits", "raise SystemExit('bye')", "[natsume.tasks.own]\nExits = exits:Task\n")
    registry = Registry.load()
    assert [actor.name for actor in registry.actors if actor.name.startswith("own:")] == ["own:Purge"]
    said = "\n".join(sorted(registry.problems))
    for part in (
        "own:Gone cannot be used, which natsume.tasks.own says is own5:Gone",
        "No module named 'nowhere'",
        "not a subclass of BaseTask",
        "SystemExit: bye",
    ):
        assert part in said
    assert len(registry.problems) == 4
    with pytest.raises(UnknownActor, match="has no attribute 'Gone'"):
        registry.find("own:Gone")


def test_modules_of_object_types_are_imported(distribution):
    source = "from natsume import register_locked_object_type\nregister_locked_object_type('telescope')"
    distribution("types1", source, "[natsume.lock_object_types]\ntelescope = types1\n")
    assert Registry.load().problems == []
    assert LockedObjectType("telescope") == "telescope"


def test_a_type_of_another_prefix_is_there_before_any_task_names_it(distribution):
    source = "from natsume import register_locked_object_type\nregister_locked_object_type('sextant')"
    distribution("types2", source, "[zebra.lock_object_types]\nsextant = types2\n")
    actor = """
        from natsume import BaseTask, LockedObjectType
        SEXTANT = LockedObjectType("sextant")
        class Measure(BaseTask):
            async def execute(self): ...
    """
    distribution("own7", actor, "[natsume.tasks.own7]\nMeasure = own7:Measure\n")
    registry = Registry.load(["zebra"])
    assert (registry.problems, registry.find("Measure").name) == ([], "own7:Measure")


def test_modules_of_object_types_that_are_broken_are_told(distribution):
    points = "[natsume.lock_object_types]\ngone = types3:nothing\nvalue = types3:VALUE\ntaken = types4\n"
    distribution("types3", "VALUE = 1", points)
    distribution("types4", "from natsume import register_locked_object_type as r\nr('job')", "")
    said = "\n".join(Registry.load().problems)
    for part in ("has no attribute 'nothing'", "its value is not a module", "'job' is already registered by natsume"):
        assert part in said


@pytest.mark.parametrize(("name", "said"), [("jobs", "did you mean 'job'"), ("xyz", "known are "), ("", "known are ")])
def test_an_unknown_type_is_an_error_where_it_is_declared(name, said):
    with pytest.raises(ValueError, match="Unknown LockedObjectType") as refused:
        MutexLock(name, 1)
    assert said in str(refused.value)
    assert "register_locked_object_type() in a module" in str(refused.value)


def test_the_drop_in_names():
    assert [str(name) for name in (LockedObjectType.TASK, LockedObjectType.JOB, LockedObjectType.TRANSFORMATION)] == [
        "task",
        "job",
        "transformation",
    ]
    assert MutexLock(LockedObjectType.JOB, 1) == MutexLock("job", "1") == MutexLock("JOB", 1)


class Good(BaseTask):
    async def execute(self): ...


def test_a_class_without_entry_point_says_which_to_add():
    with pytest.raises(UnknownActor, match=r'Good has no entry point: add Good = ".*:Good" to natsume.tasks.<group>'):
        Registry.of_classes({}).of(Good())
    assert Registry.of_classes({"g:Good": Good}).of(Good()).name == "g:Good"


def with_attributes(**attributes):
    return type("Bad", (Good,), attributes)


@pytest.mark.parametrize(
    ("cls", "says"),
    [
        (BaseTask, r"no execute\(\)"),
        (with_attributes(execute=lambda self: (yield)), "no function that returns"),
        (with_attributes(priority="urgent"), "priority is 'urgent'"),
        (with_attributes(size=3), "size is 3"),
        (with_attributes(retry_policy=NoRetry), "retry_policy is"),
        (with_attributes(timeout_s=0), "timeout_s is 0"),
        (with_attributes(timeout_s=float("nan")), "timeout_s is nan"),
        (dict, "not a subclass of BaseTask"),
    ],
)
def test_what_cannot_be_an_actor(cls, says):
    with pytest.raises(UsageError, match=f"^g:Bad: .*{says}"):
        Registry.of_classes({"g:Bad": cls})


@pytest.mark.parametrize("name", ["Bad", "g:", ":Bad", "g:a b", "a:b:c"])
def test_names(name):
    with pytest.raises(UsageError, match="no actor's name"):
        Registry.of_classes({name: Good})
