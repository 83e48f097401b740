"""The entry points `natsume.broker_startup`: what users do when a broker was lost, before anything runs again."""

import asyncio
import inspect
from collections.abc import Sequence
from importlib.metadata import entry_points

from natsume.actors.registry import PREFIX
from natsume.exceptions import StartupFailed

GROUP = "broker_startup"


async def run_hooks(prefixes: Sequence[str] = ()) -> list[str]:
    """Call each, in the order of their names, coroutine functions and plain ones; raises StartupFailed."""
    groups = [f"{prefix}.{GROUP}" for prefix in dict.fromkeys((PREFIX, *prefixes))]
    points = dict.fromkeys(point for group in groups for point in entry_points(group=group))
    names = []
    for point in sorted(points, key=lambda point: (point.group, point.name)):
        try:
            hook = point.load()
            # A plain function may block; the conductor's other duties must not.
            found = hook() if inspect.iscoroutinefunction(hook) else await asyncio.to_thread(hook)
            if inspect.isawaitable(found):
                await found
        except (Exception, SystemExit) as error:  # whatever users' code raises
            raise StartupFailed(
                f"{point.name} of {point.group} ({point.value}) failed, and nothing is restored before it has not:"
                f" {type(error).__name__}: {error}"
            ) from error
        names.append(point.name)
    return names
