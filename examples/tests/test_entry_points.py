from natsume.registry import Registry


def test_the_actors_are_installed():
    registry = Registry.load()
    names = {actor.name for actor in registry.actors}
    assert {"owners:SyncOwnersTask", "pilots:MyPilotTask"} <= names
    assert [problem for problem in registry.problems if "natsume_examples" in problem] == []
