"""Tables of the node's one database. Facts are append-only; projections follow from the chain's events.

Columns end in their unit. Money and 64-bit unsigned numbers are stored as decimal text, so no value is ever rounded or
wrapped by a database's integer type.
"""

from gridledger.store.schema.base import WideInteger, metadata
from gridledger.store.schema.chain import chain_block, chain_event, node_fact, outbox
from gridledger.store.schema.clearings import (
    bond_challenge,
    book_entry,
    carbon_reward,
    contract_position,
    contract_trade,
    market_mtu,
)
from gridledger.store.schema.clients import (
    dispatch_cap,
    dispatch_event,
    dispatch_schedule,
    dispatch_setpoint,
    notice,
    sign_in_session,
    source_factor,
    webhook,
    zone_stop,
)
from gridledger.store.schema.metering import (
    meter_event,
    meter_reading,
    partial_reading,
    proven_reading,
    reading_anchor,
    reading_dispute,
    register_reading,
    substitute_reading,
)
from gridledger.store.schema.orders import (
    bulk_cancellation,
    cancelled_salt,
    market_acceptance,
    market_order,
    order_cancellation,
    posted_order,
)
from gridledger.store.schema.privacy import erased_reading, reading_access, tombstone
from gridledger.store.schema.registry import (
    cash_account,
    cash_debt,
    feed_in_price,
    meter,
    participant,
    policy_version,
    role_member,
    supplier,
    suspension,
    zone,
)

__all__ = [
    "WideInteger",
    "bond_challenge",
    "book_entry",
    "bulk_cancellation",
    "cancelled_salt",
    "carbon_reward",
    "cash_account",
    "cash_debt",
    "chain_block",
    "chain_event",
    "contract_position",
    "contract_trade",
    "dispatch_cap",
    "dispatch_event",
    "dispatch_schedule",
    "dispatch_setpoint",
    "erased_reading",
    "feed_in_price",
    "market_acceptance",
    "market_mtu",
    "market_order",
    "metadata",
    "meter",
    "meter_event",
    "meter_reading",
    "node_fact",
    "notice",
    "order_cancellation",
    "outbox",
    "partial_reading",
    "participant",
    "policy_version",
    "posted_order",
    "proven_reading",
    "reading_access",
    "reading_anchor",
    "reading_dispute",
    "register_reading",
    "role_member",
    "sign_in_session",
    "source_factor",
    "substitute_reading",
    "supplier",
    "suspension",
    "tombstone",
    "webhook",
    "zone",
    "zone_stop",
]
