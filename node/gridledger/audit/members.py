"""Members, meters and rules as the chain's events state them, replayed from block 0."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from gridledger.audit.ports import Event
from gridledger.market.model import MeterFacts, MtuPrices, Policy
from gridledger.market.tariffs import policy_of, prices_of
from gridledger.metering.model import DeviceKey

__all__ = ["Members", "PolicyVersion", "Rules", "Timeline"]

WHOLE_MARKET = 0


class Timeline:
    """A yes or no that changes with blocks; no before its first change."""

    def __init__(self) -> None:
        self._changes: list[tuple[int, bool]] = []

    def change(self, block_number: int, *, to: bool) -> None:
        """Set the value from a block on; blocks come in order."""
        self._changes.append((block_number, to))

    def at(self, block_number: int) -> bool:
        """The value after a block."""
        value = False
        for number, changed in self._changes:
            if number > block_number:
                break
            value = changed
        return value

    def ever_between(self, first: int, last: int) -> bool:
        """Whether the value was yes after any block from `first` to `last`."""
        return self.at(first) or any(changed and first <= number <= last for number, changed in self._changes)


@dataclass
class Members:
    """The participant registry, and who is suspended or halted when."""

    grid_operators: dict[int, str] = field(default_factory=dict)
    suppliers: list[str] = field(default_factory=list)  # by number, from 1
    supplier_of: dict[str, str] = field(default_factory=dict)
    meters: dict[int, MeterFacts] = field(default_factory=dict)
    device_keys: dict[int, list[DeviceKey]] = field(default_factory=dict)
    suspended: defaultdict[str, Timeline] = field(default_factory=lambda: defaultdict(Timeline))
    halted: defaultdict[int, Timeline] = field(default_factory=lambda: defaultdict(Timeline))

    def apply(self, event: Event) -> None:
        """Apply one event of the registry, or a halt or suspension; others change nothing."""
        values = event.arguments
        match event.name:
            case "ZoneRegistered":
                self.grid_operators[values["zone"]] = values["gridOperator"]
            case "SupplierRegistered":
                self.suppliers.append(values["supplier"])
            case "ParticipantAdmitted":
                self.supplier_of[values["account"]] = values["supplier"]
            case "MeterRegistered":
                self._register(values)
            case "DeviceKeyReplaced":
                self.device_keys.setdefault(values["meter"], []).append(_key(values))
            case "ParticipantSuspended":
                self.suspended[values["account"]].change(event.block_number, to=values["suspended"])
            case "MarketHalted":
                self.halted[values["zone"]].change(event.block_number, to=values["halted"])

    def supplier_at(self, number: int) -> str:
        """The supplier with a number; empty where there is none."""
        return self.suppliers[number - 1] if 0 < number <= len(self.suppliers) else ""

    def zone_of(self, meter: int) -> int | None:
        """The zone of a registered meter."""
        facts = self.meters.get(meter)
        return None if facts is None else facts.zone

    def halted_between(self, zone: int, first: int, last: int) -> bool:
        """Whether the zone or the whole market was halted after any of these blocks."""
        return any(self.halted[number].ever_between(first, last) for number in (WHOLE_MARKET, zone))

    def _register(self, values: Mapping[str, Any]) -> None:
        meter, owner = values["meter"], values["owner"]
        supplier = self.supplier_of.get(owner, "")
        self.meters[meter] = MeterFacts(
            meter=meter,
            owner=owner,
            supplier=supplier,
            supplier_number=self.suppliers.index(supplier) + 1 if supplier in self.suppliers else 0,
            zone=values["zone"],
            import_capacity_w=values["importCapacityW"],
            export_capacity_w=values["exportCapacityW"],
            source=values["source"],
        )
        self.device_keys.setdefault(meter, []).append(_key(values))


@dataclass(frozen=True, kw_only=True)
class PolicyVersion:
    """One version of the regulator's rules; values by the contract's field names."""

    version: int
    effective_mtu_start: int
    values: Mapping[str, Any]


class Rules:
    """The grid policy and the carbon factors."""

    def __init__(self) -> None:
        self.versions: list[PolicyVersion] = []
        self.feed_in: dict[int, int] = {}
        self.source_factors: dict[int, tuple[int, str]] = {}
        self._source_factor_blocks: dict[int, int] = {}
        self.grid_factors: dict[int, int] = {}
        self._values_at = lru_cache(maxsize=None)(self._find_values)
        self._policy_at = lru_cache(maxsize=None)(self._find_policy)

    def apply(self, event: Event) -> None:
        """Apply one event of policy or carbon ledger; others change nothing."""
        values = event.arguments
        match event.name:
            case "PolicyScheduled":
                self.versions.append(
                    PolicyVersion(
                        version=values["version"],
                        effective_mtu_start=values["effectiveMtuStart"],
                        values=dict(values["policy"]),
                    )
                )
                self._values_at.cache_clear()
                self._policy_at.cache_clear()
            case "FeedInPosted":
                self.feed_in[values["mtuStart"]] = values["feedInCentsPerMwh"]
            case "SourceFactorSet":
                self.source_factors[values["source"]] = (values["factorMgco2PerKwh"], values["citation"])
                self._source_factor_blocks.setdefault(values["source"], event.block_number)
            case "GridFactorPublished":
                self.grid_factors[values["mtuStart"]] = values["factorMgco2PerKwh"]

    def policy_at(self, mtu_start: int) -> Policy:
        """The rules of an MTU."""
        return self._policy_at(mtu_start)

    def _find_policy(self, mtu_start: int) -> Policy:
        return policy_of(self._values_at(mtu_start))

    def prices_at(self, mtu_start: int) -> MtuPrices:
        """The prices of an MTU: the policy's tariffs, or the posted feed-in price and the policy's adder."""
        return prices_of(self._values_at(mtu_start), self.feed_in.get(mtu_start))

    def gate_closure(self, mtu_start: int) -> int:
        """Last moment for orders of an MTU, Unix seconds."""
        return mtu_start - self.policy_at(mtu_start).gate_closure_s

    def grid_factor(self, mtu_start: int) -> int:
        """The grid factor as it stands now: published, or the policy's default; mg CO2 per kWh."""
        published = self.grid_factors.get(mtu_start)
        return self.policy_at(mtu_start).default_grid_factor_mgco2_per_kwh if published is None else published

    def source_factor(self, source: int, block_number: int) -> int | None:
        """The factor of a source, mg CO2 per kWh, where it was set by a block; it never changes."""
        if self._source_factor_blocks.get(source, block_number + 1) > block_number:
            return None
        return self.source_factors[source][0]

    def _find_values(self, mtu_start: int) -> Mapping[str, Any]:
        """The last scheduled among the latest effective versions."""
        started = [version for version in self.versions if version.effective_mtu_start <= mtu_start]
        return max(started, key=lambda version: (version.effective_mtu_start, version.version)).values


def _key(values: Mapping[str, Any]) -> DeviceKey:
    return DeviceKey(x=bytes.fromhex(values["deviceKeyX"][2:]), y=bytes.fromhex(values["deviceKeyY"][2:]))
