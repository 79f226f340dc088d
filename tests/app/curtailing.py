"""A market to be curtailed: what is checked of it against the chain, whatever happened."""

from typing import Any

from tests.api.running import BUYER, MTU_START, SELLER, ZONE, RunningNode, key

from gridledger.audit.state_hash import state_hash
from gridledger.store.database import Database

GATE, DEADLINE, MTU_END = MTU_START - 300, MTU_START - 60, MTU_START + 900
EVERYBODY = (SELLER, BUYER, key("supplier"), key("grid_operator"))
# Cents per MWh: price and fee of low-carbon energy, and the shortage price.
PRICE, FEE, SHORTAGE, SURPLUS = 15_000, 1_000, 32_500, 7_500


def frees(market: RunningNode, *accounts: Any) -> list[int]:
    """Free money of seller, buyer, supplier and grid operator, unless others are named."""
    return [market.free(account) for account in accounts or EVERYBODY]


def events(market: RunningNode) -> list[dict[str, Any]]:
    """All dispatch events so far."""
    database = Database(market.folder.database)
    with database.read() as tx:
        found = tx.dispatches.events_after(0, 1_000)
    database.close()
    return found


def require_same_as_chain(market: RunningNode, mtu_start: int = MTU_START, *accounts: Any) -> None:
    """What the node says of positions and money is what the contract keeps."""
    database = Database(market.folder.database)
    with database.read() as tx:
        kept = tx.mtus.positions(ZONE, mtu_start)
        chunks = sorted({one.chunk for one in kept})
        deals = {chunk: tx.mtus.deals(ZONE, mtu_start, chunk) for chunk in chunks}
    database.close()
    for chunk in chunks:
        (on_chain,) = market.view("EnergyTrading", "stateHashOf", ZONE, mtu_start, chunk)
        positions = [one.position for one in kept if one.chunk == chunk]
        assert state_hash(positions, deals[chunk]) == "0x" + on_chain.hex()
    for account in {*EVERYBODY, *accounts}:
        free_microcents, _ = market.view("EnergyTrading", "accountOf", account.address)
        assert free_microcents == market.free(account)
