"""Every bound of the system, in one place; sizes in bytes, times in seconds."""

from typing import Final

ARGUMENTS_MAX: Final = 256 * 1024
"""Body of a task. A larger one is refused at submit, and is a dead letter at receipt."""

TASK_MESSAGE_MAX: Final = 512 * 1024
"""Body and headers of a message in TASKS; the server refuses more (`max_msg_size`)."""

RECORD_MAX: Final = 1024 * 1024 - 4096
"""A whole record; below the server's default `max_payload` of 1 MiB, headers included."""

RESULT_MAX: Final = 256 * 1024
"""The encoded result of a task; a larger one fails the task."""

MESSAGE_TEXT_MAX: Final = 4 * 1024
"""The message of a failure; longer ones are cut."""

TRACEBACK_MAX: Final = 16 * 1024
"""The traceback of a failure; longer ones keep their end."""

HEADER_VALUE_MAX: Final = 1024
"""One header of ours; a longer one makes the message unparsable."""

HEADERS_MAX: Final = 16 * 1024
"""All headers of a task; more make the message unparsable."""

LABELS_MAX: Final = 32
"""Labels of one task."""

LABELS_SIZE_MAX: Final = 8 * 1024
"""All labels of one task, encoded."""

DELAY_MAX_S: Final = 100 * 365 * 86_400.0
"""How far ahead a task may be due."""

ID_MAX: Final = 128
"""A task's id, in characters."""

GROUPS_MAX: Final = 256 * 1024
"""The groups that one task spawns, with the arguments of their callbacks, encoded."""

CHUNK_MAX: Final = 192 * 1024
"""Children of one task that are written as one chunk before its commit."""

CHUNK_SWEEP_S: Final = 60.0
"""How often a conductor looks for chunks of runs that will not commit."""

CHUNK_WAITS_S: Final = 7 * 86_400.0
"""How long a chunk waits for the commit of its run, where the task does not end at all."""

MEMBERS_MAX: Final = 1_000_000
"""Members of one join."""

ATTEMPT_MAX: Final = 9_999_999
"""Counted attempts, hops and waits that a header may claim: three years of waiting for a lock."""

NEST_MAX: Final = 64
"""Depth of nested JSON in arguments."""

TIME_END: Final = 253_402_300_800.0
"""The end of the year 9999: no time that comes from outside is later, for it could not be written again."""

EVENT_TYPE_MAX: Final = 200
"""The type of an event or a pattern of types, in characters."""

CONFIGURED_S_MAX: Final = 366 * 86_400.0
"""A time that the tasks file may set."""

THREAD_LINGER_S: Final = 10.0
"""How long after its `timeout_s` the thread of a synchronous task may still end; then its worker's process ends."""

CONCURRENCY_MAX: Final = 10_000
"""Tasks that one worker runs at a time."""

PROCESSES_MAX: Final = 256
"""Worker processes that one supervisor keeps."""

SAID_ACTORS_MAX: Final = 500
"""Actors of which one worker says what it ran; those that took least are left out."""

WORKERS_ASKED_MAX: Final = 10_000
"""Workers that one command hears."""

MEMORY_LIMIT_MAX_MB: Final = 16 * 1024 * 1024.0
"""Megabytes that a task may be allowed."""

FRAME_MAX: Final = 4 * 1024 * 1024
"""What a worker and a process of its own say to each other at once."""

SLOT_REQUESTS_MAX: Final = 256
"""Requests of one task in a process of its own that may wait for their answers."""

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

IN_FLIGHT_MAX: Final = 4096
"""Publishes of one connection that may wait for their PubAck."""

TRACK_AT_ONCE: Final = 1024
"""Submitted records of one batch that may wait for their PubAck."""

RESTORE_PAGE: Final = 500
"""Tasks that are brought into a new broker in one step."""

RESTORE_CLAIM_S: Final = 10.0
"""How long a restorer that is not heard of keeps others from going on with its work."""

RELAY_BATCH: Final = 200
"""Rows of an outbox that a relay publishes at once."""

RELAY_CLAIM_S: Final = 5.0
"""How long they are its own; a relay that died leaves them to others then."""

RESEND_AFTER_S: Final = 60.0
"""After so long a tracked task of which nothing but its submitted record is known is sent again."""

RESEND_S: Final = 10.0
"""How often a conductor looks for such tasks."""

LOOK_UP_MAX: Final = 64
"""Tasks looked up in the records in one request."""

SCAN_MAX: Final = 8 * 1024 * 1024
"""Bytes that one step of reading through a stream may bring."""

DUPLICATE_WINDOW_S: Final = 120.0
"""How long the server remembers message ids."""

PLAIN_TTL_S: Final = 3600.0
"""How long the record of a plain success stays (the horizon of a fence)."""

RELEASED_TTL_S: Final = 90 * 86_400.0
"""How long it is kept who released a lock by hand, and why."""

WHY_MAX: Final = 500
"""A person's reason for what they do by hand, in characters."""

STRIKES_MAX: Final = 1000
"""Strikes that stand at a time."""

STRUCK_VALUE_MAX: Final = 200
"""An argument's value in a strike, in characters."""

LIMITS_SET_MAX: Final = 1000
"""Limits that are set by hand at a time."""

LOCK_LINE_SHOWN: Final = 20
"""Waiters of one lock that are shown with it."""

START_TTL_S: Final = 7 * 86_400.0
"""How long the record of a start stays: as long as a crash may take to be noticed."""

PROGRESS_EVERY_S: Final = 0.5
"""The shortest time between two progress records of one task; what it says between is replaced by what it says last."""

TOLD_TTL_S: Final = 7 * 86_400.0
"""How long the broker keeps progress, heartbeats, comments and cancellations beside the ledger."""

COMMENT_MAX: Final = 4 * 1024
"""A comment, or a progress's message, in characters; a task's longer one is cut."""

COMMENT_KEY_MAX: Final = 64
"""What tells one comment on a task from others."""

COMMENTS_MAX: Final = 1000
"""Comments that one run of a task may make; the next fails it."""

HEARTBEAT_S: Final = 10.0
"""How often a tracked task that runs is recorded as alive; a shorter one never is."""

FLAGS_MAX: Final = 50_000
"""Tasks that may be flagged to be cancelled at a time: every worker knows them all."""

FLAG_TTL_S: Final = 90 * 86_400.0
"""How long a flag stays whose task nothing has been heard of."""

FLAGS_S: Final = 15.0
"""How often a conductor looks at all flags, and a worker reads them anew at a quarter of that rate."""

WAIT_FIRST_S: Final = 0.3
"""First delay of a task whose other copy runs; doubled each time."""

WAIT_LAST_S: Final = 10.0
"""Longest delay of a task whose other copy runs."""

PERMITS_MAX: Final = 500
"""Permits of one semaphore or concurrency limiter: all its holders are read in one request."""

READERS_MAX: Final = 1000
"""Readers of one lock at a time; more wait."""

EPOCH_MAX: Final = 2**22
"""Losses of all the broker's data that fencing tokens can outlive; a token stays below 2^63."""

RESERVE_S: Final = 5.0
"""How long a waiter that was woken may take until its worker has it, before its place is free for others."""

REQUEST_S: Final = 60.0
"""How long a waiting writer keeps new readers out without being heard of."""

WAKE_S: Final = 5.0
"""How often a conductor looks for free locks that somebody waits for."""

LINES_MAX: Final = 200
"""Locks that a conductor looks at in one round, drawn at random where more are waited for."""

FALL_BACK_AFTER_S: Final = 1.0
"""The first of a lock's line returns by itself so long after the lease before it has ended."""

FALL_BACK_FIRST_S: Final = 120.0
"""The others of the line return by themselves after this, in case all wake-ups were lost; doubled each time."""

FALL_BACK_LAST_S: Final = 1800.0
"""Longest time until a parked task returns by itself."""

RATE_MAX: Final = 1_000_000_000
"""Starts in one window, or at once, that a rate limiter may allow; items that one task may be."""

WINDOW_MIN_S: Final = 0.01
"""The shortest window of a rate limiter."""

RATES_MAX: Final = 16
"""Rate limiters of one task."""

GRANT_LATE_S: Final = 0.05
"""How long after its time a place under a rate limit is good, at most; then it is void and its quota lost."""

GRANT_LATE_SHARE: Final = 0.05
"""The same as a share of the limiter's window, if that is less; starts are spaced by so much more than the rate."""

GRANT_USED_SHARE: Final = 0.75
"""The part of that time which a worker uses; the rest is for what the clocks of two workers differ."""

GAPS_MAX: Final = 16
"""Gaps before the last taken place that a rate limiter keeps for later tasks."""

RESERVE_AHEAD_S: Final = 30 * 86_400.0
"""How far ahead a rate limiter gives places; who finds none so near asks again later."""

RESERVE_AGAIN_S: Final = 86_400.0
"""When a task asks again that found no place."""

RESERVE_BATCH: Final = 256
"""Places of one rate limiter that a worker asks for in one request."""

HOLD_S: Final = 0.75
"""A task whose place is nearer than this is held in its worker; for a later one it goes away as a schedule."""

HOLD_LEAD_S: Final = 0.5
"""So long before its place such a task is sent back to its lane: the server's schedules come up to 0.3 s late."""

HELD_MAX: Final = 2048
"""Tasks that one worker holds for their places; with more it pulls no others."""

UNKNOWN_OFFERS_MAX: Final = 4
"""How often an unknown actor's task goes back for a newer worker."""

SETTLE_S: Final = 2.0
"""How long after a broker's start its suspects wait, so that workers that outlived it can note what they run."""

ANSWER_S: Final = 2.0
"""How long a worker may take to answer whether a run goes on; one that does not is taken for dead."""

STARTED_AFTER_S: Final = 1.0
"""Age at which any running task gets its started record."""

BUFFER_AHEAD_S: Final = 0.02
"""A busy worker buffers what it will start within this time."""

BATCH_MAX: Final = 10_000
"""Tasks that one call of an actor may run together."""

BATCH_WAIT_MAX_S: Final = 60.0
"""How long an actor may let its tasks gather for one call."""

GATHER_AHEAD: Final = 100
"""Tasks that are asked for at once, beyond free slots, for calls that are not full."""

GATHERED_MAX: Final = 10_000
"""Tasks in one worker's hands, beyond twice its slots, at which it asks for no more to run together."""

BATCH_STEP: Final = 50
"""Members that a batch deals with before others have their turn on the event loop."""

BUFFER_PATIENCE_S: Final = 1.0
"""A buffered task that could not start for so long is given back."""

TICK_LATE_S: Final = 1.0
"""A tick that the broker fires so much after it was due was missed; the server's own grain is 0.3 s."""

CATCH_UP_WINDOW_MAX_S: Final = 3600.0
"""The oldest tick that may be made up: of an older one the records no longer say whether it ran."""

TICKS_MADE_UP_MAX: Final = 1000
"""Ticks of one schedule that are made up at once; of more, the latest."""

REPLAYS_PER_S_MAX: Final = 1000.0
"""Dead letters that one command replays or discards in a second."""

RECONCILE_S: Final = 10.0
"""How often a conductor compares the schedules in the broker with what they should be."""

LEDGER_NAME_MAX: Final = 255
"""An actor's, owner's, tenant's or worker's name in the ledger, in characters; of a longer one it keeps a hash."""

LEDGER_AHEAD: Final = 2000
"""Records that the ledger's projector has in hand of one class, at most."""

LEDGER_AHEAD_BYTES: Final = 16 * 1024 * 1024
"""Bytes that one of its pulls may bring."""

LEDGER_BATCH: Final = 500
"""Records that it commits at once."""

LEDGER_PLAIN_PER_S: Final = 2000
"""Plain successes a second that the ledger takes while more are stored: then the machine is for the tasks."""

LEDGER_PLAIN_PATIENCE_S: Final = 30.0
"""How long it holds back; what is older it takes as fast as it can."""

FIND_MAX: Final = 1000
"""Tasks of one page of a listing."""

FILTER_VALUES_MAX: Final = 100
"""Values of one field of a filter."""

AWAIT_MAX_S: Final = 60.0
"""How long one request to the status API may wait for the end of a task."""

WEB_QUERY_MAX: Final = 16 * 1024
"""The query of one request to the status API."""

WEB_BODY_MAX: Final = 16 * 1024
"""The body of one request to the status API."""

WEB_WAITING_MAX: Final = 1000
"""Requests of one process that may wait for the ends of tasks at a time."""

LEDGER_COMMIT_S: Final = 30.0
"""How long the ledger's database may take for one of its steps; then the step is tried again."""

PRUNE_S: Final = 30.0
"""How often a conductor looks for what the ledger and the broker need no longer keep."""

PRUNE_STEP: Final = 200
"""Tasks that are removed in one step; between two steps there is room for others."""

LEDGER_LINGER_S: Final = 0.05
"""How long the projector waits for a batch that is not full."""

PRUNE_PAGES: Final = 100
"""Steps that one round of pruning takes for one kind of record."""
