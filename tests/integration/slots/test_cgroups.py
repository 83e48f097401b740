"""Control groups, on a folder that looks like them: what a kernel would do is written by hand."""

import os
from pathlib import Path

import pytest

from natsume.slots.cgroups import Cgroups


@pytest.fixture
def mount(tmp_path: Path) -> Path:
    own = tmp_path / "mount" / "unit.service"
    own.mkdir(parents=True)
    (own / "cgroup.controllers").write_text("cpu memory pids\n")
    (tmp_path / "own").write_text("4:memory:/elsewhere\n0::/unit.service\n")
    return tmp_path / "mount"


def test_groups_are_made_beside_one_for_the_worker_itself(mount: Path, tmp_path: Path) -> None:
    groups = Cgroups.found(mount, tmp_path / "own")
    assert groups is not None
    own = mount / "unit.service"
    assert (own / "cgroup.subtree_control").read_text() == "+memory"
    assert (own / f"natsume-{os.getpid()}" / "cgroup.procs").read_text() == str(os.getpid())
    group = groups.of(3)
    group.take(4711)
    group.limit(1000)
    folder = own / f"natsume-{os.getpid()}-3"
    assert (folder / "cgroup.procs").read_text() == "4711"
    assert (folder / "memory.max").read_text() == "1000"


def test_a_kill_by_the_kernel_is_one_since_the_limit_was_set(mount: Path, tmp_path: Path) -> None:
    groups = Cgroups.found(mount, tmp_path / "own")
    assert groups is not None
    group = groups.of(1)
    events = mount / "unit.service" / f"natsume-{os.getpid()}-1" / "memory.events"
    events.write_text("oom 2\noom_kill 2\n")
    group.limit(1000)
    assert group.peak_if_killed() is None
    events.write_text("oom 3\noom_kill 3\n")
    assert group.peak_if_killed() == 0
    events.with_name("memory.peak").write_text("990\n")
    assert group.peak_if_killed() == 990


@pytest.mark.parametrize("controllers", [None, "cpu pids"])
def test_there_are_none_where_the_kernel_does_not_count_memory(
    mount: Path, tmp_path: Path, controllers: str | None
) -> None:
    file = mount / "unit.service" / "cgroup.controllers"
    file.unlink()
    if controllers is not None:
        file.write_text(controllers)
    assert Cgroups.found(mount, tmp_path / "own") is None
    assert Cgroups.found(mount, tmp_path / "nothing") is None
