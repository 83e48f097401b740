"""`natsume call`: an actor by hand, with its locks and without its limiters."""

import json
import re
import signal

LIMITED = """
    from natsume import BaseTask, ConcurrencyLimiter, RateLimiter

    class Hourly(RateLimiter):
        limit, window_seconds = 1, 3600

    class One(ConcurrencyLimiter):
        limit = 1

    class Limited(BaseTask):
        @property
        def execution_locks(self):
            return [Hourly("job", "1"), One("job", "1")]
        async def execute(self):
            return "unlimited"
"""
GIVEN = """
    from natsume import BaseTask
    from natsume.given import HeldLocks, TaskInfo
    from natsume.locks import MutexLock

    class Given(BaseTask):
        @property
        def execution_locks(self):
            return [MutexLock("job", "1")]
        async def execute(self, info: TaskInfo, locks: HeldLocks):
            return [info.actor, info.attempt, locks.token() > 0]
"""

TALKING = """
    from natsume import BaseTask, TaskControl
    from natsume.control import comment, should_cancel

    class Talking(BaseTask):
        async def execute(self, control: TaskControl):
            await control.progress(1, 2, "half")
            await comment("that is all")
            return [control.should_cancel(), should_cancel()]
"""


def test_what_a_task_says_of_itself_is_told_on_stderr(natsume, site):
    site.add("talking_actors", TALKING, "[natsume.tasks.talking]\nTalking = talking_actors:Talking\n")
    ran = natsume("call", "Talking")
    assert (ran.code, ran.out, ran.error_lines) == (0, "[null,null]\n", ["1/2  half", "that is all"])


def test_a_task_without_locks_needs_no_broker(natsume):
    ran = natsume("call", "own:Echo", "--args", '["a"]', "--kwargs", '{"times": 3}')
    assert (ran.code, ran.out, ran.err) == (0, '"aaa"\n', "")


def test_limiters_are_skipped(natsume, site):
    site.add("limited_actors", LIMITED, "[natsume.tasks.limited]\nLimited = limited_actors:Limited\n")
    for _ in range(2):
        assert natsume("call", "Limited").out == '"unlimited"\n'


def test_locks_are_held_and_renewed_while_it_runs_and_given_back_at_ctrl_c(natsume, start, online):
    # Its lock ends after 1 s unless it is renewed, and each of these commands takes about as long.
    first = start("call", "Locked", "--args", '["1", 3600]')
    first.until("locked")
    for _ in range(3):
        refused = natsume("call", "Locked", "--args", '["1"]')
        assert refused.code == 1
        said = r"mutex:job:1 is held by task \w+ \(run \w+\) on worker \S+ since 20\S+Z; try again when that has ended"
        assert re.search(said, refused.err), refused.err
    assert natsume("call", "Locked", "--args", '["2"]').code == 0
    assert first.stop(signal.SIGINT) == 130
    assert natsume("call", "Locked", "--args", '["1"]').code == 0


INSIDE = """
    import asyncio
    from natsume import BaseTask, MutexLock

    class Inside(BaseTask):
        async def execute(self):
            async with MutexLock("job", "1", ttl_ms=1000, wait_s=0.5) as held:
                print("inside", flush=True)
                await asyncio.sleep(3600)
"""


def test_a_lock_inside_the_task_is_held_and_its_holder_is_named(natsume, start, online, site):
    site.add("inside_actors", INSIDE, "[natsume.tasks.inside]\nInside = inside_actors:Inside\n")
    first = start("call", "Inside")
    first.until("inside")
    for _ in range(2):
        refused = natsume("call", "Inside")
        assert (refused.code, refused.out) == (1, "")
        assert "LockNotAcquired: mutex:job:1 is held by task" in refused.err
    assert first.stop(signal.SIGINT) == 130
    assert natsume("call", "Locked", "--args", '["1"]').code == 0


def test_it_is_given_what_a_worker_would_give(natsume, site, online):
    site.add("given_actors", GIVEN, "[natsume.tasks.given]\nGiven = given_actors:Given\n")
    assert json.loads(natsume("call", "Given").out) == ["given:Given", 1, True]


def test_children_are_sent_after_success(natsume, online):
    assert natsume("call", "Parent").out == "null\n"
    rows = {row["lane"]: row for row in json.loads(natsume("lanes", "--json").out)}
    assert rows["normal.small"]["actors"] == {"own:Echo": 1}


def test_children_that_cannot_be_sent_are_told_in_one_line(natsume):
    ran = natsume("call", "Parent")
    assert (ran.code, ran.out) == (0, "null\n")
    assert len(ran.error_lines) == 1
    assert "its 1 children were not sent" in ran.err


GROUP = """
    from natsume import BaseTask
    from natsume.depends import CallbackSpawner
    from own_actors import Echo

    class Many(BaseTask):
        async def execute(self, spawner: CallbackSpawner):
            await spawner.spawn_with_callback([Echo("a"), Echo("b")], Echo("all"))
"""


def test_a_group_goes_on_as_a_commit(natsume, start, online, site):
    site.add("group_actors", GROUP, "[natsume.tasks.group]\nMany = group_actors:Many\n")
    worker, conductor = start("worker"), start("conductor")
    worker.until("worker ready")
    conductor.until("conductor ready")
    assert natsume("call", "Many").code == 0

    def finished():
        rows = {row["lane"]: row for row in json.loads(natsume("lanes", "--json").out)}
        return rows["normal.small"]["actors"] == {} and rows["effects"]["pending"] == 0

    assert any(finished() for _ in range(50))


def test_a_failing_task_exits_with_1(natsume):
    ran = natsume("call", "Fail")
    assert (ran.code, ran.out) == (1, "")
    assert ran.error_lines == ["natsume: own:Fail raised ValueError: boom"]
    assert 'raise ValueError("boom")' in natsume("call", "Fail", "--debug").err


def test_a_failing_task_can_be_looked_at(natsume):
    ran = natsume("call", "Fail", "--debugger", "exception", stdin="p 'in', __name__\nq\n")
    assert ran.code == 1
    assert "('in', 'own_actors')" in ran.out


def test_a_task_can_be_stopped_before_it_runs(natsume):
    ran = natsume("call", "Echo", "--args", '["a"]', "--debugger", "before", stdin="p 'now'\nc\n")
    assert ran.code == 0
    assert "'now'" in ran.out
    assert ran.out.endswith('"a"\n')


def test_an_unknown_debugger_is_refused(natsume):
    ran = natsume("call", "Fail", "--debugger", "gdb")
    assert ran.code == 2
    assert "--debugger" in ran.err


CALLED = """
    import asyncio
    from natsume import BaseTask, JoinResults

    class Slow(BaseTask):
        timeout_s = 0.1
        async def execute(self):
            await asyncio.Event().wait()

    class Impatient(BaseTask):
        timeout_s = 60
        async def execute(self):
            raise TimeoutError("its own")

    class Callback(BaseTask):
        async def execute(self, results: JoinResults):
            return [one.result async for one in results]
"""


def test_its_timeout_holds_and_what_it_cannot_be_given_is_told(natsume, site):
    names = ("Slow", "Impatient", "Callback")
    points = "".join(f"{name} = called_actors:{name}\n" for name in names)
    site.add("called_actors", CALLED, f"[natsume.tasks.called]\n{points}")
    said = {name: natsume("call", name) for name in names}
    assert {ran.code for ran in said.values()} == {1}
    late = said.pop("Slow").error_lines
    assert len(late) == 1
    assert late[0].startswith("natsume: called:Slow exceeded its timeout_s of 0.1 s: it took 0.")
    assert [ran.error_lines for ran in said.values()] == [
        ["natsume: called:Impatient raised TimeoutError: its own"],
        ["natsume: called:Callback asks for JoinResults, which only the callback of a join has; submit its group"],
    ]
