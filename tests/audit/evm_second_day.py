"""The same quarter-hours one day later: what is forecast is no longer nothing, and the grid operator overrules.

Stopped although acknowledged, stopped before it was cleared, imports capped, an emergency that breaks the order and
one nobody checks, exports capped in the order with low-carbon energy last, caps on a clearing of two chunks.
"""

from tests.audit.evm_grid import EvmGrid
from tests.audit.evm_node import DAY_S, LENGTH_S
from tests.contracts.words import FIRST_MTU, actor

from gridledger.audit.model import Slot
from gridledger.dispatch.setpoints import Direction
from gridledger.market.model import Pricing, Product, Side

__all__ = ["CAPPED", "CAPPED_IN_TWO", "IMPORTING", "OVERRULED", "STOPPED_LATER", "play_second_day"]

MTUS = tuple(FIRST_MTU + DAY_S + index * LENGTH_S for index in (0, 1, 4, 8, 10, 12))
STOPPED_LATER, STOPPED_BEFORE, IMPORTING, CAPPED, CAPPED_IN_TWO, OVERRULED = MTUS
ROOF, FLAT, OVEN, LATHE, TURBINE, BARN, OFFICE = range(1, 8)
BUY, SELL = Side.BUY, Side.SELL
OVERLOAD, EMERGENCY, SECURITY = 1, 4, 5


def play_second_day(node: EvmGrid) -> None:
    """Play it; the turbine's owner is admitted again."""
    node.market.send(node.market.regulator, "EnergyTrading", "setSuspended", actor("engine").address, False)
    for part in (_stopped, _importing, _capped, _capped_in_two, _overruled):
        part(node)


def _stopped(node: EvmGrid) -> None:
    """The operator stops an MTU it had acknowledged, and with it the next one, which is not even cleared yet."""
    node.at(STOPPED_LATER - 400)
    node.order(ROOF, SELL, 110, 10_000, STOPPED_LATER, last=STOPPED_BEFORE)
    node.order(FLAT, BUY, 100, 22_000, STOPPED_LATER, last=STOPPED_BEFORE)
    node.clear(STOPPED_LATER)
    node.at(STOPPED_LATER + 30)
    node.stop(1, STOPPED_LATER, 2, EMERGENCY)
    node.refund(1, STOPPED_LATER)
    node.clear(STOPPED_BEFORE, answered=False)
    node.refund(1, STOPPED_BEFORE)


def _importing(node: EvmGrid) -> None:
    """Two buyers share what the feeder can take; the sellers bear the replacement, as the policy says of the reason."""
    slot = Slot(1, IMPORTING)
    node.at(IMPORTING - 400)
    node.order(ROOF, SELL, 300, 11_000, IMPORTING)
    node.order(FLAT, BUY, 180, 26_000, IMPORTING)
    node.order(OFFICE, BUY, 120, 25_000, IMPORTING)
    node.clear(IMPORTING, answered=False)
    node.curtail(slot, Direction.IMPORT, node.fair_caps(slot, Direction.IMPORT, (FLAT, OFFICE), 170), SECURITY)
    _deliver(node, IMPORTING, {ROOF: 168, FLAT: -100, OFFICE: -70})


def _overruled(node: EvmGrid) -> None:
    """An acknowledged schedule is capped in an emergency without regard to sources, then more strictly."""
    slot = Slot(1, OVERRULED)
    node.at(OVERRULED - 400)
    node.order(ROOF, SELL, 320, 10_500, OVERRULED)
    node.order(TURBINE, SELL, 150, 9_000, OVERRULED)
    node.order(FLAT, BUY, 400, 24_000, OVERRULED)
    node.clear(OVERRULED)
    node.at(OVERRULED + 100)
    node.curtail(slot, Direction.EXPORT, {ROOF: 90, TURBINE: 150}, EMERGENCY, emergency=True)
    node.at(OVERRULED + 200)
    node.curtail(slot, Direction.EXPORT, {ROOF: 60, TURBINE: 140}, EMERGENCY, emergency=True, reveal=False)
    _deliver(node, OVERRULED, {ROOF: 61, FLAT: -230, TURBINE: 133})


def _capped(node: EvmGrid) -> None:
    """Two products and a direct deal; the turbine is switched off first, then the roofs share what is left."""
    slot = Slot(1, CAPPED)
    node.at(CAPPED - 1_700)
    offer = node.order(TURBINE, SELL, 2_400, 9_000, CAPPED)
    node.accept(OFFICE, offer, 2_000, CAPPED)
    node.order(ROOF, SELL, 200, 11_000, CAPPED)
    node.order(BARN, SELL, 60, 8_500, CAPPED, pricing=Pricing.PEGGED)
    node.order(FLAT, BUY, 300, 26_000, CAPPED, product=Product.LOW_CARBON)
    node.order(OFFICE, BUY, 250, 21_000, CAPPED)
    node.clear(CAPPED, answered=False)
    caps_wh = node.fair_caps(slot, Direction.EXPORT, (ROOF, TURBINE, BARN), 151)
    assert caps_wh[TURBINE] == 0 < caps_wh[BARN] < caps_wh[ROOF]
    node.curtail(slot, Direction.EXPORT, caps_wh, OVERLOAD)
    _deliver(node, CAPPED, {ROOF: 110, FLAT: -300, TURBINE: 4, BARN: 30, OFFICE: -20})


def _capped_in_two(node: EvmGrid) -> None:
    """The meter that goes on in the second chunk is capped so that only the second one shrinks."""
    slot = Slot(1, CAPPED_IN_TWO)
    node.at(CAPPED_IN_TWO - 400)
    node.order(FLAT, BUY, 500, 20_000, CAPPED_IN_TWO)
    node.order(ROOF, SELL, 300, 12_000, CAPPED_IN_TWO)
    node.order(BARN, SELL, 200, 10_000, CAPPED_IN_TWO)
    node.order(TURBINE, SELL, 100, 18_000, CAPPED_IN_TWO)
    node.close(1, CAPPED_IN_TWO)
    node.clear_in_two(slot, (((ROOF, FLAT), 300), ((FLAT, BARN), 200)))
    node.at(CAPPED_IN_TWO)
    node.curtail(slot, Direction.IMPORT, {FLAT: 330}, OVERLOAD, emergency=True)
    _deliver(node, CAPPED_IN_TWO, {ROOF: 305, FLAT: -329, BARN: 28})


def _deliver(node: EvmGrid, mtu_start: int, metered_wh: dict[int, int]) -> None:
    """Apply the caps once the MTU is over, read and settle."""
    node.at(mtu_start + LENGTH_S)
    node.apply_caps(Slot(1, mtu_start))
    node.read(1, mtu_start, metered_wh)
    contracted = {one.meter for kept in node.kept[Slot(1, mtu_start)] for one in kept.positions}
    node.settle(1, mtu_start, {meter: energy for meter, energy in metered_wh.items() if meter in contracted})
