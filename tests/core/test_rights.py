"""Who may do what with whose task: each line of the table that the how-to shows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from natsume import BaseTask, UsageError
from natsume.actors.registry import make_actor
from natsume.core.rights import NARROW, OPERATOR, Act, By, Who, Widened, carried, may, read, who_is, written
from natsume.core.said import fitted

ADA, BOB = Who("ada"), Who("bob", tenants=("lhcb",))
NOBODY = Who()


@pytest.mark.parametrize("act", Act)
def test_an_operator_may_do_everything(act):
    assert may(OPERATOR, act, None, None)
    assert may(Who("eve", operator=True), act, "ada", "lhcb")


@pytest.mark.parametrize("act", [Act.SEE, Act.COMMENT])
def test_a_task_is_readable_by_its_owner_and_by_those_with_access_to_its_tenant(act):
    assert may(ADA, act, "ada", "atlas")
    assert may(BOB, act, "ada", "lhcb")
    assert not may(ADA, act, "bob", "lhcb")
    assert not may(BOB, act, "ada", "atlas")


@pytest.mark.parametrize("act", Act)
def test_a_task_without_owner_and_tenant_is_for_operators(act):
    widened = Widened(By.TENANT, By.TENANT)
    assert not any(may(who, act, None, None, widened) for who in (ADA, BOB, NOBODY))
    assert not may(Who("", ("",)), act, "", "", widened)


@pytest.mark.parametrize("act", [Act.CANCEL, Act.REPLAY])
def test_cancel_and_replay_need_an_operator_unless_the_actor_widens_them(act):
    field = act.value
    owner, tenant = Widened(**{field: By.OWNER}), Widened(**{field: By.TENANT})
    assert [may(ADA, act, "ada", "lhcb", widened) for widened in (NARROW, owner, tenant)] == [False, True, True]
    assert [may(BOB, act, "ada", "lhcb", widened) for widened in (NARROW, owner, tenant)] == [False, False, True]
    assert not may(ADA, act, "bob", "atlas", tenant)


def test_a_long_name_is_known_as_the_ledger_keeps_it():
    long = "a" * 300
    kept = fitted(long)
    assert may(Who(long), Act.SEE, kept, None)
    assert may(Who(tenants=(long,)), Act.SEE, None, kept)
    assert not may(Who("a" * 301), Act.SEE, kept, None)


def test_without_a_name_the_caller_is_the_operator():
    assert who_is(None).operator
    assert who_is("ada") == ADA
    assert who_is(BOB) is BOB


@given(st.sampled_from(By), st.sampled_from(By))
def test_what_is_written_is_read(cancel, replay):
    widened = Widened(cancel, replay)
    assert read(written(widened)) == widened
    assert carried(f"NATS/1.0\r\nce-id: x\r\nNatsume-Rights: {written(widened) or ''}\r\n\r\n") == widened


@given(st.text())
def test_what_is_not_understood_widens_nothing(text):
    assert read(f"cancel={text}x") == NARROW
    assert carried(f"ce-id: {text}".replace("\n", " ")) == NARROW


@pytest.mark.parametrize("name", ["cancel_by", "replay_by"])
def test_a_wrong_declaration_is_refused_at_registration(name):
    async def execute(self):
        """Nothing."""

    with pytest.raises(UsageError, match=f"A.{name} is 'everyone'"):
        make_actor("g:A", type("A", (BaseTask,), {name: "everyone", "execute": execute}))
    actor = make_actor("g:A", type("A", (BaseTask,), {name: "tenant", "execute": execute}))
    assert actor.rights == f"{name.removesuffix('_by')}=tenant"
