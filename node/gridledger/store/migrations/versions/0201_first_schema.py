"""First schema."""

import sqlalchemy as sa
from alembic import op

from gridledger.store.schema import WideInteger

revision = "0201"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema forward."""
    op.create_table(
        "book_entry",
        sa.Column("zone", sa.BigInteger(), nullable=False),
        sa.Column("mtu_start", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("running_number", sa.BigInteger(), nullable=False),
        sa.Column("order_uid", sa.String(length=66), nullable=False),
        sa.Column("ineligible", sa.String(), nullable=True),
        sa.Column("recording", sa.String(length=8), nullable=False),
        sa.Column("filled_wh", sa.BigInteger(), nullable=False),
        sa.Column("locked_wh", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("zone", "mtu_start", "position"),
    )
    op.create_index(op.f("ix_book_entry_order_uid"), "book_entry", ["order_uid"], unique=False)
    op.create_table(
        "bulk_cancellation",
        sa.Column("owner", sa.String(length=42), nullable=False),
        sa.Column("salt", WideInteger(length=80), nullable=False),
        sa.Column("signature", sa.String(length=132), nullable=False),
        sa.Column("running_number", sa.BigInteger(), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.Column("receipt_block_hash", sa.String(length=66), nullable=False),
        sa.Column("receipt_signature", sa.String(length=132), nullable=False),
        sa.Column("receipt_digest", sa.String(length=66), nullable=False),
        sa.PrimaryKeyConstraint("owner", "salt"),
        sa.UniqueConstraint("running_number"),
    )
    op.create_table(
        "bond_challenge",
        sa.Column("owner", sa.String(length=42), nullable=False),
        sa.Column("zone", sa.BigInteger(), nullable=False),
        sa.Column("mtu_start", sa.BigInteger(), nullable=False),
        sa.Column("order_uid", sa.String(length=66), nullable=False),
        sa.Column("proof", sa.Integer(), nullable=False),
        sa.Column("amount_microcents", WideInteger(length=80), nullable=False),
        sa.Column("respond_by", sa.BigInteger(), nullable=False),
        sa.Column("answered", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("owner", "zone", "mtu_start"),
    )
    op.create_table(
        "cancelled_salt",
        sa.Column("owner", sa.String(length=42), nullable=False),
        sa.Column("salt", WideInteger(length=80), nullable=False),
        sa.PrimaryKeyConstraint("owner"),
    )
    op.create_table(
        "carbon_reward",
        sa.Column("block_number", sa.BigInteger(), nullable=False),
        sa.Column("log_index", sa.Integer(), nullable=False),
        sa.Column("mtu_start", sa.BigInteger(), nullable=False),
        sa.Column("holder", sa.String(length=42), nullable=False),
        sa.Column("amount_ugco2", WideInteger(length=80), nullable=False),
        sa.PrimaryKeyConstraint("block_number", "log_index"),
    )
    op.create_index(op.f("ix_carbon_reward_holder"), "carbon_reward", ["holder"], unique=False)
    op.create_index(op.f("ix_carbon_reward_mtu_start"), "carbon_reward", ["mtu_start"], unique=False)
    op.create_table(
        "cash_account",
        sa.Column("account", sa.String(length=42), nullable=False),
        sa.Column("free_microcents", WideInteger(length=80), nullable=False),
        sa.Column("credit_microcents", WideInteger(length=80), nullable=False),
        sa.Column("withdrawal_microcents", WideInteger(length=80), nullable=False),
        sa.Column("withdrawal_at", sa.BigInteger(), nullable=False),
        sa.Column("cut_microcents", WideInteger(length=80), nullable=False),
        sa.Column("cut_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account"),
    )
    op.create_table(
        "cash_debt",
        sa.Column("debtor", sa.String(length=42), nullable=False),
        sa.Column("creditor", sa.String(length=42), nullable=False),
        sa.Column("amount_microcents", WideInteger(length=80), nullable=False),
        sa.PrimaryKeyConstraint("debtor", "creditor"),
    )
    op.create_table(
        "chain_block",
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("block_hash", sa.String(length=66), nullable=False),
        sa.Column("parent_hash", sa.String(length=66), nullable=False),
        sa.Column("time_s", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
    )
    op.create_table(
        "contract_position",
        sa.Column("zone", sa.BigInteger(), nullable=False),
        sa.Column("mtu_start", sa.BigInteger(), nullable=False),
        sa.Column("chunk", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("meter", sa.BigInteger(), nullable=False),
        sa.Column("owner", sa.String(length=42), nullable=False),
        sa.Column("supplier", sa.String(length=42), nullable=False),
        sa.Column("supplier_number", sa.Integer(), nullable=False),
        sa.Column("source", sa.Integer(), nullable=False),
        sa.Column("sells", sa.Boolean(), nullable=False),
        sa.Column("capacity_w", sa.Integer(), nullable=False),
        sa.Column("auction_wh", sa.BigInteger(), nullable=False),
        sa.Column("low_carbon_wh", sa.BigInteger(), nullable=False),
        sa.Column("dealt_wh", sa.BigInteger(), nullable=False),
        sa.Column("prior_wh", sa.BigInteger(), nullable=False),
        sa.Column("continued", sa.Boolean(), nullable=False),
        sa.Column("fee_microcents", WideInteger(length=80), nullable=False),
        sa.Column("locked_microcents", WideInteger(length=80), nullable=False),
        sa.Column("deal_microcents", WideInteger(length=80), nullable=False),
        sa.Column("settled", sa.Boolean(), nullable=False),
        sa.Column("substitute", sa.Boolean(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("metered_wh", sa.BigInteger(), nullable=False),
        sa.Column("settlement_pending", sa.Boolean(), nullable=False),
        sa.Column("trade_microcents", WideInteger(length=80), nullable=True),
        sa.Column("imbalance_microcents", WideInteger(length=80), nullable=True),
        sa.Column("refunded", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("zone", "mtu_start", "chunk", "position"),
    )
    op.create_table(
        "contract_trade",
        sa.Column("zone", sa.BigInteger(), nullable=False),
        sa.Column("mtu_start", sa.BigInteger(), nullable=False),
        sa.Column("chunk", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("price_cents_per_mwh", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("sell_position", sa.Integer(), nullable=False),
        sa.Column("buy_position", sa.Integer(), nullable=False),
        sa.Column("energy_wh", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("zone", "mtu_start", "chunk", "position"),
    )
    op.create_table(
        "dispatch_event",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("zone", sa.BigInteger(), nullable=False),
        sa.Column("mtu_start", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(length=12), nullable=False),
        sa.Column("payload", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "dispatch_schedule",
        sa.Column("zone", sa.BigInteger(), nullable=False),
        sa.Column("mtu_start", sa.BigInteger(), nullable=False),
        sa.Column("schedule_hash", sa.String(length=66), nullable=False),
        sa.Column("traded_wh", sa.BigInteger(), nullable=False),
        sa.Column("answer_deadline", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("reason", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("zone", "mtu_start"),
    )
    op.create_table(
        "feed_in_price",
        sa.Column("mtu_start", sa.BigInteger(), nullable=False),
        sa.Column("feed_in_cents_per_mwh", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("mtu_start"),
    )
    op.create_table(
        "market_mtu",
        sa.Column("zone", sa.BigInteger(), nullable=False),
        sa.Column("mtu_start", sa.BigInteger(), nullable=False),
        sa.Column("phase", sa.String(length=10), nullable=False),
        sa.Column("book_hash", sa.String(length=66), nullable=False),
        sa.Column("order_count", sa.Integer(), nullable=False),
        sa.Column("supply_wh", WideInteger(length=80), nullable=False),
        sa.Column("demand_wh", WideInteger(length=80), nullable=False),
        sa.Column("reference_price_cents_per_mwh", sa.BigInteger(), nullable=True),
        sa.Column("price_cents_per_mwh", sa.BigInteger(), nullable=True),
        sa.Column("low_carbon_price_cents_per_mwh", sa.BigInteger(), nullable=True),
        sa.Column("traded_wh", sa.BigInteger(), nullable=True),
        sa.Column("failure", sa.String(), nullable=True),
        sa.Column("chunk_count", sa.Integer(), nullable=False),
        sa.Column("cleared_chunks", sa.Integer(), nullable=False),
        sa.Column("retry_at", sa.BigInteger(), nullable=False),
        sa.Column("to_correct", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("zone", "mtu_start"),
    )
    op.create_index(op.f("ix_market_mtu_to_correct"), "market_mtu", ["to_correct"], unique=False)
    op.create_index(op.f("ix_market_mtu_phase"), "market_mtu", ["phase"], unique=False)
    op.create_table(
        "market_order",
        sa.Column("uid", sa.String(length=66), nullable=False),
        sa.Column("running_number", sa.BigInteger(), nullable=False),
        sa.Column("owner", sa.String(length=42), nullable=False),
        sa.Column("client_id", sa.String(length=64), nullable=True),
        sa.Column("meter", sa.BigInteger(), nullable=False),
        sa.Column("zone", sa.BigInteger(), nullable=False),
        sa.Column("side", sa.Integer(), nullable=False),
        sa.Column("product", sa.Integer(), nullable=False),
        sa.Column("pricing", sa.Integer(), nullable=False),
        sa.Column("first_mtu_start", sa.BigInteger(), nullable=False),
        sa.Column("last_mtu_start", sa.BigInteger(), nullable=False),
        sa.Column("quantity_wh", sa.BigInteger(), nullable=False),
        sa.Column("limit_cents_per_mwh", sa.BigInteger(), nullable=False),
        sa.Column("expiry", WideInteger(length=80), nullable=False),
        sa.Column("salt", WideInteger(length=80), nullable=False),
        sa.Column("signature", sa.String(length=132), nullable=False),
        sa.Column("worst_case_microcents", WideInteger(length=80), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.Column("receipt_block_hash", sa.String(length=66), nullable=False),
        sa.Column("receipt_signature", sa.String(length=132), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("state_reason", sa.String(), nullable=True),
        sa.Column("next_mtu_start", sa.BigInteger(), nullable=False),
        sa.Column("final_mtu_start", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("uid"),
        sa.UniqueConstraint("owner", "client_id"),
        sa.UniqueConstraint("running_number"),
    )
    op.create_index("market_order_by_meter", "market_order", ["meter", "state", "final_mtu_start"], unique=False)
    op.create_index("market_order_by_mtu", "market_order", ["zone", "next_mtu_start", "running_number"], unique=False)
    op.create_index("market_order_by_owner", "market_order", ["owner", "state"], unique=False)
    op.create_index("market_order_by_state", "market_order", ["state", "next_mtu_start", "zone"], unique=False)
    op.create_table(
        "meter",
        sa.Column("meter", sa.BigInteger(), nullable=False),
        sa.Column("owner", sa.String(length=42), nullable=False),
        sa.Column("zone", sa.BigInteger(), nullable=False),
        sa.Column("import_capacity_w", sa.Integer(), nullable=False),
        sa.Column("export_capacity_w", sa.Integer(), nullable=False),
        sa.Column("source", sa.Integer(), nullable=False),
        sa.Column("device_key_x", sa.String(length=66), nullable=False),
        sa.Column("device_key_y", sa.String(length=66), nullable=False),
        sa.PrimaryKeyConstraint("meter"),
    )
    op.create_index(op.f("ix_meter_owner"), "meter", ["owner"], unique=False)
    op.create_index(op.f("ix_meter_zone"), "meter", ["zone"], unique=False)
    op.create_table(
        "meter_reading",
        sa.Column("meter", sa.BigInteger(), nullable=False),
        sa.Column("mtu_start", sa.BigInteger(), nullable=False),
        sa.Column("zone", sa.BigInteger(), nullable=False),
        sa.Column("meter_id", sa.String(length=64), nullable=False),
        sa.Column("interval_s", sa.Integer(), nullable=False),
        sa.Column("import_wh", sa.BigInteger(), nullable=False),
        sa.Column("export_wh", sa.BigInteger(), nullable=False),
        sa.Column("counter", sa.BigInteger(), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("salt", sa.LargeBinary(length=32), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.Column("anchor_sequence", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("meter", "mtu_start"),
    )
    op.create_index("meter_reading_by_anchor", "meter_reading", ["anchor_sequence", "meter", "mtu_start"], unique=False)
    op.create_index("meter_reading_by_mtu", "meter_reading", ["zone", "mtu_start", "anchor_sequence"], unique=False)
    op.create_table(
        "node_fact",
        sa.Column("name", sa.String(length=60), nullable=False),
        sa.Column("value", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "outbox",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("signer", sa.String(length=42), nullable=False),
        sa.Column("to_address", sa.String(length=42), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column("zone", sa.BigInteger(), nullable=True),
        sa.Column("mtu_start", sa.BigInteger(), nullable=True),
        sa.Column("nonce", sa.BigInteger(), nullable=True),
        sa.Column("raw", sa.LargeBinary(), nullable=True),
        sa.Column("transaction_hash", sa.String(length=66), nullable=True),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("error", sa.String(), nullable=True),
        sa.Column("block_number", sa.BigInteger(), nullable=True),
        sa.Column("gas_used", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("signer", "nonce"),
        sa.UniqueConstraint("transaction_hash"),
    )
    op.create_index(op.f("ix_outbox_state"), "outbox", ["state"], unique=False)
    op.create_table(
        "participant",
        sa.Column("account", sa.String(length=42), nullable=False),
        sa.Column("supplier", sa.String(length=42), nullable=False),
        sa.PrimaryKeyConstraint("account"),
    )
    op.create_table(
        "policy_version",
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("effective_mtu_start", sa.BigInteger(), nullable=False),
        sa.Column("policy", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("version"),
    )
    op.create_table(
        "reading_anchor",
        sa.Column("sequence", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("reading_count", sa.Integer(), nullable=False),
        sa.Column("anchored", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("sequence"),
    )
    op.create_table(
        "supplier",
        sa.Column("account", sa.String(length=42), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("account"),
        sa.UniqueConstraint("number"),
    )
    op.create_table(
        "suspension", sa.Column("account", sa.String(length=42), nullable=False), sa.PrimaryKeyConstraint("account")
    )
    op.create_table(
        "zone",
        sa.Column("zone", sa.BigInteger(), nullable=False),
        sa.Column("grid_operator", sa.String(length=42), nullable=False),
        sa.Column("halted", sa.Boolean(), nullable=False),
        sa.Column("transformer_meter", sa.BigInteger(), nullable=True),
        sa.Column("loss_tolerance_bp", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("zone"),
    )
    op.create_table(
        "chain_event",
        sa.Column("block_number", sa.BigInteger(), nullable=False),
        sa.Column("log_index", sa.Integer(), nullable=False),
        sa.Column("transaction_hash", sa.String(length=66), nullable=False),
        sa.Column("contract", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("arguments", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["block_number"],
            ["chain_block.number"],
        ),
        sa.PrimaryKeyConstraint("block_number", "log_index"),
    )
    op.create_table(
        "market_acceptance",
        sa.Column("uid", sa.String(length=66), nullable=False),
        sa.Column("running_number", sa.BigInteger(), nullable=False),
        sa.Column("owner", sa.String(length=42), nullable=False),
        sa.Column("meter", sa.BigInteger(), nullable=False),
        sa.Column("zone", sa.BigInteger(), nullable=False),
        sa.Column("offer_uid", sa.String(length=66), nullable=False),
        sa.Column("mtu_start", sa.BigInteger(), nullable=False),
        sa.Column("quantity_wh", sa.BigInteger(), nullable=False),
        sa.Column("salt", sa.BigInteger(), nullable=False),
        sa.Column("signature", sa.String(length=132), nullable=False),
        sa.Column("worst_case_microcents", WideInteger(length=80), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.Column("receipt_block_hash", sa.String(length=66), nullable=False),
        sa.Column("receipt_signature", sa.String(length=132), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("state_reason", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(
            ["offer_uid"],
            ["market_order.uid"],
        ),
        sa.PrimaryKeyConstraint("uid"),
        sa.UniqueConstraint("running_number"),
    )
    op.create_index("market_acceptance_by_meter", "market_acceptance", ["meter", "mtu_start"], unique=False)
    op.create_index(
        "market_acceptance_by_mtu", "market_acceptance", ["zone", "mtu_start", "running_number"], unique=False
    )
    op.create_index("market_acceptance_by_offer", "market_acceptance", ["offer_uid", "mtu_start"], unique=False)
    op.create_index("market_acceptance_by_owner", "market_acceptance", ["owner", "state"], unique=False)
    op.create_table(
        "order_cancellation",
        sa.Column("uid", sa.String(length=66), nullable=False),
        sa.Column("signature", sa.String(length=132), nullable=False),
        sa.Column("running_number", sa.BigInteger(), nullable=False),
        sa.Column("received_at", sa.BigInteger(), nullable=False),
        sa.Column("receipt_block_hash", sa.String(length=66), nullable=False),
        sa.Column("receipt_signature", sa.String(length=132), nullable=False),
        sa.Column("receipt_digest", sa.String(length=66), nullable=False),
        sa.ForeignKeyConstraint(
            ["uid"],
            ["market_order.uid"],
        ),
        sa.PrimaryKeyConstraint("uid"),
        sa.UniqueConstraint("running_number"),
    )
    op.create_table(
        "posted_order",
        sa.Column("uid", sa.String(length=66), nullable=False),
        sa.Column("owner", sa.String(length=42), nullable=False),
        sa.Column("terms", WideInteger(length=80), nullable=False),
        sa.Column("guard", WideInteger(length=80), nullable=False),
        sa.Column("signature", sa.String(length=132), nullable=False),
        sa.Column("posted_at", sa.BigInteger(), nullable=False),
        sa.Column("taken", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("uid"),
    )
    op.create_index(op.f("ix_posted_order_taken"), "posted_order", ["taken"], unique=False)
