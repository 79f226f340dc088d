"""Checks a trade receipt, link by link, against the chain alone: nothing that the node says is taken for true."""

from collections.abc import Callable, Mapping
from functools import partial

from gridledger.audit.hashing import keccak256
from gridledger.audit.receipt_answers import AnswerLinks
from gridledger.audit.receipt_caps import CapsLinks
from gridledger.audit.receipt_links import Links, ReceiptChain
from gridledger.audit.receipt_market import MarketLinks
from gridledger.audit.receipt_outcome import OutcomeLinks
from gridledger.audit.trade_receipt import TradeReceipt
from gridledger.errors import GridLedgerError, Unavailable

__all__ = ["check_receipt"]


def check_receipt(receipt: TradeReceipt, chain: ReceiptChain, code: Mapping[str, bytes]) -> Links:
    """A verdict for each link. `code` is what the contracts' sources compile to, constants left out.

    On another chain or with other contracts nothing else is checked. Raises only errors of the endpoint (Unavailable).
    """
    links = Links()
    _check_chain(receipt, chain, code, links)
    if not links.hold:
        return links
    market, outcome = MarketLinks(receipt, chain, links), OutcomeLinks(receipt, chain, links)
    steps: list[Callable[[], None]] = [market.check_book, market.check_clearing]
    steps += [partial(market.check_trade, trade) for trade in receipt.trades]
    steps += [partial(market.check_orders, side) for side in receipt.sides]
    caps = CapsLinks(receipt, chain, links)
    steps += [outcome.check_schedule, AnswerLinks(receipt, chain, links).check_answers, caps.check_chunks]
    steps += [partial(caps.check_trade, trade) for trade in receipt.trades]
    steps += [partial(outcome.check_side, side) for side in receipt.sides]
    for step in steps:
        _guarded(links, step)
    return links


def _check_chain(receipt: TradeReceipt, chain: ReceiptChain, code: Mapping[str, bytes], links: Links) -> None:
    facts = receipt.chain
    report = links.begin("chain")
    report.compare("chain_id", chain.chain_id(), facts.chain_id)
    report.compare("genesis_hash", chain.genesis_hash(), facts.genesis_hash)
    report.compare("contracts", sorted(code), sorted(facts.contracts))
    if report.problems:
        return
    report = links.begin("contracts")
    for contract, expected in code.items():
        found = chain.code(contract)
        report.compare(f"code of {contract}", keccak256(expected).hex(), keccak256(found).hex())


def _guarded(links: Links, step: Callable[[], None]) -> None:
    """Whatever a receipt says that cannot even be read fails the link it is part of."""
    try:
        step()
    except Unavailable:
        raise
    except (GridLedgerError, ValueError, TypeError, LookupError, OverflowError) as error:
        links.reports[-1].compare("form", "values that can be read", f"{type(error).__name__}: {error}")
