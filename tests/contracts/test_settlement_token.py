"""The bank alone issues settlement tokens; a holder redeems only its own."""

from tests.contracts.harness import EUR, Market, actor


def test_the_bank_issues_to_many_at_once(market: Market) -> None:
    first, second = actor("first"), actor("second")
    market.send(market.bank, "SettlementToken", "issue", [first.address, second.address], [EUR, 2])
    assert market.view("SettlementToken", "balanceOf", first.address) == EUR
    assert market.view("SettlementToken", "totalSupply") == EUR + 2
    assert market.view("SettlementToken", "decimals") == 8
    with market.refuses("LengthsDiffer", 1, 2):
        market.send(market.bank, "SettlementToken", "issue", [first.address], [1, 2])


def test_a_holder_redeems_what_it_holds(market: Market) -> None:
    holder = actor("holder")
    market.send(market.bank, "SettlementToken", "issue", [holder.address], [EUR])
    receipt = market.send(holder, "SettlementToken", "redeem", EUR - 1)
    assert receipt.one("Redeemed") == {"holder": holder.address, "amountMicrocents": EUR - 1}
    with market.refuses("ERC20InsufficientBalance", holder.address, 1, 2):
        market.send(holder, "SettlementToken", "redeem", 2)
    assert market.view("SettlementToken", "totalSupply") == 1


def test_a_permit_is_good_once(market: Market) -> None:
    holder = actor("holder")
    signature = market.permit(holder, EUR, market.now)
    arguments = (holder.address, market.at["EnergyTrading"], EUR, market.now, *signature)
    market.send(market.outsider, "SettlementToken", "permit", *arguments)
    assert market.view("SettlementToken", "allowance", holder.address, market.at["EnergyTrading"]) == EUR
    with market.refuses("ERC2612InvalidSigner"):
        market.send(market.outsider, "SettlementToken", "permit", *arguments)


def test_a_permit_is_good_for_its_amount_its_spender_and_its_time(market: Market) -> None:
    holder, trading = actor("holder"), market.at["EnergyTrading"]
    deadline = market.now
    signature = market.permit(holder, EUR, deadline)
    permit = (market.outsider, "SettlementToken", "permit")
    for changed in (
        (trading, EUR + 1, deadline),
        (market.outsider.address, EUR, deadline),
        (trading, EUR, deadline + 1),
    ):
        with market.refuses("ERC2612InvalidSigner"):
            market.send(*permit, holder.address, *changed, *signature)
    market.move_to(deadline + 1)
    with market.refuses("ERC2612ExpiredSignature", deadline):
        market.send(*permit, holder.address, trading, EUR, deadline, *signature)
    assert market.view("SettlementToken", "allowance", holder.address, trading) == 0
