"""The oracle's posts: day-ahead prices and grid factors from files, signed with the oracle's own key."""

from collections import Counter
from collections.abc import Mapping, Sequence

from eth_account.signers.local import LocalAccount

from gridledger.simulation.inputs import HourlySeries, file_sha256
from gridledger.simulation.timeline import Step, StepKind
from gridledger.simulation.transactions import ContractCaller, ContractCalls, SignedTransaction

__all__ = ["Oracle", "origin_counts"]

BASE_GAS = 200_000
GAS_PER_PRICE = 80_000
GAS_PER_FACTOR = 60_000


class Oracle:
    """Makes the transactions of each of the oracle's steps; their nonces follow from the steps' order."""

    def __init__(
        self,
        *,
        prices: HourlySeries | None,
        carbon: HourlySeries | None,
        mtu_length_s: int,
        account: LocalAccount,
        calls: ContractCalls,
        chain_id: int,
        steps: Sequence[Step],
    ) -> None:
        self._prices = prices
        self._carbon = carbon
        self._source_hash = None if carbon is None else bytes.fromhex(file_sha256(carbon.path))
        self._mtu_length_s = mtu_length_s
        self._account = account
        self._calls = calls
        self._chain_id = chain_id
        own_steps = [step for step in steps if step.kind is StepKind.ORACLE_POSTS]
        self._place = {step: place for place, step in enumerate(own_steps)}

    def transactions(self, step: Step) -> tuple[SignedTransaction, ...]:
        """Feed-in prices (cents per MWh) and grid factors (mg CO2 per kWh) of the step's MTUs, as far as given."""
        posts = sum(series is not None for series in (self._prices, self._carbon))
        caller = ContractCaller(self._account, self._calls, self._chain_id, self._place[step] * posts)
        first, mtu_starts = step.mtu_start, [step.mtu_start + i * self._mtu_length_s for i in range(step.mtu_count)]
        signed: list[SignedTransaction] = []
        if self._prices is not None:
            prices = [self._prices.at(mtu_start).value for mtu_start in mtu_starts]
            gas = BASE_GAS + GAS_PER_PRICE * len(prices)
            signed.append(caller.call(gas, "GridPolicy", "postFeedIn", first, prices))
        if self._carbon is not None:
            factors = [self._carbon.at(mtu_start).value for mtu_start in mtu_starts]
            gas = BASE_GAS + GAS_PER_FACTOR * len(factors)
            signed.append(caller.call(gas, "CarbonLedger", "publishGridFactors", first, factors, self._source_hash))
        return tuple(signed)


def origin_counts(series: HourlySeries | None, mtu_starts: Sequence[int]) -> Mapping[str, int]:
    """How many MTUs take their value from the file, from its first full year, or carried. Raises SeriesNotCovering."""
    if series is None:
        return {}
    return dict(sorted(Counter(series.at(mtu_start).origin for mtu_start in mtu_starts).items()))
