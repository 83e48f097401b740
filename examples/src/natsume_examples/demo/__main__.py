"""`python -m natsume_examples.demo`: exits with 0 if every outcome is accounted for, else with 1."""

import asyncio
import sys

from natsume.exceptions import NatsumeError
from natsume_examples.demo.log import Log
from natsume_examples.demo.plan import Plan, small_plan
from natsume_examples.demo.play import judge, play
from natsume_examples.demo.stage import staged
from natsume_examples.demo.ticking import tick


async def demo(plan: Plan, log: Log) -> int:
    """Set the stage, play, compare; then let the clock run."""
    async with staged(plan) as stage:
        story = await play(plan, stage, log)
        return await judge(plan, stage, story, log) or await tick(stage, log)


def main() -> int:
    """Run the demo; one clear line if it cannot be."""
    log = Log()
    try:
        return asyncio.run(demo(small_plan(), log))
    except (NatsumeError, AssertionError) as error:
        log.line("mismatch", str(error))
        return 1


if __name__ == "__main__":
    sys.exit(main())
