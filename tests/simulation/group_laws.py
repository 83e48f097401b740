"""What must hold of every world with groups: children follow from one commit, callbacks from all ends."""

from collections import defaultdict

from natsume.core import phases as at
from natsume.core.join import JoinState
from natsume.model.record import Child, Done, Group, When, child_id
from natsume.model.task import State, Task

from .breach import LawBroken
from .group_worlds import GroupWorld
from .laws import Laws, Witness
from .scenario import Actor, Scenario


def run_of(task: Task) -> str:
    """The run of the parent that made a task: each writes its own into the arguments."""
    return task.body.decode()


class GroupLaws(Laws):
    """Watches one world with groups."""

    def __init__(self, world: GroupWorld, scenario: Scenario) -> None:
        super().__init__(world, scenario)
        self._group_world = world
        self._all_actors = scenario.actors
        self._parents: dict[str, Done] = {}
        self._children: dict[str, str] = {}
        self._callbacks: dict[str, tuple[Done, Group]] = {}
        self._alarms: dict[str, tuple[Done, Group]] = {}
        self._well: set[str] = set()
        self._badly: set[str] = set()
        self._spawned: defaultdict[str, dict[int, str]] = defaultdict(dict)
        self.tasks: dict[str, Task] = {task.id: task for task, _ in scenario.tasks}
        world.on_stored = self.stored

    def spawns(self, parent_id: str, children: list[Child], groups: list[Group]) -> None:
        """A run made children and joins: the same index has the same id in every run."""
        ids = dict(enumerate(child.id for child in children))
        ids |= {-1 - number: group.join for number, group in enumerate(groups)}
        for index, made in ids.items():
            if self._spawned[parent_id].setdefault(index, made) != made:
                raise LawBroken("ids are stable over retries", f"{parent_id}/{index}")

    def stored(self, task: Task, copied: bool) -> None:
        """A conductor stored a task: it must follow from a commit, and a callback from all its members' ends."""
        if task.parent is None:
            return
        if copied:
            # The copies may overtake each other, and only the later one is looked up.
            self.sent_again(task.id)
        self._follows(task)
        self.tasks.setdefault(task.id, task)

    def _follows(self, task: Task) -> None:
        parent = self._parents.get(task.parent or "")
        if parent is None:
            raise LawBroken("children follow from a commit", f"{task.id} of {task.parent}, which has none")
        if run_of(task) != parent.nonce:
            raise LawBroken("children of a losing run never run", f"{task.id} of {run_of(task)}, not {parent.nonce}")
        if task.id in self._callbacks:
            self._waited(*self._callbacks[task.id])
        elif task.id in self._alarms:
            _, group = self._alarms[task.id]
            if not self._badly.intersection(members(parent.id, group)):
                raise LawBroken("on_failure follows from a failure", f"{group.join} has none")
        elif task.id not in self._children:
            raise LawBroken("children follow from a commit", f"{task.id} is none of {parent.id}")

    def _waited(self, parent: Done, group: Group) -> None:
        ended = self._well | self._badly if group.when is When.ALL_DONE else self._well
        waited_for = set(members(parent.id, group))
        if not waited_for <= ended:
            how = f"{group.join} of {parent.id}: {len(waited_for - ended)} of {group.total} are missing"
            raise LawBroken("a callback comes after all its members", how)

    def executes(self, run: Witness, phase: at.Phase, held: set[str], others_run: bool) -> None:
        """The actor is about to start: a callback has waited, a child's parent has committed."""
        super().executes(run, phase, held, others_run)
        task = self.tasks[run.id]
        if task.parent is not None:
            self._follows(task)

    def committed(self, record: Done) -> None:
        """A done record was written: what follows from it is known from now on."""
        super().committed(record)
        (self._well if record.state is State.COMPLETED else self._badly).add(record.id)
        if not record.groups and not record.children:
            return
        self._parents[record.id] = record
        world = self._group_world
        chunks = [world.chunks[record.id][record.nonce, number] for number in range(record.chunks)]
        children = [child for part in (*chunks, record) for child in part.children]
        for child in children:
            self._expect(child)
            self._children[child.id] = record.id
        for group in record.groups:
            self._callbacks[group.callback.id] = (record, group)
            self._actors[group.callback.id] = self._all_actors[group.callback.actor]
            if group.on_failure is not None:
                self._alarms[group.on_failure.id] = (record, group)
                self._actors[group.on_failure.id] = self._all_actors[group.on_failure.actor]

    def _expect(self, child: Child) -> None:
        self._actors[child.id] = self._all_actors[child.actor]
        self._ids.append(child.id)

    def replayed(self, task_id: str) -> None:
        """A dead letter runs once more, under its id."""
        del self._commits[task_id]

    def end(self) -> None:
        """Every child has ended, every join that could fire has, every other has not."""
        for parent in self._parents.values():
            for group in parent.groups:
                self._join(parent, group)
        expected = {*self._ids, *self._alarms}
        super().end()
        for stored in self._world.records.values():
            if isinstance(stored.record, Done) and stored.record.id not in expected:
                raise LawBroken("children follow from a commit", f"{stored.record.id} was never asked for")

    def _join(self, parent: Done, group: Group) -> None:
        world = self._group_world
        ends = [world.done(member) for member in members(parent.id, group)]
        failed = [done.id for done in ends if done is not None and done.state is not State.COMPLETED]
        complete = None not in ends and (not failed or group.when is When.ALL_DONE)
        called = world.done(group.callback.id) is not None
        if complete:
            self._ids.append(group.callback.id)
        if complete != called:
            raise LawBroken("a complete join fires, a blocked one never", f"{group.join}: {complete=}, {called=}")
        if group.join not in world.joins:
            raise LawBroken("a join is there after its parent's commit", group.join)
        join, _ = world.joins[group.join]
        if (join.state is JoinState.FIRED) != complete:
            raise LawBroken("a join shows what it is", f"{group.join} is {join.state}, {complete=}")
        if set(join.failed_ids()) != set(failed):
            raise LawBroken("a join knows who failed", f"{group.join}: {join.failed_ids()}, not {failed}")
        alarm = group.on_failure
        if alarm is not None and failed and world.done(alarm.id) is None:
            raise LawBroken("on_failure runs once", f"{group.join} told nobody of {failed}")

    def _outcome(self, done: Done, actor: Actor) -> None:
        if done.id in self._group_world.fixed and done.state is State.COMPLETED:
            return
        super()._outcome(done, actor)


def members(parent_id: str, group: Group) -> list[str]:
    """The ids of a group's members."""
    return [child_id(parent_id, group.first + member) for member in range(group.total)]
