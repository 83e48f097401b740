"""What the runtime needs of the world; adapters carry it out, in the core's structs alone.

Every method may raise BrokerError: then nothing is known of its effect.
"""

from natsume.ports.events import EventDelivery, EventFeed, EventSink, Subscription
from natsume.ports.facts import (
    Chunks,
    Claims,
    Commits,
    DoneDelivery,
    DoneFeed,
    Joins,
    Letters,
    OldChunks,
    OldJoin,
    OldJoins,
    OldRecord,
    OldRecords,
    Recorded,
    Records,
    RecordsFeed,
    Replayed,
)
from natsume.ports.keeping import Epochs, Families, Kept, Ledger, Outlet, Reading, Remains, Silence
from natsume.ports.locking import Lease, Leases, Limiters, Lines
from natsume.ports.ticking import Schedules, Ticks
from natsume.ports.work import Boots, Deliveries, Flags, Hop, Inquiries, Outgoing, Presence, TakeFlags, Waiting

__all__ = [
    "Boots",
    "Chunks",
    "Claims",
    "Commits",
    "Deliveries",
    "DoneDelivery",
    "DoneFeed",
    "Epochs",
    "EventDelivery",
    "EventFeed",
    "EventSink",
    "Families",
    "Flags",
    "Hop",
    "Inquiries",
    "Joins",
    "Kept",
    "Lease",
    "Leases",
    "Ledger",
    "Letters",
    "Limiters",
    "Lines",
    "OldChunks",
    "OldJoin",
    "OldJoins",
    "OldRecord",
    "OldRecords",
    "Outgoing",
    "Outlet",
    "Presence",
    "Reading",
    "Recorded",
    "Records",
    "RecordsFeed",
    "Remains",
    "Replayed",
    "Schedules",
    "Silence",
    "Subscription",
    "TakeFlags",
    "Ticks",
    "Waiting",
]
