"""The one actor that only the demo has."""

from dataclasses import dataclass

from natsume import ExponentialBackoff
from natsume_examples.owners.tasks import SyncOwnersTask


@dataclass
class HurriedSyncOwnersTask(SyncOwnersTask):
    """SyncOwnersTask with retries after 1 s and 2 s, because nobody watches a demo for a minute."""

    retry_policy = ExponentialBackoff(base_delay_seconds=1, max_retries=2)
