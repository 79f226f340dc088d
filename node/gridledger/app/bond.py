"""Keeps the operator's bond at what its settings say, from the settlement tokens of the operator's own account."""

from gridledger.chain.client import ChainClient
from gridledger.clock import Clock
from gridledger.store.database import Database

__all__ = ["BondKeeper"]


class BondKeeper:
    """Approves and deposits, one step at a time, until the bond holds the target. Decides by the contracts' state."""

    def __init__(
        self, *, client: ChainClient, database: Database, clock: Clock, operator: str, target_microcents: int
    ) -> None:
        self._client, self._database, self._clock = client, database, clock
        self._operator, self._target_microcents = operator, target_microcents
        self._is_full = target_microcents == 0

    def top_up(self) -> None:
        """Take the next step, if there is money for it and none is under way."""
        if self._is_full:
            return
        bond_microcents = self._client.view("MarketBond", "bond")[0]
        self._is_full = bond_microcents >= self._target_microcents
        held = self._client.view("SettlementToken", "balanceOf", self._operator)
        amount = min(self._target_microcents - bond_microcents, held)
        if amount <= 0:
            return
        bond = self._client.address("MarketBond")
        allowed = self._client.view("SettlementToken", "allowance", self._operator, bond)
        if allowed < amount:
            self._submit("ApproveBond", "SettlementToken", "approve", bond, amount)
        else:
            self._submit("DepositBond", "MarketBond", "deposit", amount)

    def _submit(self, kind: str, contract: str, function: str, *arguments: object) -> None:
        with self._database.write() as tx:
            if tx.outbox.has_open(kind, None, None):
                return
            tx.outbox.add(
                kind=kind,
                signer=self._operator,
                to_address=self._client.address(contract),
                data=self._client.codecs[contract].call_data(function, *arguments),
                zone=None,
                mtu_start=None,
                created_at=self._clock.now(),
            )
