"""A valid clearing with one thing changed is refused with its own error, naming the values, and changes nothing.

The scene is scenes.MergedScene; prices in cents per MWh, energy in Wh.
"""

from copy import deepcopy

import pytest
from tests.contracts.harness import FIRST_MTU, MTU_LENGTH_S, ZONE, ClearingData, Market, with_terms
from tests.contracts.scenes import MergedScene, Spoils

from gridledger.chain.codec import keccak256
from gridledger.market.order_hash import acceptance_uid, order_uid, recover_address
from gridledger.market.packing import acceptance_from_words, is_acceptance, order_from_words, terms_meter

Expected = tuple[object, ...]
bad = Spoils()
LOW_255_BITS = (1 << 255) - 1
SECP256K1_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


@pytest.mark.parametrize("name", bad)
def test_refused_is(market: Market, name: str) -> None:
    scene = MergedScene.of(market)
    scene.commit(market)
    clearing = scene.clearing(market)
    error, *values = bad[name](scene, clearing, market)
    with market.refuses(str(error), *values):
        market.clear(clearing)


def test_the_unspoiled_clearing_is_the_node_s_and_is_accepted(market: Market) -> None:
    scene = MergedScene.of(market)
    kept = scene.kept(market)
    assert scene.clearing(market) == market.clearing(scene.book, setpoints_root=bytes(32))
    assert kept.position_of(scene.meters["roof"]).dealt_wh == 150


# --- the clearing as a whole ------------------------------------------------------------------------------------------


@bad
def a_halted_zone(scene: MergedScene, clearing: ClearingData, market: Market) -> Expected:
    market.send(market.regulator, "GridPolicy", "setHalted", ZONE, True)
    return "ZoneHalted", ZONE


@bad
def a_halted_market(scene: MergedScene, clearing: ClearingData, market: Market) -> Expected:
    market.send(market.regulator, "GridPolicy", "setHalted", 0, True)
    return "ZoneHalted", ZONE


@bad
def a_zone_without_a_book(scene: MergedScene, clearing: ClearingData, market: Market) -> Expected:
    clearing["zone"] = ZONE + 1
    return "BookMissing", ZONE + 1, FIRST_MTU


@bad
def an_mtu_without_a_book(scene: MergedScene, clearing: ClearingData, market: Market) -> Expected:
    clearing["mtuStart"] = FIRST_MTU + MTU_LENGTH_S
    return "BookMissing", ZONE, FIRST_MTU + MTU_LENGTH_S


@bad
def a_second_clearing(scene: MergedScene, clearing: ClearingData, market: Market) -> Expected:
    market.clear(clearing)
    return "AlreadyCleared", ZONE, FIRST_MTU


@bad
def a_first_chunk_that_is_not_number_0(scene: MergedScene, clearing: ClearingData, market: Market) -> Expected:
    clearing["chunk"] = 1
    return "ChunkOutOfSequence", 0, 1


@bad
def a_clearing_one_second_too_late(scene: MergedScene, clearing: ClearingData, market: Market) -> Expected:
    market.move_to(FIRST_MTU - 179)
    return "ClearingTooLate", FIRST_MTU, FIRST_MTU - 180, FIRST_MTU - 179


# --- the book ---------------------------------------------------------------------------------------------------------


@bad
def a_book_one_byte_short(scene: MergedScene, clearing: ClearingData, market: Market) -> Expected:
    clearing["bookNumbers"] = clearing["bookNumbers"][:-1]
    return "BookMalformed", 71, 2


@bad
def a_book_without_its_last_number(scene: MergedScene, clearing: ClearingData, market: Market) -> Expected:
    clearing["bookNumbers"] = clearing["bookNumbers"][:-8]
    return "BookMalformed", 64, 2


@bad
def a_book_with_an_unpresented_order_left_out(scene: MergedScene, clearing: ClearingData, market: Market) -> Expected:
    clearing["otherUids"].pop()
    return "BookMalformed", 72, 1


@bad
def a_book_with_an_order_added(scene: MergedScene, clearing: ClearingData, market: Market) -> Expected:
    clearing["otherUids"].append(bytes(32))
    return "BookMalformed", 72, 3


@bad
def a_book_with_another_running_number(scene: MergedScene, clearing: ClearingData, market: Market) -> Expected:
    numbers = clearing["bookNumbers"]
    clearing["bookNumbers"] = numbers[:15] + bytes([numbers[15] ^ 1]) + numbers[16:]
    return "BookMismatch", *book_hashes(scene, market, clearing["bookNumbers"])


@bad
def a_book_with_two_unpresented_orders_swapped(scene: MergedScene, clearing: ClearingData, market: Market) -> Expected:
    clearing["otherUids"].reverse()
    line_up = ["large", "dear", "solar", "roof", "low", "gas", "guest", "green", "large too"]
    return "BookMismatch", *book_hashes(scene, market, clearing["bookNumbers"], line_up)


@bad
def a_book_with_two_presented_orders_swapped(scene: MergedScene, clearing: ClearingData, market: Market) -> Expected:
    place, other = scene.place("solar"), scene.place("gas")
    scene_at = scene.at(clearing, "solar"), scene.at(clearing, "gas")
    for index, book_index in zip(scene_at, (other, place), strict=True):
        order = clearing["orders"][index]
        order["terms"] = with_terms(order["terms"], book_index=book_index)
    line_up = ["large", "low", "gas", "roof", "dear", "solar", "guest", "green", "large too"]
    return "BookMismatch", *book_hashes(scene, market, clearing["bookNumbers"], line_up)


def book_hashes(
    scene: MergedScene, market: Market, numbers: bytes, line_up: list[str] | None = None
) -> tuple[bytes, bytes]:
    """The committed hash and that of other lines."""
    committed = market.view("EnergyTrading", "clearingOf", ZONE, FIRST_MTU)["bookHash"]
    lines = enumerate(line_up or scene.line_up)
    presented = b"".join(numbers[8 * at : 8 * at + 8] + scene.uid(name) for at, name in lines)
    return committed, keccak256(presented)


@bad
def an_order_beyond_the_end_of_the_book(scene: MergedScene, clearing: ClearingData, market: Market) -> Expected:
    scene.set_terms(clearing, "solar", book_index=9)
    return "OrderNotListed", scene.uid("solar"), 9


@bad
def an_order_at_another_one_s_place(scene: MergedScene, clearing: ClearingData, market: Market) -> Expected:
    scene.set_terms(clearing, "gas", book_index=scene.place("solar"))
    return "OrderPresentedTwice", scene.uid("gas")


# --- the orders -------------------------------------------------------------------------------------------------------


@bad
def a_list_of_orders_not_by_meter(scene: MergedScene, clearing: ClearingData, market: Market) -> Expected:
    orders = clearing["orders"]
    orders[0], orders[1] = orders[1], orders[0]
    return "OrdersNotAscending", 1


@bad
def a_list_with_one_meter_s_orders_not_by_place(scene: MergedScene, clearing: ClearingData, market: Market) -> Expected:
    orders = clearing["orders"]
    first = min(scene.at(clearing, "large"), scene.at(clearing, "large too"))
    orders[first], orders[first + 1] = orders[first + 1], orders[first]
    return "OrdersNotAscending", first + 1


@bad
def an_order_presented_twice(scene: MergedScene, clearing: ClearingData, market: Market) -> Expected:
    clearing["orders"].insert(1, deepcopy(clearing["orders"][0]))
    return "OrdersNotAscending", 1


@bad
def an_order_without_energy(scene: MergedScene, clearing: ClearingData, market: Market) -> Expected:
    scene.set_terms(clearing, "gas", fill_wh=0)
    return "OrderWithoutEnergy", scene.uid("gas")


@bad
def five_named_ends(scene: MergedScene, clearing: ClearingData, market: Market) -> Expected:
    clearing["ends"] = [deepcopy(clearing["orders"][0]) for _ in range(5)]
    return "EndInvalid", len(clearing["orders"])


@bad
def a_filled_order_presented_once_more_as_an_end(
    scene: MergedScene, clearing: ClearingData, market: Market
) -> Expected:
    clearing["ends"] = [deepcopy(clearing["orders"][0])]
    return "OrderPresentedTwice", scene.uid("solar")


@bad
def an_offer_filled_beyond_its_quantity(scene: MergedScene, clearing: ClearingData, market: Market) -> Expected:
    scene.set_terms(clearing, "solar", fill_wh=601)
    return "OrderOverfilled", scene.uid("solar"), 600, 601


@bad
def a_bid_filled_beyond_its_quantity(scene: MergedScene, clearing: ClearingData, market: Market) -> Expected:
    scene.set_terms(clearing, "green", fill_wh=2**40 - 1)
    return "OrderOverfilled", scene.uid("green"), 300, 2**40 - 1


@bad
def an_order_of_an_unknown_meter(scene: MergedScene, clearing: ClearingData, market: Market) -> Expected:
    scene.set_terms(clearing, "guest", meter=77)
    return "MeterUnknown", 77


def forged(scene: MergedScene, clearing: ClearingData, market: Market, name: str) -> Expected:
    """The refusal of an order whose signature does not belong to it: who would have signed what is presented."""
    shown = scene.shown(clearing, name)
    owner = market.facts(terms_meter(shown["terms"])).owner
    if is_acceptance(shown["terms"]):
        uid = acceptance_uid(market.order_domain, acceptance_from_words(shown["terms"], shown["guard"], owner))
    else:
        uid = order_uid(market.order_domain, order_from_words(shown["terms"], shown["guard"], owner))
    vs = int.from_bytes(shown["vs"])
    signature = shown["r"] + (vs & LOW_255_BITS).to_bytes(32) + bytes([27 + (vs >> 255)])
    digest = bytes.fromhex(uid[2:])
    return "SignerMismatch", digest, recover_address(digest, signature), owner


SIGNED_PARTS: dict[str, dict[str, int]] = {
    "another meter": {"meter": 2},
    "the other side": {"side": 0},
    "the other product": {"product": 1},
    "another pricing": {"pricing": 1},
    "an earlier first MTU": {"first_mtu_start": FIRST_MTU - MTU_LENGTH_S},
    "a later last MTU": {"last_mtu_start": FIRST_MTU + MTU_LENGTH_S},
    "a later expiry": {"expiry": FIRST_MTU + 1},
    "a larger quantity": {"quantity_wh": 601},
    "the form of an acceptance": {"acceptance": 1},
}


@pytest.mark.parametrize("part", SIGNED_PARTS)
def test_refused_is_an_order_presented_with(market: Market, part: str) -> None:
    scene = MergedScene.of(market)
    scene.commit(market)
    clearing = scene.clearing(market)
    scene.set_terms(clearing, "solar", **SIGNED_PARTS[part])
    error, *values = forged(scene, clearing, market, "solar")
    with market.refuses(str(error), *values):
        market.clear(clearing)


@bad
def an_order_with_a_better_limit_than_signed(scene: MergedScene, clearing: ClearingData, market: Market) -> Expected:
    clearing["orders"][scene.at(clearing, "solar")]["guard"] -= 1
    return forged(scene, clearing, market, "solar")


@bad
def an_order_with_another_salt(scene: MergedScene, clearing: ClearingData, market: Market) -> Expected:
    clearing["orders"][scene.at(clearing, "solar")]["guard"] += 1 << 64
    return forged(scene, clearing, market, "solar")


@bad
def an_acceptance_of_another_quantity(scene: MergedScene, clearing: ClearingData, market: Market) -> Expected:
    scene.set_terms(clearing, "guest", quantity_wh=151, fill_wh=151)
    return forged(scene, clearing, market, "guest")


@bad
def an_acceptance_in_the_form_of_an_order(scene: MergedScene, clearing: ClearingData, market: Market) -> Expected:
    scene.set_terms(clearing, "guest", acceptance=0)
    return forged(scene, clearing, market, "guest")


@bad
def a_signature_of_the_other_parity(scene: MergedScene, clearing: ClearingData, market: Market) -> Expected:
    order = clearing["orders"][scene.at(clearing, "gas")]
    order["vs"] = (int.from_bytes(order["vs"]) ^ 1 << 255).to_bytes(32)
    return forged(scene, clearing, market, "gas")


@bad
def a_signature_with_s_in_the_upper_half(scene: MergedScene, clearing: ClearingData, market: Market) -> Expected:
    s = SECP256K1_ORDER // 2 + 1
    clearing["orders"][0]["vs"] = s.to_bytes(32)
    return "ECDSAInvalidSignatureS", s.to_bytes(32)


@bad
def a_signature_of_nobody(scene: MergedScene, clearing: ClearingData, market: Market) -> Expected:
    clearing["orders"][0]["r"] = bytes(32)
    return ("ECDSAInvalidSignature",)


@bad
def another_one_s_signature(scene: MergedScene, clearing: ClearingData, market: Market) -> Expected:
    orders = clearing["orders"]
    orders[0]["r"], orders[0]["vs"] = orders[1]["r"], orders[1]["vs"]
    return forged(scene, clearing, market, "solar")


# --- members ----------------------------------------------------------------------------------------------------------


@bad
def a_suspended_seller(scene: MergedScene, clearing: ClearingData, market: Market) -> Expected:
    market.suspend(scene.meters["solar"].owner)
    return "AccountSuspended", scene.owner("solar")


@bad
def a_suspended_accepter(scene: MergedScene, clearing: ClearingData, market: Market) -> Expected:
    market.suspend(scene.meters["guest"].owner)
    return "AccountSuspended", scene.owner("guest")


@bad
def a_buyer_whose_money_has_left(scene: MergedScene, clearing: ClearingData, market: Market) -> Expected:
    market.withdraw(scene.meters["green"].owner, market.free(scene.meters["green"].owner) - 1)
    # 300 Wh at 13,000 and the fee of 1,000.
    return "InsufficientFunds", scene.owner("green"), 300 * 14_000, 1


@bad
def a_seller_whose_money_has_left(scene: MergedScene, clearing: ClearingData, market: Market) -> Expected:
    market.withdraw(scene.meters["gas"].owner, market.free(scene.meters["gas"].owner))
    return "InsufficientFunds", scene.owner("gas"), 400 * (32_500 - 13_000), 0


@bad
def an_accepter_one_microcent_short(scene: MergedScene, clearing: ClearingData, market: Market) -> Expected:
    needed = 150 * (14_000 + 1_000)
    guest = scene.meters["guest"].owner
    market.withdraw(guest, market.free(guest) - needed + 1)
    return "InsufficientFunds", guest.address, needed, needed - 1
