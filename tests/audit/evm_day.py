"""A day that has everything an audit can meet, over contracts in an in-process EVM, and the hours after it.

Eleven quarter-hours in zone 1: fully matched, unmatched, stopped, ending in a debt, unanswered, read late, two
products with direct deals and pegged orders, cleared in two chunks, read only after a substitute, with bulk
cancellations, with a seller suspended between book and clearing. Zone 2 has one meter and is halted once.
"""

from tests.audit import evm_demand
from tests.audit.evm_desk import MeterOf
from tests.audit.evm_grid import EvmGrid
from tests.audit.evm_node import DAY_S, LENGTH_S
from tests.audit.evm_second_day import play_second_day
from tests.contracts.words import EUR, FIRST_MTU, actor

from gridledger.audit.model import Slot
from gridledger.chain.plan import PolicyParameters
from gridledger.market.model import Pricing, Product, Side
from gridledger.metering.events import MeterEvent, MeterEventKind
from gridledger.metering.evidence import signed_evidence
from gridledger.metering.registers import RegisterReading

__all__ = ["CHUNKED", "FULL", "SEPARATE", "SUBSTITUTED", "UNANSWERED", "play_in_evm"]

MTUS = tuple(FIRST_MTU + index * LENGTH_S for index in (0, 1, 2, 3, 4, 5, 8, 10, 12, 14, 16))
FULL, UNMATCHED, STOPPED, INDEBTED, UNANSWERED, LATE, SEPARATE, CHUNKED, SUBSTITUTED, BULK, SUSPENDED = MTUS
ROOF, FLAT, OVEN, LATHE, TURBINE, BARN, OFFICE = range(1, 8)
BUY, SELL = Side.BUY, Side.SELL
BAKERY_TAKES_MICROCENTS = 10 * EUR - 50_000_000
POLICY = PolicyParameters(
    substitute_after_s=1_800, correction_s=86_400, replacement_bearers=0x24AA
)  # for security of supply the seller
METERS = (
    MeterOf(owner="producer", source=1),
    MeterOf(owner="household"),
    MeterOf(owner="bakery"),
    MeterOf(owner="workshop", zone=2, source=1),
    MeterOf(owner="engine"),
    MeterOf(owner="farm", source=1),
    MeterOf(owner="office"),
)


def play_in_evm() -> EvmGrid:
    """Play the day."""
    node = EvmGrid(FULL, POLICY, METERS)
    market = node.market
    for owner in ("producer", "household", "bakery", "workshop", "engine", "farm", "office"):
        node.deposit(actor(owner), 10 * EUR)
    node.deposit(market.supplier, 100 * EUR)
    market.send(market.supplier, "EnergyTrading", "setCredit", [actor("bakery").address], [EUR])
    market.send(actor("bakery"), "EnergyTrading", "requestWithdrawal", BAKERY_TAKES_MICROCENTS)
    market.send(market.supplier, "EnergyTrading", "setCredit", [actor("bakery").address], [0])
    for part in (
        _first_hour,
        _second_hour,
        _products,
        _chunks,
        _substitutes,
        _withdrawn,
        _afterwards,
        play_second_day,
        _end,
    ):
        part(node)
    return node


def _read_across_a_replacement(node: EvmGrid) -> None:
    """The lathe's meter is replaced within the hour: 2 Wh are exported before, 3 after."""
    start = RegisterReading(
        meter=LATHE,
        meter_id="meter, no. 4",
        taken_at=FULL,
        import_register_wh=70_000,
        export_register_wh=1_000,
        counter=900,
    )
    event = MeterEvent(
        meter=LATHE,
        kind=MeterEventKind.REPLACEMENT,
        happened_at=FULL + 300,
        closing_serial="meter, no. 4",
        opening_serial="meter, no. 41",
        closing_import_wh=70_000,
        closing_export_wh=1_002,
        opening_import_wh=11,
        opening_export_wh=0,
    )
    end = RegisterReading(
        meter=LATHE,
        meter_id="meter, no. 41",
        taken_at=FULL + LENGTH_S,
        import_register_wh=11,
        export_register_wh=3,
        counter=1,
    )
    node.read_across(2, LATHE, start, event, end)


def _first_hour(node: EvmGrid) -> None:
    """A full market with a standing order and a cancellation, no match at all, a voided schedule."""
    market = node.market
    node.at(FULL - 1_800)
    market.send(market.oracle, "CarbonLedger", "publishGridFactors", FULL, [412_000], b"\x07" * 32)
    node.order(ROOF, SELL, 500, 10_000, FULL)
    node.order(ROOF, SELL, 200, 12_000, FULL)
    node.order(FLAT, BUY, 300, 25_000, FULL)
    cancelled = node.order(FLAT, BUY, 100, 22_000, FULL)
    node.order(OVEN, BUY, 350, 20_000, FULL)
    standing = node.order(OFFICE, BUY, 50, 15_000, FULL, last=BULK)
    node.order(LATHE, SELL, 90, 30_000, FULL)
    node.cancel(cancelled)
    node.clear(FULL, zones=(1, 2))
    node.order(ROOF, SELL, 400, 30_000, UNMATCHED)
    node.order(FLAT, BUY, 400, 9_000, UNMATCHED)
    node.clear(UNMATCHED)
    node.order(ROOF, SELL, 250, 9_999, STOPPED)
    node.order(OVEN, BUY, 240, 31_000, STOPPED)
    node.at(FULL + LENGTH_S)
    metered = {ROOF: 640, FLAT: -310, OVEN: -200, OFFICE: -50}
    node.read(1, FULL, metered)
    _read_across_a_replacement(node)
    node.settle(1, FULL, metered)
    node.clear(STOPPED, answered=False)
    node.stop(1, STOPPED, 1, 4)
    node.refund(1, STOPPED)
    node.at(INDEBTED - 400)
    node.cancel(standing)


def _second_hour(node: EvmGrid) -> None:
    """The bakery gets its money out and cannot pay; a halt; nobody answers; one reading comes late."""
    market, bakery = node.market, actor("bakery")
    market.send(bakery, "EnergyTrading", "withdraw")
    market.send(bakery, "EnergyTrading", "applyCreditCut", bakery.address)
    market.send(market.oracle, "GridPolicy", "postFeedIn", INDEBTED, [6_000])
    node.order(OVEN, BUY, 150, 20_000, INDEBTED)
    node.order(ROOF, SELL, 170, 7_000, INDEBTED)
    node.order(OVEN, BUY, 200, 20_000, LATE)
    node.clear(INDEBTED)
    node.at(UNANSWERED - 600)
    node.order(ROOF, SELL, 300, 11_000, UNANSWERED)
    node.order(FLAT, BUY, 280, 26_000, UNANSWERED)
    on_chain = node.order(FLAT, BUY, 50, 27_000, UNANSWERED)
    market.send(actor("household"), "EnergyTrading", "cancel", bytes.fromhex(on_chain.uid[2:]))
    node.order(LATHE, SELL, 60, 20_000, UNANSWERED)
    market.send(market.regulator, "GridPolicy", "setHalted", 2, True)
    node.close(1, UNANSWERED)
    node.close(2, UNANSWERED)
    node.match(1, UNANSWERED)
    node.at(UNANSWERED + 1)
    market.send(market.regulator, "GridPolicy", "setHalted", 2, False)
    debtor = {ROOF: 165, OVEN: -20_000}
    node.read(1, INDEBTED, debtor)
    node.settle(1, INDEBTED, debtor)
    node.order(ROOF, SELL, 320, 10_500, LATE)
    node.order(FLAT, BUY, 310, 24_000, LATE)
    node.clear(LATE)
    node.at(UNANSWERED + LENGTH_S)
    metered = {ROOF: 290, FLAT: -281}
    node.read(1, UNANSWERED, metered)
    node.settle(1, UNANSWERED, metered)
    node.at(LATE + LENGTH_S)
    node.read(1, LATE, {ROOF: 333})
    node.settle(1, LATE, {ROOF: 333})
    node.read(1, LATE, {FLAT: -317})
    node.settle(1, LATE, {FLAT: -317})


def _products(node: EvmGrid) -> None:
    """Low-carbon bids exceed low-carbon offers, so each product has its price; part of an offer is dealt directly."""
    node.at(SEPARATE - 1_700)
    offer = node.order(TURBINE, SELL, 400, 9_000, SEPARATE)
    node.accept(OFFICE, offer, 100, SEPARATE)
    node.order(ROOF, SELL, 200, 11_000, SEPARATE)
    node.order(BARN, SELL, 60, 8_500, SEPARATE, pricing=Pricing.PEGGED)
    node.order(FLAT, BUY, 300, 26_000, SEPARATE, product=Product.LOW_CARBON)
    node.order(OVEN, BUY, 150, 20_000, SEPARATE)  # its owner has no money left: ineligible
    node.order(OFFICE, BUY, 250, 21_000, SEPARATE)
    node.order(OFFICE, BUY, 30, 30_000, SEPARATE, pricing=Pricing.PEGGED)
    node.accept(FLAT, offer, 80, SEPARATE)
    node.clear(SEPARATE)
    node.at(SEPARATE + LENGTH_S)
    metered = {ROOF: 190, FLAT: -400, TURBINE: 420, BARN: 61, OFFICE: -333}
    node.read(1, SEPARATE, metered)
    node.settle(1, SEPARATE, metered)


def _chunks(node: EvmGrid) -> None:
    """One clearing in two chunks: the flat's only bid is filled in both."""
    node.at(CHUNKED - 400)
    node.order(FLAT, BUY, 500, 20_000, CHUNKED)
    node.order(ROOF, SELL, 300, 12_000, CHUNKED)
    node.order(BARN, SELL, 200, 10_000, CHUNKED)
    node.order(TURBINE, SELL, 100, 18_000, CHUNKED)
    node.close(1, CHUNKED)
    node.clear_in_two(Slot(1, CHUNKED), (((ROOF, FLAT), 300), ((FLAT, BARN), 200)))
    node.acknowledge(1, CHUNKED)
    node.at(CHUNKED + LENGTH_S)
    metered = {ROOF: 310, FLAT: -450, BARN: 205}
    node.read(1, CHUNKED, metered)
    node.settle(1, CHUNKED, metered)


def _substitutes(node: EvmGrid) -> None:
    """A dead meter: its position settles on a substitute, and is corrected when the reading comes after all."""
    node.at(SUBSTITUTED - 400)
    market = node.market
    node.order(ROOF, SELL, 100, 10_000, SUBSTITUTED)
    node.order(OFFICE, BUY, 100, 20_000, SUBSTITUTED)
    node.clear(SUBSTITUTED)
    node.at(SUBSTITUTED + LENGTH_S)
    node.read(1, SUBSTITUTED, {ROOF: 104})
    node.settle(1, SUBSTITUTED, {ROOF: 104})
    assert market.clock < SUBSTITUTED + LENGTH_S + POLICY.substitute_after_s


def _withdrawn(node: EvmGrid) -> None:
    """Bulk cancellations to the node and on chain, a suspension before the book and one after it."""
    market, regulator = node.market, node.market.regulator
    node.at(BULK - 500)
    first = node.order(ROOF, SELL, 70, 10_000, BULK, last=SUSPENDED)
    node.at(BULK - 480)
    node.cancel_up_to(ROOF, first.salt)
    market.send(actor("farm"), "EnergyTrading", "cancelUpTo", node.order(BARN, SELL, 40, 10_000, BULK).salt)
    node.order(BARN, SELL, 45, 12_000, BULK)
    node.order(ROOF, SELL, 80, 11_000, BULK)
    node.order(FLAT, BUY, 100, 20_000, BULK)
    node.order(TURBINE, SELL, 30, 10_000, BULK)
    market.send(regulator, "EnergyTrading", "setSuspended", actor("engine").address, True)
    node.clear(BULK)
    market.send(regulator, "EnergyTrading", "setSuspended", actor("engine").address, False)
    node.at(SUSPENDED - 400)
    node.order(ROOF, SELL, 90, 10_000, SUSPENDED)
    node.order(TURBINE, SELL, 90, 9_000, SUSPENDED)
    node.order(FLAT, BUY, 120, 20_000, SUSPENDED)
    demand = evm_demand.issue(node, SUSPENDED, {ROOF: 90, FLAT: -120})
    node.close(1, SUSPENDED)
    market.send(regulator, "EnergyTrading", "setSuspended", actor("engine").address, True)
    node.match(1, SUSPENDED)
    node.acknowledge(1, SUSPENDED)
    for mtu_start, metered in ((BULK, {ROOF: 80, FLAT: -100, BARN: 50}), (SUSPENDED, {ROOF: 95, FLAT: -85})):
        node.at(mtu_start + LENGTH_S)
        node.read(1, mtu_start, metered)
        node.settle(1, mtu_start, metered)
    node.at(SUSPENDED + 2 * LENGTH_S)
    for meter in (ROOF, FLAT):
        evm_demand.measure_again(node, demand, meter)
    node.read(1, SUSPENDED + LENGTH_S, {FLAT: -100})
    evm_demand.measure_again(node, demand, FLAT)


def _prove(node: EvmGrid) -> None:
    """A transformer's meter is named; the roof's device has signed less than was settled, and is told to the contract.

    The producer has passed its tokens on by then, so that it owes them, and gets some back.
    """
    market, producer = node.market, actor("producer")
    first, last = (signed_evidence(text) for text in node.register_texts(ROOF, FULL, 40))
    market.send(market.grid_operator, "MeterLedger", "registerTemplates", [ROOF], [first.template_hash])
    market.send(market.regulator, "MeterLedger", "setTransformer", 2, LATHE, 250)
    balance = market.view("LowCarbonToken", "balanceOf", producer.address)
    market.send(producer, "LowCarbonToken", "transfer", market.outsider.address, balance - 5)
    texts = [(one.payload, one.spans, one.decimals, one.r, one.s) for one in (first, last)]
    market.send(market.outsider, "MeterLedger", "dispute", ROOF, FULL, *texts)
    node.settle_proven(FULL, {ROOF: 40})
    market.send(market.outsider, "LowCarbonToken", "transfer", producer.address, 11)
    market.send(market.outsider, "CarbonLedger", "collectOwed", producer.address)


def _afterwards(node: EvmGrid) -> None:
    """The substitute and its correction; part of the debt is paid, a token is retired, a device is exchanged."""
    market, bakery, producer = node.market, actor("bakery"), actor("producer")
    node.at(SUBSTITUTED + LENGTH_S + POLICY.substitute_after_s)
    node.substitute(1, SUBSTITUTED)
    node.read(1, SUBSTITUTED, {OFFICE: -90})
    node.settle(1, SUBSTITUTED, {OFFICE: -90})
    market.send(market.bank, "SettlementToken", "issue", [bakery.address], [EUR])
    market.send(bakery, "SettlementToken", "approve", market.at["EnergyTrading"], EUR)
    market.send(bakery, "EnergyTrading", "payDebt", market.supplier.address, EUR // 2)
    market.send(producer, "LowCarbonToken", "retire", 1_000, "the producer", "2023 report")
    _prove(node)
    node.exchange(LATHE)
    node.at(SUSPENDED + 4 * LENGTH_S)
    market.send(market.supplier, "EnergyTrading", "setCredit", [actor("office").address], [EUR])


def _end(node: EvmGrid) -> None:
    """Time enough for everything that was due."""
    node.at(FULL + 2 * DAY_S)
    market = node.market
    market.send(market.supplier, "EnergyTrading", "setCredit", [actor("office").address], [2 * EUR])
