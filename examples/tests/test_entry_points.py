from natsume.actors.registry import Registry


def test_the_actors_are_installed(natsume_registry):
    registry = Registry.load()
    names = {actor.name for actor in registry.actors}
    assert natsume_registry.keys() <= names
    assert [problem for problem in registry.problems if "natsume_examples" in problem] == []
