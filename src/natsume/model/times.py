"""How long the system waits, keeps and remembers, and how often it looks; in seconds."""

from typing import Final

DELAY_MAX_S: Final = 100 * 365 * 86_400.0
"""How far ahead a task may be due."""

CHUNK_SWEEP_S: Final = 60.0
"""How often a conductor looks for chunks of runs that will not commit."""

CHUNK_WAITS_S: Final = 7 * 86_400.0
"""How long a chunk waits for the commit of its run, where the task does not end at all."""

THREAD_LINGER_S: Final = 10.0
"""How long after its `timeout_s` the thread of a synchronous task may still end; then its worker's process ends."""

PULL_EXPIRES_S: Final = 10.0
"""How long one pull request waits at the server."""

PULL_HEARTBEAT_S: Final = 2.5
"""How often the server says that a waiting pull is alive; twice as long without is a lost pull."""

PULL_RETRY_S: Final = 0.25
"""How soon a pull that the server refused is tried again."""

PUBLISH_DEADLINE_S: Final = 30.0
"""How long a publish is retried under one message id before it is given up."""

PUBACK_TIMEOUT_S: Final = 5.0
"""How long one try of a publish waits for its PubAck."""

RESTORE_CLAIM_S: Final = 10.0
"""How long a restorer that is not heard of keeps others from going on with its work."""

RELAY_CLAIM_S: Final = 5.0
"""How long they are its own; a relay that died leaves them to others then."""

RESEND_AFTER_S: Final = 60.0
"""After so long what was recorded and not sent is sent: a tracked task, the replay of a dead letter."""

RESEND_S: Final = 10.0
"""How often a conductor looks for such records."""

DUPLICATE_WINDOW_S: Final = 120.0
"""How long the server remembers message ids."""

PLAIN_TTL_S: Final = 3600.0
"""How long the record of a plain success stays (the horizon of a fence)."""

RELEASED_TTL_S: Final = 90 * 86_400.0
"""How long it is kept who released a lock by hand, and why."""

START_TTL_S: Final = 7 * 86_400.0
"""How long the record of a start stays: as long as a crash may take to be noticed."""

PROGRESS_EVERY_S: Final = 0.5
"""The shortest time between two progress records of one task; what it says between is replaced by what it says last."""

TOLD_TTL_S: Final = 7 * 86_400.0
"""How long the broker keeps progress, heartbeats, comments and cancellations beside the ledger."""

HEARTBEAT_S: Final = 10.0
"""How often a tracked task that runs is recorded as alive; a shorter one never is."""

FLAG_TTL_S: Final = 90 * 86_400.0
"""How long a flag stays whose task nothing has been heard of."""

FLAGS_S: Final = 15.0
"""How often a conductor looks at all flags, and a worker reads them anew at a quarter of that rate."""

WAIT_FIRST_S: Final = 0.3
"""First delay of a task whose other copy runs; doubled each time."""

WAIT_LAST_S: Final = 10.0
"""Longest delay of a task whose other copy runs."""

RESERVE_S: Final = 5.0
"""How long a waiter that was woken may take until its worker has it, before its place is free for others."""

REQUEST_S: Final = 60.0
"""How long a waiting writer keeps new readers out without being heard of."""

WAKE_S: Final = 5.0
"""How often a conductor looks for free locks that somebody waits for."""

FALL_BACK_AFTER_S: Final = 1.0
"""The first of a lock's line returns by itself so long after the lease before it has ended."""

FALL_BACK_FIRST_S: Final = 120.0
"""The others of the line return by themselves after this, in case all wake-ups were lost; doubled each time."""

FALL_BACK_LAST_S: Final = 1800.0
"""Longest time until a parked task returns by itself."""

WINDOW_MIN_S: Final = 0.01
"""The shortest window of a rate limiter."""

GRANT_LATE_S: Final = 0.05
"""How long after its time a place under a rate limit is good, at most; then it is void and its quota lost."""

RESERVE_AHEAD_S: Final = 30 * 86_400.0
"""How far ahead a rate limiter gives places; who finds none so near asks again later."""

RESERVE_AGAIN_S: Final = 86_400.0
"""When a task asks again that found no place."""

HOLD_S: Final = 0.75
"""A task whose place is nearer than this is held in its worker; for a later one it goes away as a schedule."""

HOLD_LEAD_S: Final = 0.5
"""So long before its place such a task is sent back to its lane: the server's schedules come up to 0.3 s late."""

SETTLE_S: Final = 2.0
"""How long after a broker's start its suspects wait, so that workers that outlived it can note what they run."""

ANSWER_S: Final = 2.0
"""How long a worker may take to answer whether a run goes on; one that does not is taken for dead."""

STARTED_AFTER_S: Final = 1.0
"""Age at which any running task gets its started record."""

BUFFER_AHEAD_S: Final = 0.02
"""A busy worker buffers what it will start within this time."""

BATCH_WAIT_MAX_S: Final = 60.0
"""How long an actor may let its tasks gather for one call."""

BUFFER_PATIENCE_S: Final = 1.0
"""A buffered task that could not start for so long is given back."""

TICK_LATE_S: Final = 1.0
"""A tick that the broker fires so much after it was due was missed; the server's own grain is 0.3 s."""

CATCH_UP_WINDOW_MAX_S: Final = 3600.0
"""The oldest tick that may be made up: of an older one the records no longer say whether it ran."""

RECONCILE_S: Final = 10.0
"""How often a conductor compares the schedules in the broker with what they should be."""

LEDGER_PLAIN_PATIENCE_S: Final = 30.0
"""How long it holds back; what is older it takes as fast as it can."""

AWAIT_MAX_S: Final = 60.0
"""How long one request to the status API may wait for the end of a task."""

LEDGER_COMMIT_S: Final = 30.0
"""How long the ledger's database may take for one of its steps; then the step is tried again."""

PRUNE_S: Final = 30.0
"""How often a conductor looks for what the ledger and the broker need no longer keep."""

LEDGER_LINGER_S: Final = 0.05
"""How long the projector waits for a batch that is not full."""
