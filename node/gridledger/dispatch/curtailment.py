"""Who is curtailed how far: the class with the highest emission factor first, pro rata within a class.

What may still flow goes to the cleanest class first. At most one class gets a part of what it was scheduled to do; that
is shared pro rata, floors first, then one Wh each by the largest remainder, ties to the lower meter. The dispatching
contract checks caps by the same integers and without sorting, as `check_order` does; `allocate_caps` is the reference.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from gridledger.dispatch.errors import (
    CapAboveSchedule,
    CapCountOutOfRange,
    CapsIncomplete,
    CurtailmentOrderBroken,
    MetersNotAscending,
    NothingCurtailed,
)
from gridledger.dispatch.shares import pro_rata_shares
from gridledger.units import UINT32_MAX, UINT64_MAX, check_range

__all__ = ["HIGHEST_RANK", "MOST_CAPS", "OTHER_SOURCE", "Basis", "allocate_caps", "check_order", "emission_rank"]

MOST_CAPS = 512  # a proof each: what fits under one transaction's gas
HIGHEST_RANK = UINT32_MAX  # above every emission factor the carbon ledger takes
OTHER_SOURCE = 0
_Key = tuple[int, int]  # remainder, and the meter's number negated: the larger key gets its Wh first


@dataclass(frozen=True, kw_only=True)
class Basis:
    """What a meter was scheduled to do in the curtailed direction, Wh, never negative.

    `rank` is its emission factor in mg CO2 per kWh as `emission_rank` gives it; higher is curtailed first.
    """

    meter: int
    basis_wh: int
    rank: int


def emission_rank(source: int, factor_mgco2_per_kwh: int | None) -> int:
    """Rank of a source: its emission factor, or the highest for `other` and for sources without a factor.

    Raises OutOfRange.
    """
    if source == OTHER_SOURCE or factor_mgco2_per_kwh is None:
        return HIGHEST_RANK
    return check_range("factor_mgco2_per_kwh", factor_mgco2_per_kwh, 0, HIGHEST_RANK)


def allocate_caps(bases: Sequence[Basis], total_cap_wh: int) -> tuple[int, ...]:
    """The caps in Wh, one per basis in their order; their sum is `total_cap_wh`, below the sum of the bases.

    Raises CapCountOutOfRange, MetersNotAscending, NothingCurtailed, OutOfRange.
    """
    _require_bases(bases)
    check_range("total_cap_wh", total_cap_wh, 0, UINT64_MAX * MOST_CAPS)
    _require_less(sum(basis.basis_wh for basis in bases), total_cap_wh)
    classes: defaultdict[int, list[Basis]] = defaultdict(list)
    for basis in bases:
        classes[basis.rank].append(basis)
    caps_wh: dict[int, int] = {}
    left_wh = total_cap_wh
    for rank in sorted(classes):
        class_wh = min(left_wh, sum(basis.basis_wh for basis in classes[rank]))
        caps_wh |= pro_rata_shares(class_wh, {basis.meter: basis.basis_wh for basis in classes[rank]})
        left_wh -= class_wh
    return tuple(caps_wh[basis.meter] for basis in bases)


def check_order(bases: Sequence[Basis], caps_wh: Sequence[int]) -> None:
    """Whether caps are those `allocate_caps` gives for their sum, decided in passes over the list and without sorting.

    Raises CapCountOutOfRange, MetersNotAscending, CapsIncomplete, CapAboveSchedule, NothingCurtailed,
    CurtailmentOrderBroken, OutOfRange.
    """
    _require_bases(bases)
    if len(caps_wh) != len(bases):
        raise CapsIncomplete(meter_count=len(bases), cap_count=len(caps_wh))
    for basis, cap_wh in zip(bases, caps_wh, strict=True):
        check_range("cap_wh", cap_wh, 0, UINT64_MAX)
        if cap_wh > basis.basis_wh:
            raise CapAboveSchedule(meter=basis.meter, basis_wh=basis.basis_wh, cap_wh=cap_wh)
    _require_less(sum(basis.basis_wh for basis in bases), sum(caps_wh))
    if _is_in_order(bases, caps_wh):
        return
    expected_wh = allocate_caps(bases, sum(caps_wh))
    meter, expected, found = next(
        (basis.meter, expected, found)
        for basis, expected, found in zip(bases, expected_wh, caps_wh, strict=True)
        if expected != found
    )
    raise CurtailmentOrderBroken(meter=meter, expected_wh=expected, found_wh=found)


def _require_bases(bases: Sequence[Basis]) -> None:
    if not 0 < len(bases) <= MOST_CAPS:
        raise CapCountOutOfRange(count=len(bases), most=MOST_CAPS)
    before = -1
    for basis in bases:
        check_range("meter", basis.meter, 0, UINT32_MAX)
        check_range("basis_wh", basis.basis_wh, 0, UINT64_MAX)
        check_range("rank", basis.rank, 0, HIGHEST_RANK)
        if basis.meter <= before:
            raise MetersNotAscending(meter=basis.meter)
        before = basis.meter


def _require_less(basis_wh: int, cap_wh: int) -> None:
    if cap_wh >= basis_wh:
        raise NothingCurtailed(basis_wh=basis_wh, cap_wh=cap_wh)


def _is_in_order(bases: Sequence[Basis], caps_wh: Sequence[int]) -> bool:
    """As the contract decides: the class curtailed in part, what lies around it, then the shares within it."""
    pairs = tuple(zip(bases, caps_wh, strict=True))
    marginal_rank = max((basis.rank for basis, cap_wh in pairs if cap_wh > 0), default=0)
    if any(basis.rank < marginal_rank and cap_wh != basis.basis_wh for basis, cap_wh in pairs):
        return False  # of a higher rank nobody has a cap above 0, by the choice of the rank
    marginal = [(basis, cap_wh) for basis, cap_wh in pairs if basis.rank == marginal_rank]
    return _shares_are_pro_rata(marginal)


def _shares_are_pro_rata(members: Sequence[tuple[Basis, int]]) -> bool:
    class_wh = sum(basis.basis_wh for basis, _ in members)
    class_cap_wh = sum(cap_wh for _, cap_wh in members)
    least_raised: _Key | None = None
    most_floored: _Key | None = None
    for basis, cap_wh in members:
        floor_wh, remainder = divmod(class_cap_wh * basis.basis_wh, max(1, class_wh))
        key = (remainder, -basis.meter)
        if cap_wh == floor_wh + 1:
            least_raised = key if least_raised is None else min(least_raised, key)
        elif cap_wh == floor_wh:
            most_floored = key if most_floored is None else max(most_floored, key)
        else:
            return False
    return least_raised is None or most_floored is None or least_raised > most_floored
