"""Which listed orders the bond is asked to record as unable to trade, so that leaving them out is no omission.

The contract goes through an owner's orders in the order of the book and judges by its own state; see IMarketBond.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from gridledger.market.model import BookEntry, Recording, SignedAcceptance

__all__ = ["MOST_LINES_READ", "needs_record", "records_to_ask"]

Owners = tuple[tuple[BookEntry, ...], ...]

# Each presented order is looked for in the whole book; so many lines read stay under a 2^24 gas transaction.
MOST_LINES_READ = 40_000


def needs_record(entry: BookEntry) -> bool:
    """Whether the contract does not know yet that the order cannot trade, and records reasons of that kind."""
    return entry.ineligible is not None and entry.ineligible.is_recorded and entry.recording is Recording.NONE


def records_to_ask(book: Sequence[BookEntry]) -> tuple[Owners, ...]:
    """The owners to present, each with all its lines that stand, in portions that fit into a transaction each.

    Owners of accepted offers come before those who accepted them, for an acceptance falls with its offer.
    """
    standing = {entry.uid: entry for entry in book if entry.ineligible is None or entry.ineligible.is_recorded}
    lines: defaultdict[str, list[BookEntry]] = defaultdict(list)
    for entry in standing.values():
        if not isinstance(entry.signed, SignedAcceptance) or entry.signed.acceptance.offer_uid in standing:
            lines[entry.owner].append(entry)
    owners = [tuple(listed) for listed in lines.values() if any(needs_record(entry) for entry in listed)]
    owners.sort(key=lambda listed: any(not entry.is_order for entry in listed))
    return tuple(_portions(owners, max(1, MOST_LINES_READ // max(1, len(book)))))


def _portions(owners: Sequence[tuple[BookEntry, ...]], most_orders: int) -> Iterator[Owners]:
    portion: list[tuple[BookEntry, ...]] = []
    for listed in owners:
        if portion and sum(map(len, portion)) + len(listed) > most_orders:
            yield tuple(portion)
            portion = []
        portion.append(listed)
    if portion:
        yield tuple(portion)
