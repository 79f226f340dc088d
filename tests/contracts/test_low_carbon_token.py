"""Low-carbon tokens come from settled energy, are used up by retiring, and are taken back only by invalidating."""

import pytest
from tests.contracts.harness import Actor, Market, Pair, actor


@pytest.fixture
def holder(market: Market) -> Actor:
    """A seller with 96.6 g avoided."""
    pair = Pair.of(market)
    market.settle(pair.delivered(market), {0: 600, 1: -600})
    return pair.seller.owner


def test_a_unit_is_a_microgram(market: Market) -> None:
    assert market.view("LowCarbonToken", "decimals") == 9


def test_retiring_uses_up_own_tokens_for_a_named_beneficiary(market: Market, holder: Actor) -> None:
    receipt = market.send(holder, "LowCarbonToken", "retire", 96_000_000, "Bakery", "2024 statement")
    assert receipt.one("Retired") == {
        "holder": holder.address,
        "amountUgco2": 96_000_000,
        "beneficiary": "Bakery",
        "purpose": "2024 statement",
    }
    assert not receipt.named("Invalidated")
    assert market.tokens(holder) == 600_000
    assert market.view("LowCarbonToken", "totalSupply") == 2 * 96_600_000 - 96_000_000


def test_retiring_nothing_for_nobody_or_more_than_held_is_refused(market: Market, holder: Actor) -> None:
    with market.refuses("NothingToRetire"):
        market.send(holder, "LowCarbonToken", "retire", 0, "Bakery", "")
    with market.refuses("BeneficiaryMissing"):
        market.send(holder, "LowCarbonToken", "retire", 1, "", "2024")
    with market.refuses("ERC20InsufficientBalance", holder.address, 96_600_000, 96_600_001):
        market.send(holder, "LowCarbonToken", "retire", 96_600_001, "Bakery", "")


def test_tokens_can_be_passed_on_and_retired_by_the_next_holder(market: Market, holder: Actor) -> None:
    market.send(holder, "LowCarbonToken", "transfer", market.outsider.address, 5)
    market.send(market.outsider, "LowCarbonToken", "retire", 5, "Bakery", "")
    assert market.tokens(market.outsider) == 0


def test_invalidating_is_another_event_than_retiring(market: Market, holder: Actor) -> None:
    ledger = market.impersonate("CarbonLedger")
    receipt = market.send(ledger, "LowCarbonToken", "invalidate", holder.address, 600_000, "corrected reading")
    assert receipt.one("Invalidated")["reason"] == "corrected reading"
    assert not receipt.named("Retired")
    assert market.tokens(holder) == 96_000_000


def test_a_mint_has_as_many_amounts_as_holders_and_passes_over_nothing(market: Market) -> None:
    ledger = market.impersonate("CarbonLedger")
    first, second, nobody = actor("first").address, actor("second").address, "0x" + "00" * 20
    receipt = market.send(ledger, "LowCarbonToken", "mint", [first, nobody, second, first], [3, 0, 5, 4])
    minted = [(event.arguments["to"], event.arguments["value"]) for event in receipt.named("Transfer")]
    assert minted == [(first, 3), (second, 5), (first, 4)]
    assert market.view("LowCarbonToken", "totalSupply") == 12
    for holders, amounts in (([first], []), ([first], [1, 2]), ([], [1])):
        with market.refuses("ListsDiffer", len(holders), len(amounts)):
            market.send(ledger, "LowCarbonToken", "mint", holders, amounts)


def test_more_than_held_cannot_be_invalidated(market: Market, holder: Actor) -> None:
    ledger = market.impersonate("CarbonLedger")
    with market.refuses("ERC20InsufficientBalance", holder.address, 96_600_000, 96_600_001):
        market.send(ledger, "LowCarbonToken", "invalidate", holder.address, 96_600_001, "all of it")
