"""For the tests of actors: pytest fixtures over a real broker, and waiting for facts instead of sleeping."""

from natsume.testing.facts import leases, task_done, until

__all__ = ["leases", "task_done", "until"]
