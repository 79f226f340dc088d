"""Who takes part in a run: members with their accounts and meters, numbered as the registry will number them."""

from collections.abc import Iterable
from dataclasses import dataclass

from eth_account.signers.local import LocalAccount

from gridledger.chain.keys import account_from_seed
from gridledger.errors import InvalidInput
from gridledger.simulation.inputs import MeterSpec
from gridledger.simulation.seeded import secret

__all__ = ["HIGHEST_CAPACITY_W", "CapacityTooLarge", "Community", "Member", "NumberedMeter", "form_community"]

HIGHEST_CAPACITY_W = 2**24 - 1  # the registry keeps capacities in 24 bits


@dataclass(kw_only=True, eq=False)
class CapacityTooLarge(InvalidInput):
    """A meter's connection is larger than the registry can hold."""

    meter_id: str
    capacity_w: int
    highest_w: int = HIGHEST_CAPACITY_W


@dataclass(frozen=True, kw_only=True)
class NumberedMeter:
    """A meter with the number the registry gives it: 1 for the first meter_id in ascending order, and so on."""

    number: int
    spec: MeterSpec
    device_secret: bytes


@dataclass(frozen=True, kw_only=True)
class Member:
    """An owner with its account and its meters, ascending by number."""

    owner: str
    account: LocalAccount
    meters: tuple[NumberedMeter, ...]


@dataclass(frozen=True, kw_only=True)
class Community:
    """Members ascending by owner, all their meters ascending by number."""

    members: tuple[Member, ...]
    meters: tuple[NumberedMeter, ...]


def form_community(specs: Iterable[MeterSpec], seed: int) -> Community:
    """Number the meters and give each owner and device its key from the seed. Raises CapacityTooLarge."""
    ordered = sorted(specs, key=lambda spec: spec.meter_id)
    meters: list[NumberedMeter] = []
    for number, spec in enumerate(ordered, start=1):
        capacity_w = max(spec.import_capacity_w, spec.export_capacity_w)
        if capacity_w > HIGHEST_CAPACITY_W:
            raise CapacityTooLarge(meter_id=spec.meter_id, capacity_w=capacity_w)
        meters.append(NumberedMeter(number=number, spec=spec, device_secret=secret(seed, "device", spec.meter_id)))
    members = tuple(
        Member(
            owner=owner,
            account=account_from_seed(seed, f"member {owner}"),
            meters=tuple(meter for meter in meters if meter.spec.owner == owner),
        )
        for owner in sorted({spec.owner for spec in ordered})
    )
    return Community(members=members, meters=tuple(meters))
