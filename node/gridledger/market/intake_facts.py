"""The facts that the checks of many orders ask for, read together."""

from collections.abc import Collection

from gridledger.market.errors import MeterUnknown
from gridledger.market.intake import IntakeContext
from gridledger.market.model import CashAccount, Side
from gridledger.market.ports import MarketDirectory, OrderStore

__all__ = ["IntakeFacts"]

_NO_MONEY = CashAccount(free_microcents=0, credit_microcents=0)


class IntakeFacts:
    """What is known of some owners, meters and MTUs at one moment (Unix seconds) of a transaction."""

    def __init__(
        self,
        *,
        now: int,
        mtu_length_s: int,
        directory: MarketDirectory,
        orders: OrderStore,
        owners: Collection[str],
        meters: Collection[int],
        first_mtu_start: int,
        last_mtu_start: int,
    ) -> None:
        self.now = now
        self.commitments = orders.commitments(owners, first_mtu_start, last_mtu_start)
        self._cancelled_salts = orders.cancelled_salts(owners)
        self._mtu_length_s = mtu_length_s
        self._directory = directory
        self._members = directory.members(owners)
        self._meters = directory.meters(meters)
        self._halted = {zone: directory.is_halted(zone) for zone in {one.zone for one in self._meters.values()}}

    def context(self, owner: str, meter_number: int, side: Side, first: int, last: int) -> IntakeContext:
        """The facts for an order from the first to the last MTU. Raises MeterUnknown."""
        meter = self._meters.get(meter_number)
        if meter is None:
            raise MeterUnknown(meter=meter_number)
        member = self._members.get(owner)
        other_side = Side.SELL if side is Side.BUY else Side.BUY
        return IntakeContext(
            now=self.now,
            mtu_length_s=self._mtu_length_s,
            policy=self._directory.policy_at(first),
            prices=self._directory.prices_at(first),
            meter=meter,
            admitted=member is not None,
            suspended=member is not None and member.suspended,
            halted=self._halted[meter.zone],
            account=_NO_MONEY if member is None else member.account,
            committed_microcents=self.commitments.microcents(owner),
            open_wh=self.commitments.open_wh(meter_number, first, last, side),
            other_side_open=self.commitments.has_open(owner, meter.zone, first, last, other_side),
            cancelled_salt=self._cancelled_salts.get(owner),
        )
