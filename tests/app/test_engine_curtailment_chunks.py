"""Caps on clearings of several chunks, of deals and of members with several orders: node and contract agree on all."""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import pytest
from eth_account.signers.local import LocalAccount
from tests.api.running import (
    BUYER,
    EUR,
    MTU_START,
    NEIGHBOUR,
    OUTSIDER,
    SELLER,
    ZONE,
    Onboarded,
    RunningNode,
    admit,
    key,
)
from tests.app.curtailing import EVERYBODY, GATE, MTU_END, frees, require_same_as_chain

from gridledger.dispatch.setpoints import Direction
from gridledger.market import service
from gridledger.market.chunks import propose_chunks
from gridledger.market.model import Side
from gridledger.store.database import Database

FIFTH = key("a fifth member")
MEMBERS = (SELLER, BUYER, NEIGHBOUR, OUTSIDER, FIFTH)
OWNERS = dict(enumerate(MEMBERS, start=1))
OPERATOR = key("grid_operator")
MONEY = (*EVERYBODY, NEIGHBOUR, OUTSIDER, FIFTH)


@pytest.fixture
def market(tmp_path: Path, onboarded: Onboarded) -> Iterator[RunningNode]:
    """Five members: meters 1 and 3 are solar, 5 is anything else; all may sell and buy."""
    with onboarded.served(tmp_path / "data") as running:
        admit(running, ((NEIGHBOUR, 1), (OUTSIDER, 0), (FIFTH, 0)))
        for account in (NEIGHBOUR, OUTSIDER, FIFTH):
            running.fund(account, 10 * EUR)
        running.fund(OPERATOR, EUR)
        running.work()
        yield running


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """No chunk may have more than two orders."""
    monkeypatch.setattr(service, "propose_chunks", partial(propose_chunks, most_orders=2))


def place(market: RunningNode, meter: int, energy_wh: int, limit: int) -> str:
    """An order of a meter's owner: to sell, or to buy if the energy is negative; returns its uid."""
    owner: LocalAccount = OWNERS[meter]
    side = Side.SELL if energy_wh > 0 else Side.BUY
    order = market.order(side, owner=owner.address, meter=meter, quantity_wh=abs(energy_wh), limit_cents_per_mwh=limit)
    uid: str = market.accept(order, signer=owner)["uid"]
    return uid


def place_all(market: RunningNode, net_wh: Mapping[int, int], ends: tuple[int, int]) -> None:
    """The ends set the price of 15,000; all others are well inside."""
    for meter, energy_wh in net_wh.items():
        inside, end = (9_000, 10_000) if energy_wh > 0 else (25_000, 20_000)
        place(market, meter, energy_wh, end if meter in ends else inside)


def deliver(market: RunningNode, net_wh: Mapping[int, int]) -> None:
    """Readings of all five meters, and everything settled; later members' devices are the first ones' again."""
    market.advance(MTU_END)
    texts = [market.reading(meter, net_wh.get(meter, 0), signer=meter if meter < 3 else meter - 2) for meter in OWNERS]
    results = market.post("/v1/readings", {"readings": texts}).json()["results"]
    assert results == [{"status": "accepted"}] * len(OWNERS)
    market.work()
    assert market.mtu()["phase"] == "settled"
    assert market.view("EnergyTrading", "escrowMicrocents") == (0,)


def left_wh(market: RunningNode) -> dict[int, list[int]]:
    """What each meter's positions have left, chunk by chunk."""
    database = Database(market.folder.database)
    with database.read() as tx:
        kept = tx.mtus.positions(ZONE, MTU_START)
    database.close()
    found: dict[int, list[int]] = {}
    for one in kept:
        found.setdefault(one.position.meter, []).append(one.position.quantity_wh)
    return found


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize(
    ("sells", "direction", "caps_wh", "left"),
    [
        (True, Direction.EXPORT, {1: 700}, {1: [600, 100], 2: [600], 4: [100]}),
        (True, Direction.EXPORT, {1: 500}, {1: [500, 0], 2: [500], 4: [0]}),
        (True, Direction.EXPORT, {1: 500, 3: 300}, {1: [500, 0], 2: [500], 4: [0], 3: [300], 5: [300]}),
        (True, Direction.IMPORT, {4: 0}, {1: [600, 0], 4: [0]}),
        (False, Direction.IMPORT, {2: 700}, {2: [600, 100], 3: [100]}),
        (False, Direction.IMPORT, {2: 500}, {2: [500, 0], 1: [500], 3: [0]}),
        (False, Direction.EXPORT, {3: 0}, {2: [600, 0], 3: [0]}),
        (False, Direction.EXPORT, {1: 540, 3: 360, 5: 0}, {2: [540, 360], 1: [540], 3: [360], 4: [0], 5: [0]}),
    ],
)
def test_a_meter_that_goes_on_in_a_later_chunk_is_capped_over_all_of_them(
    market: RunningNode,
    sells: bool,
    direction: Direction,
    caps_wh: Mapping[int, int],
    left: Mapping[int, list[int]],
) -> None:
    """Either meter 1 sells to 2 and 4, and 3 to 5; or meter 2 buys from 1 and 3, and 4 from 5."""
    net_wh = {1: 1_000, 2: -600, 4: -400, 3: 600, 5: -600} if sells else {1: 600, 2: -1_000, 3: 400, 4: -600, 5: 600}
    before = frees(market, *MONEY)
    place_all(market, net_wh, (3, 5) if sells else (4, 5))
    market.advance(GATE)
    (cleared,) = market.view("EnergyTrading", "clearingOf", ZONE, MTU_START)
    assert (cleared["chunkCount"], cleared["anyPrice"], market.mtu()["traded_wh"]) == (3, 15_000, 1_600)
    market.curtail(caps_wh, direction=direction)
    market.advance(MTU_END)
    assert market.view("EnergyCurtailment", "appliedChunksOf", ZONE, MTU_START) == (3,)
    require_same_as_chain(market, MTU_START, *MONEY)
    found = left_wh(market)
    assert len(found[1 if sells else 2]) == 2
    assert {meter: found[meter] for meter in left} == left
    assert all(sum(found[meter]) == abs(net_wh[meter]) for meter in net_wh.keys() - left.keys())

    deliver(market, {meter: sum(found[meter]) * (1 if net_wh[meter] > 0 else -1) for meter in net_wh})
    require_same_as_chain(market, MTU_START, *MONEY)
    assert sum(frees(market, *MONEY)) == sum(before)
    sold = {meter for meter, energy_wh in net_wh.items() if energy_wh > 0 and meter != 5}
    minted = market.get("/v1/market/summary")["tokens_minted_ugco2"]
    assert minted == sum(sum(found[meter]) for meter in sold) * (363_000 - 41_000)


@pytest.mark.parametrize(("cap_wh", "deal_wh", "auction_wh"), [(550, 100, 450), (100, 100, 0), (60, 60, 0), (0, 0, 0)])
def test_a_deal_keeps_its_price_and_goes_before_the_auction(
    market: RunningNode, cap_wh: int, deal_wh: int, auction_wh: int
) -> None:
    """100 Wh dealt at 9,000 and 500 Wh at the auction's 20,000 to another member."""
    before = frees(market, *MONEY)
    offer = place(market, 1, 600, 9_000)
    market.deal(offer)
    place(market, 4, -500, 25_000)
    place(market, 5, -500, 20_000)
    market.advance(GATE)
    price = market.mtu()["price_cents_per_mwh"]
    market.curtail({1: cap_wh})
    deliver(market, {1: cap_wh, 2: -deal_wh, 4: -auction_wh})
    require_same_as_chain(market, MTU_START, *MONEY)
    assert market.free(SELLER) - before[0] == deal_wh * 9_000 + auction_wh * price
    made_whole = (100 - deal_wh) * (32_500 - 9_000)
    assert market.free(BUYER) - before[1] == made_whole - deal_wh * (9_000 + 1_000)
    assert sum(frees(market, *MONEY)) == sum(before)


def test_several_orders_of_a_meter_are_each_told_of_its_curtailment(market: RunningNode) -> None:
    uids = {place(market, 1, energy_wh, 9_000) for energy_wh in (200, 400)}
    place(market, 2, -600, 25_000)
    market.advance(GATE)
    market.curtail({1: 250})
    market.advance(MTU_END)
    notices = market.http.get("/v1/notices", headers=market.sign_in(SELLER)).json()["notices"]
    told = {one["order_uid"]: one["details"] for one in notices if one["kind"] == "curtailed"}
    assert told.keys() == uids
    assert {one["curtailed_wh"] for one in told.values()} == {350}
    assert {one["energy_wh"] for one in told.values()} == {200, 400}
