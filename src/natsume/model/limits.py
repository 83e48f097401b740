"""Every bound of the system: sizes in bytes, text in characters, and how many."""

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

ID_MAX: Final = 128
"""A task's id, in characters."""

GROUPS_MAX: Final = 256 * 1024
"""The groups that one task spawns, with the arguments of their callbacks, encoded."""

CHUNK_MAX: Final = 192 * 1024
"""Children of one task that are written as one chunk before its commit."""

MEMBERS_MAX: Final = 1_000_000
"""Members of one join."""

ATTEMPT_MAX: Final = 9_999_999
"""Counted attempts, hops and waits that a header may claim: three years of waiting for a lock."""

NEST_MAX: Final = 64
"""Depth of nested JSON in arguments."""

TIME_END: Final = 253_402_300_800.0
"""The end of the year 9999: no time that comes from outside is later, for it could not be written again."""

DUE_END: Final = 9_223_372_036.0
"""In the year 2262 the server's count of nanoseconds ends: what is due later comes then, and not at once."""

EVENT_TYPE_MAX: Final = 200
"""The type of an event or a pattern of types, in characters."""

CONFIGURED_S_MAX: Final = 366 * 86_400.0
"""A time that the tasks file may set."""

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

IN_FLIGHT_MAX: Final = 4096
"""Publishes of one connection that may wait for their PubAck."""

TRACK_AT_ONCE: Final = 1024
"""Submitted records of one batch that may wait for their PubAck."""

RESTORE_PAGE: Final = 500
"""Tasks that are brought into a new broker in one step."""

RELAY_BATCH: Final = 200
"""Rows of an outbox that a relay publishes at once."""

LOOK_UP_MAX: Final = 64
"""Tasks looked up in the records in one request."""

SCAN_MAX: Final = 8 * 1024 * 1024
"""Bytes that one step of reading through a stream may bring."""

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

COMMENT_MAX: Final = 4 * 1024
"""A comment, or a progress's message, in characters; a task's longer one is cut."""

COMMENT_KEY_MAX: Final = 64
"""What tells one comment on a task from others."""

COMMENTS_MAX: Final = 1000
"""Comments that one run of a task may make; the next fails it."""

FLAGS_MAX: Final = 50_000
"""Tasks that may be flagged to be cancelled at a time: every worker knows them all."""

PERMITS_MAX: Final = 500
"""Permits of one semaphore or concurrency limiter: all its holders are read in one request."""

READERS_MAX: Final = 1000
"""Readers of one lock at a time; more wait."""

EPOCH_MAX: Final = 2**22
"""Losses of all the broker's data that fencing tokens can outlive; a token stays below 2^63."""

LINES_MAX: Final = 200
"""Locks that a conductor looks at in one round, drawn at random where more are waited for."""

RATE_MAX: Final = 1_000_000_000
"""Starts in one window, or at once, that a rate limiter may allow; items that one task may be."""

RATES_MAX: Final = 16
"""Rate limiters of one task."""

GRANT_LATE_SHARE: Final = 0.05
"""The same as a share of the limiter's window, if that is less; starts are spaced by so much more than the rate."""

GRANT_USED_SHARE: Final = 0.75
"""The part of that time which a worker uses; the rest is for what the clocks of two workers differ."""

GAPS_MAX: Final = 16
"""Gaps before the last taken place that a rate limiter keeps for later tasks."""

RESERVE_BATCH: Final = 256
"""Places of one rate limiter that a worker asks for in one request."""

HELD_MAX: Final = 2048
"""Tasks that one worker holds for their places; with more it pulls no others."""

UNKNOWN_OFFERS_MAX: Final = 4
"""How often an unknown actor's task goes back for a newer worker."""

BATCH_MAX: Final = 10_000
"""Tasks that one call of an actor may run together."""

GATHER_AHEAD: Final = 300
"""Tasks of a lane that are asked for at once beyond free slots, because they run together."""

GATHERED_MAX: Final = 10_000
"""Tasks in one worker's hands, beyond twice its slots, at which it asks for no more to run together."""

BATCH_STEP: Final = 100
"""Members that a batch deals with before others have their turn on the event loop."""

TICKS_MADE_UP_MAX: Final = 1000
"""Ticks of one schedule that are made up at once; of more, the latest."""

REPLAYS_PER_S_MAX: Final = 1000.0
"""Dead letters that one command replays or discards in a second."""

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

FIND_MAX: Final = 1000
"""Tasks of one page of a listing."""

FILTER_VALUES_MAX: Final = 100
"""Values of one field of a filter."""

WEB_QUERY_MAX: Final = 16 * 1024
"""The query of one request to the status API."""

WEB_BODY_MAX: Final = 16 * 1024
"""The body of one request to the status API."""

WEB_WAITING_MAX: Final = 1000
"""Requests of one process that may wait for the ends of tasks at a time."""

PRUNE_STEP: Final = 200
"""Tasks that are removed in one step; between two steps there is room for others."""

PRUNE_PAGES: Final = 100
"""Steps that one round of pruning takes for one kind of record."""
