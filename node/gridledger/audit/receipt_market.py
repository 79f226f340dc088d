"""Checks the market's links of a trade receipt: signed orders, book, clearing and trades."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from gridledger.audit.hashing import keccak256
from gridledger.audit.presented import ClearingCall, PresentedWords, clearing_call
from gridledger.audit.receipt_links import LinkReport, Links, MinedCall, ReceiptChain, event_at
from gridledger.audit.trade_receipt import Chunk, FilledOrder, Side, TradeEntry, TradeReceipt
from gridledger.market.model import Acceptance, Order, Receipt
from gridledger.market.order_hash import OrderDomain, acceptance_uid, order_uid, recover_address
from gridledger.market.receipts import receipt_digest

__all__ = ["MarketLinks"]

_RUNNING_NUMBER_BYTES = 8
_NO_CALL = "no call of EnergyTrading.clear for this zone and MTU"


@dataclass(frozen=True)
class _Line:
    """A line of the committed book as the clearing presented it."""

    running_number: int
    uid: str


class MarketLinks:
    """The market's links of one receipt."""

    def __init__(self, receipt: TradeReceipt, chain: ReceiptChain, links: Links) -> None:
        self._receipt = receipt
        self._chain = chain
        self._links = links
        facts = receipt.chain
        self._domain = OrderDomain(chain_id=facts.chain_id, trading_contract=facts.contracts["EnergyTrading"])

    def check_book(self) -> None:
        """The list presented to the clearing is the one committed."""
        book = self._receipt.book
        report = self._links.begin("book", open_because=book.why if book.recorded is None else None)
        if book.recorded is None:
            return
        found = event_at(report, self._chain, book.recorded, "EnergyTrading", "BookCommitted")
        if found is not None:
            report.compare_values(
                dict(found[1].arguments), {**self._slot, "bookHash": book.book_hash, "orderCount": book.order_count}
            )
        if self._lines:
            listed = b"".join(
                line.running_number.to_bytes(_RUNNING_NUMBER_BYTES) + bytes.fromhex(line.uid[2:])
                for line in self._lines
            )
            report.compare("hash of the list the clearing presented", "0x" + keccak256(listed).hex(), book.book_hash)

    def check_clearing(self) -> None:
        """Each chunk is on chain as stated, and the last one is the last."""
        clearing = self._receipt.clearing
        if not clearing.chunks:
            self._links.begin("clearing", open_because=clearing.why)
        for place, chunk in enumerate(clearing.chunks):
            report = self._links.begin(f"clearing, chunk {chunk.chunk}")
            report.compare("number of the chunk", place, chunk.chunk)
            found = event_at(report, self._chain, chunk.recorded, "EnergyTrading", "MarketCleared")
            if found is None:
                continue
            stated = {
                **self._slot,
                "chunk": chunk.chunk,
                "last": chunk.last,
                "anyPrice": chunk.any_price_cents_per_mwh,
                "lowCarbonPrice": chunk.low_carbon_price_cents_per_mwh,
                "tradedWh": chunk.traded_wh,
            }
            report.compare_values({name: found[1].arguments[name] for name in stated}, stated)

    def check_trade(self, trade: TradeEntry) -> None:
        """The event log has the trade in its place, in the transaction of its chunk, at the chunk's price."""
        why = None if trade.recorded is not None else "the chunk is not on chain yet"
        report = self._links.begin(f"trade {trade.chunk}-{trade.place}", open_because=why)
        meters = {side.meter for side in self._receipt.sides}
        report.compare("sides of the trade", expected=True, found={trade.seller, trade.buyer} <= meters)
        is_own = self._receipt.meter in (trade.seller, trade.buyer)
        report.compare("a trade of the receipt's meter", expected=True, found=is_own)
        chunk = next((one for one in self._receipt.clearing.chunks if one.chunk == trade.chunk), None)
        if trade.recorded is None:
            return
        found = event_at(report, self._chain, trade.recorded, "EnergyTrading", "EnergyTraded")
        if found is None or chunk is None:
            report.compare("chunk of the trade", expected=True, found=chunk is not None)
            return
        mined, event = found
        stated = {"sellMeter": trade.seller, "buyMeter": trade.buyer, "energyWh": trade.energy_wh}
        report.compare_values(dict(event.arguments), stated)
        report.compare("transaction of the chunk", chunk.recorded.transaction_hash, mined.transaction_hash)
        traded = [one.log_index for one in mined.events if one.name == "EnergyTraded"]
        report.compare("place among the trades", traded.index(event.log_index), trade.place)
        self._check_price(report, trade, chunk, mined)

    def check_orders(self, side: Side) -> None:
        """Each order is signed by its owner, receipted by the operator, in its place in the book and filled as said."""
        for order in side.orders.orders:
            report = self._links.begin(f"order {order.uid} of meter {side.meter}")
            self._check_place(report, order)
            if order.order is not None or order.acceptance is not None:
                self._check_signed(report, side, order)

    def _check_place(self, report: LinkReport, order: FilledOrder) -> None:
        if not self._lines:
            report.why = "no clearing that presents the book is on chain yet"
            return
        line = self._lines[order.book_position] if 0 <= order.book_position < len(self._lines) else None
        found = _Line(order.running_number, order.uid)
        report.compare(f"line {order.book_position} of the book", line, found)
        filled_wh = sum(words.fill_wh for call in self._calls for words in call.orders if self._uid(words) == order.uid)
        report.compare("filled_wh", filled_wh, order.filled_wh)

    def _check_signed(self, report: LinkReport, side: Side, order: FilledOrder) -> None:
        signed = order.order if order.order is not None else order.acceptance
        assert signed is not None
        uid = order_uid(self._domain, signed) if isinstance(signed, Order) else acceptance_uid(self._domain, signed)
        report.compare("uid of what was signed", uid, order.uid)
        report.compare("owner and meter", (side.owner, side.meter), (signed.owner, signed.meter))
        report.compare("orders signed in one", 1, sum(one is not None for one in (order.order, order.acceptance)))
        report.compare("covers the MTU", expected=True, found=self._covers(signed))
        signature = bytes.fromhex((order.signature or "")[2:])
        signer = recover_address(bytes.fromhex(order.uid[2:]), signature)
        report.compare("signer of the order", side.owner.lower(), signer)
        if order.receipt is None:
            report.compare("receipt", "the operator's", None)
        else:
            self._check_receipt(report, order, order.receipt)

    def _check_receipt(self, report: LinkReport, order: FilledOrder, receipt: Receipt) -> None:
        report.compare("uid of the receipt", order.uid, receipt.order_uid)
        report.compare("running number of the receipt", order.running_number, receipt.running_number)
        digest = receipt_digest(
            self._domain, receipt.order_uid, receipt.running_number, receipt.received_at, receipt.block_hash
        )
        signer = recover_address(digest, bytes.fromhex(receipt.signature[2:]))
        if not self._chain.is_market_operator(signer):
            report.compare("signer of the receipt", "the market operator", signer)
        report.compare("block of the receipt", expected=True, found=self._chain.has_block(receipt.block_hash))

    def _covers(self, signed: Order | Acceptance) -> bool:
        if isinstance(signed, Acceptance):
            return signed.mtu_start == self._receipt.mtu_start
        return signed.first_mtu_start <= self._receipt.mtu_start <= signed.last_mtu_start

    def _check_price(self, report: LinkReport, trade: TradeEntry, chunk: Chunk, mined: MinedCall) -> None:
        """A deal has its offer's limit, an auction trade the price of its seller's source."""
        call = self._clearing_call(mined)
        if call is None:
            report.compare("call of the transaction", "EnergyTrading.clear", _NO_CALL)
            return
        is_deal = trade.place < len(call.accepted_offers)
        report.compare("kind", "deal" if is_deal else "auction", trade.kind)
        if is_deal:
            offer = call.orders[call.accepted_offers[trade.place]]
            price = offer.order(self._owner(offer)).limit_cents_per_mwh
        elif self._chain.meter(trade.seller)[1]:
            price = chunk.low_carbon_price_cents_per_mwh
        else:
            price = chunk.any_price_cents_per_mwh
        report.compare("price_cents_per_mwh", price, trade.price_cents_per_mwh)

    @cached_property
    def _calls(self) -> Sequence[ClearingCall]:
        """What the clearing's transactions presented."""
        mined = [self._chain.mined(chunk.recorded.transaction_hash) for chunk in self._receipt.clearing.chunks]
        calls = [self._clearing_call(one) for one in mined if one is not None]
        return [call for call in calls if call is not None]

    @cached_property
    def _lines(self) -> Sequence[_Line]:
        """The book as the first chunk presented it; empty without one."""
        if not self._calls:
            return ()
        call = self._calls[0]
        presented = {words.book_index: self._uid(words) for words in call.presented}
        others = iter(call.other_uids)
        numbers = call.book_numbers
        lines = []
        for place in range(len(numbers) // _RUNNING_NUMBER_BYTES):
            number = int.from_bytes(numbers[place * _RUNNING_NUMBER_BYTES : (place + 1) * _RUNNING_NUMBER_BYTES])
            uid = presented[place] if place in presented else "0x" + next(others, b"").hex()
            lines.append(_Line(number, uid))
        return lines

    def _clearing_call(self, mined: MinedCall) -> ClearingCall | None:
        if (mined.contract, mined.function) != ("EnergyTrading", "clear"):
            return None
        call = clearing_call(mined.arguments)
        return call if (call.zone, call.mtu_start) == (self._receipt.zone, self._receipt.mtu_start) else None

    def _uid(self, words: PresentedWords) -> str:
        return words.uid(self._domain, self._owner(words))

    def _owner(self, words: PresentedWords) -> str:
        return self._chain.meter(words.meter)[0]

    @property
    def _slot(self) -> dict[str, object]:
        return {"zone": self._receipt.zone, "mtuStart": self._receipt.mtu_start}
