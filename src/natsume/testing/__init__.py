"""For the tests of actors: pytest fixtures over a real broker, and waiting for facts instead of sleeping."""

from typing import Any

from natsume.testing.facts import leases, task_done, until

__all__ = ["leases", "task_done", "until"]


def __getattr__(name: str) -> Any:
    # A pytest run that does not use it must not pay for it.
    if name == "DummyTask":
        from natsume.testing.dummy import DummyTask  # noqa: PLC0415

        return DummyTask
    raise AttributeError(f"module 'natsume.testing' has no attribute {name!r}")
