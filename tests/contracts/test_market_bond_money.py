"""The bond leaves in two ways only: to the owner of an upheld claim, once, and by a withdrawal announced long before.

Prices in cents per MWh, energy in Wh, money in microcents.
"""

from dataclasses import replace

import pytest
from tests.contracts.bond_world import BOND_EUR, FEE, STAKE, BondWorld, Cleared
from tests.contracts.harness import BUY, EUR, FIRST_MTU, MTU_LENGTH_S, SELL, ZONE, Actor, AnySigned, Market, actor

from gridledger.chain.codec import ContractReverted
from gridledger.chain.plan import BondParameters
from gridledger.market.model import SignedOrder
from gridledger.market.omission import Proof

DAY_S = 86_400
DELAY_S = BondParameters().withdrawal_delay_s
GRACE_S = 7 * DAY_S


@pytest.fixture
def world(market: Market) -> BondWorld:
    return BondWorld(market)


def announce(world: BondWorld, amount_microcents: int) -> None:
    world.market.send(world.operator, "MarketBond", "announceWithdrawal", amount_microcents)


def withdraw(world: BondWorld) -> None:
    world.market.send(world.operator, "MarketBond", "withdraw")


def victims(world: BondWorld, count: int) -> list[tuple[Actor, SignedOrder]]:
    """Consumers with a bid of 500 Wh at 20,000 each."""
    meters = [world.market.consumer(f"victim {number}") for number in range(count)]
    orders = [world.market.order(meter, BUY, 500, 20_000, mtu_start=world.mtu_start) for meter in meters]
    return [(meter.owner, order) for meter, order in zip(meters, orders, strict=True)]


def omit(world: BondWorld, left_out: list[tuple[Actor, SignedOrder]]) -> Cleared:
    """A clearing at 14,000 without them; each claim is worth the fee and 3,000,000."""
    market = world.market
    seller, buyer = market.producer("seller"), market.consumer("buyer")
    book: list[AnySigned] = [
        market.order(seller, SELL, 600, 10_000, mtu_start=world.mtu_start),
        market.order(buyer, BUY, 600, 18_000, mtu_start=world.mtu_start),
    ]
    return world.cleared(book)


CLAIM = FEE + 500 * 6_000


def challenge_missing(world: BondWorld, cleared: Cleared, owner: Actor, bid: SignedOrder) -> None:
    world.challenge(owner, Proof.MISSING, world.claim(bid, cleared, receipt=world.receipt(bid)))


# --- deposit and withdrawal ---------------------------------------------------------------------------------------


def test_a_deposit_is_the_bond_and_its_depositors_receipts_count(world: BondWorld) -> None:
    assert world.bond() == (BOND_EUR * EUR, 0)
    assert world.market.view("MarketBond", "isRecognised", world.operator.address)
    world.assert_backed()


def test_a_withdrawal_waits_for_its_delay_to_the_second(world: BondWorld) -> None:
    available_at = world.market.now + DELAY_S
    announce(world, 300 * EUR)
    assert world.market.view("MarketBond", "announcedWithdrawal") == (300 * EUR, available_at)
    world.market.move_to(available_at - 1)
    with world.refuses("WithdrawalTooEarly", available_at, available_at - 1):
        withdraw(world)
    world.market.move_to(available_at)
    withdraw(world)
    assert world.bond() == (700 * EUR, 0)
    assert world.purse(world.operator) == 300 * EUR
    assert world.market.view("MarketBond", "announcedWithdrawal") == (0, 0)
    world.assert_backed()


def test_a_withdrawal_happens_once(world: BondWorld) -> None:
    announce(world, 300 * EUR)
    world.market.move_to(world.market.now + DELAY_S)
    withdraw(world)
    with world.refuses("WithdrawalNotAnnounced"):
        withdraw(world)


def test_an_announced_withdrawal_cannot_be_kept_in_hand(world: BondWorld) -> None:
    announce(world, 300 * EUR)
    lapsed_at = world.market.now + DELAY_S + GRACE_S
    world.market.move_to(lapsed_at)
    with world.refuses("WithdrawalLapsed", lapsed_at, lapsed_at):
        withdraw(world)
    world.market.move_to(lapsed_at - 1)
    withdraw(world)


def test_announcing_again_starts_the_delay_again(world: BondWorld) -> None:
    announce(world, 100 * EUR)
    first = world.market.now + DELAY_S
    world.market.move_to(first - 10)
    announce(world, 900 * EUR)
    world.market.move_to(first)
    with world.refuses("WithdrawalTooEarly", first - 10 + DELAY_S, first):
        withdraw(world)


def test_more_than_the_bond_cannot_be_withdrawn(world: BondWorld) -> None:
    announce(world, BOND_EUR * EUR + 1)
    world.market.move_to(world.market.now + DELAY_S)
    with world.refuses("BondReserved", BOND_EUR * EUR, 0, BOND_EUR * EUR + 1):
        withdraw(world)


@pytest.mark.parametrize("function", ["deposit", "announceWithdrawal"])
def test_nothing_is_no_amount(world: BondWorld, function: str) -> None:
    with world.refuses("AmountIsZero"):
        world.market.send(world.operator, "MarketBond", function, 0)


def test_a_withdrawal_leaves_what_open_challenges_may_cost(market: Market) -> None:
    """Announced long before, carried out while a challenge is open: the reserve stays."""
    available_at = market.now + DELAY_S
    world = BondWorld(market, mtu_start=(available_at // MTU_LENGTH_S + 8) * MTU_LENGTH_S)
    announce(world, BOND_EUR * EUR)
    ((owner, bid),) = victims(world, 1)
    market.move_to(available_at)
    cleared = omit(world, [(owner, bid)])
    challenge_missing(world, cleared, owner, bid)
    with world.refuses("BondReserved", BOND_EUR * EUR, CLAIM, BOND_EUR * EUR):
        withdraw(world)
    world.after_window()
    world.resolve(owner)
    assert world.purse(owner) == CLAIM + STAKE
    with world.refuses("BondReserved", BOND_EUR * EUR - CLAIM, 0, BOND_EUR * EUR):
        withdraw(world)


def test_the_delay_outlasts_every_proof_of_an_order_receipted_before_the_announcement() -> None:
    """Receipt, longest order, its MTU, challenge period, response window: then only the bond may be gone."""
    terms = BondParameters()
    last_response_s = terms.longest_order_s + 3_600 + terms.challenge_period_s + terms.response_window_s
    assert terms.withdrawal_delay_s >= last_response_s


# --- terms --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"withdrawal_delay_s": 374 * DAY_S + 899}, "withdrawal before the last proof"),
        ({"challenge_period_s": 0}, "no time to prove"),
        ({"response_window_s": 0}, "no time to prove"),
        ({"fixed_fee_microcents": 0}, "nothing to win"),
        ({"cap_microcents": FEE - 1}, "cap below fee"),
    ],
)
def test_terms_that_protect_nobody_are_refused(market: Market, change: dict[str, int], reason: str) -> None:
    addresses = [market.at[name] for name in ("GridPolicy", "ParticipantRegistry", "EnergyPricing", "EnergyTrading")]
    terms = replace(BondParameters(), **change)
    code = market.codecs["MarketBond"].creation_data(
        market.at["MarketAccessManager"], market.at["SettlementToken"], tuple(addresses), tuple(vars(terms).values())
    )
    with pytest.raises(ContractReverted) as caught:
        market._create(code)
    assert (caught.value.name, caught.value.arguments) == ("TermsRefused", (reason,))


def test_the_least_delay_that_covers_every_proof_is_accepted(market: Market) -> None:
    addresses = [market.at[name] for name in ("GridPolicy", "ParticipantRegistry", "EnergyPricing", "EnergyTrading")]
    terms = replace(BondParameters(), withdrawal_delay_s=374 * DAY_S + 900)
    assert market._create(
        market.codecs["MarketBond"].creation_data(
            market.at["MarketAccessManager"],
            market.at["SettlementToken"],
            tuple(addresses),
            tuple(vars(terms).values()),
        )
    )


def test_the_terms_are_those_of_the_plan(world: BondWorld) -> None:
    expected = BondParameters()
    assert tuple(world.terms.values()) == tuple(vars(expected).values())


# --- payment ------------------------------------------------------------------------------------------------------


def test_an_owner_is_paid_once_per_zone_and_mtu(world: BondWorld) -> None:
    ((owner, bid),) = victims(world, 1)
    second = world.market.order(world.market.register(owner), BUY, 100, 25_000)
    cleared = omit(world, [(owner, bid)])
    challenge_missing(world, cleared, owner, bid)
    with world.refuses("ChallengeExists", owner.address, ZONE, FIRST_MTU, 1):
        world.challenge(owner, Proof.MISSING, world.claim(second, cleared), stake=False)
    world.after_window()
    world.resolve(owner)
    with world.refuses("ChallengeExists", owner.address, ZONE, FIRST_MTU, 2):
        world.challenge(owner, Proof.MISSING, world.claim(bid, cleared), stake=False)
    with world.refuses("ChallengeNotOpen", owner.address, ZONE, FIRST_MTU):
        world.resolve(owner)
    assert world.bond() == (BOND_EUR * EUR - CLAIM, 0)


def test_every_owner_is_paid_for_itself(world: BondWorld) -> None:
    everybody = victims(world, 3)
    cleared = omit(world, everybody)
    before = [world.purse(owner) for owner, _ in everybody]
    for owner, bid in everybody:
        challenge_missing(world, cleared, owner, bid)
    assert world.bond() == (BOND_EUR * EUR, 3 * CLAIM)
    world.assert_backed(open_challenges=3)
    world.after_window()
    for owner, _ in everybody:
        world.resolve(owner)
    paid = [world.purse(owner) - purse for (owner, _), purse in zip(everybody, before, strict=True)]
    assert paid == [CLAIM + STAKE] * 3  # the stake was handed out by the test's bank and is back
    assert world.bond() == (BOND_EUR * EUR - 3 * CLAIM, 0)


def test_a_bond_too_small_pays_what_it_has_and_gives_the_stake_back(market: Market) -> None:
    world = BondWorld(market, bond_eur=0)
    world.deposit(CLAIM + 5)
    everybody = victims(world, 2)
    cleared = omit(world, everybody)
    for owner, bid in everybody:
        challenge_missing(world, cleared, owner, bid)
    assert world.bond() == (CLAIM + 5, 2 * CLAIM)
    world.after_window()
    events = [world.resolve(owner).one("ChallengeUpheld") for owner, _ in everybody]
    assert [(event["amountMicrocents"], event["paidMicrocents"]) for event in events] == [(CLAIM, CLAIM), (CLAIM, 5)]
    assert world.bond() == (0, 0)
    assert world.purse(everybody[1][0]) == STAKE + 5
    world.assert_backed()


def test_a_deposit_within_the_window_still_reaches_the_challengers(market: Market) -> None:
    world = BondWorld(market, bond_eur=0)
    world.deposit(1)
    ((owner, bid),) = victims(world, 1)
    cleared = omit(world, [(owner, bid)])
    challenge_missing(world, cleared, owner, bid)
    world.deposit(CLAIM)
    world.after_window()
    world.resolve(owner)
    assert world.bond() == (1, 0)


def test_without_its_stake_a_challenge_is_not_opened(world: BondWorld) -> None:
    ((owner, bid),) = victims(world, 1)
    cleared = omit(world, [(owner, bid)])
    claim = world.claim(bid, cleared, receipt=world.receipt(bid))
    with world.refuses("ERC20InsufficientAllowance", world.market.at["MarketBond"], 0, STAKE):
        world.challenge(owner, Proof.MISSING, claim, stake=False)


# --- who signs receipts -------------------------------------------------------------------------------------------


def hand_over(market: Market, successor: Actor) -> None:
    """The admin gives the market operator's role to a new key and takes it from the old one."""
    manager = market.at["MarketAccessManager"]
    codec = market.codecs["MarketAccessManager"]
    calls = [
        codec.call_data("grantRole", 3, successor.address, 0),
        codec.call_data("revokeRole", 3, market.market_operator.address),
    ]
    for data in calls:
        market.send(market.regulator, "MarketAccessManager", "schedule", manager, data, 0)
    market.move_to(market.now + DAY_S)
    for data in calls:
        market.transact(market.regulator.address, manager, data)


def test_receipts_count_after_their_signer_has_lost_its_role(world: BondWorld) -> None:
    market = world.market
    ((owner, bid),) = victims(world, 1)
    claim = world.claim(bid, receipt=world.receipt(bid))
    hand_over(market, actor("successor"))
    assert world.upheld(owner, Proof.NO_CLEARING, claim) == FEE


def test_a_new_operators_receipts_count_as_soon_as_anybody_says_so(world: BondWorld) -> None:
    market, successor = world.market, actor("successor")
    ((owner, bid),) = victims(world, 1)
    claim = world.claim(bid, receipt=world.receipt(bid, signer=successor))
    hand_over(market, successor)
    with world.refuses("NotAnOperator", successor.address):
        world.challenge(owner, Proof.NO_CLEARING, claim, stake=False)
    market.send(market.outsider, "MarketBond", "recognise", successor.address)
    market.send(market.outsider, "MarketBond", "recognise", successor.address)
    assert world.upheld(owner, Proof.NO_CLEARING, claim) == FEE


@pytest.mark.parametrize("name", ["outsider", "regulator", "relayer", "bank"])
def test_nobody_else_is_recognised(world: BondWorld, name: str) -> None:
    somebody: Actor = getattr(world.market, name)
    with world.refuses("NotAnOperator", somebody.address):
        world.market.send(somebody, "MarketBond", "recognise", somebody.address)
