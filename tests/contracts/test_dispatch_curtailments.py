"""What the grid operator's signed curtailments do, and all that makes one be refused.

The street of streets.Street: solar 600 and roof 401 Wh of low-carbon energy, gas 500 Wh of other, large 900, small 601.
"""

from typing import Any

import pytest
from eth_abi.abi import encode
from tests.contracts.curtailing import EXPORT, IMPORT, Curtailer
from tests.contracts.harness import (
    ACKNOWLEDGED,
    BUY,
    CAPPED,
    CHAIN_ID,
    FIRST_MTU,
    MTU_LENGTH_S,
    SELL,
    STOPPED,
    VOID,
    ZONE,
    Market,
    actor,
)
from tests.contracts.scenes import Spoils
from tests.contracts.setpoints import schedule_hash
from tests.contracts.streets import Street
from tests.contracts.words import BROKEN_ORDER, CURTAILED, KEPT_ORDER, UNCHECKED

from gridledger.chain.codec import keccak256
from gridledger.chain.plan import PolicyParameters

DEADLINE = FIRST_MTU - 60
END = FIRST_MTU + MTU_LENGTH_S
EXPORTERS = ("solar", "roof", "gas")
Refused = tuple[list[Any], tuple[Any, ...]]


@pytest.fixture
def street(market: Market) -> Street:
    """The street, cleared and waiting for an answer."""
    return Street.of(market)


def outcome(market: Market) -> int:
    """Outcome of the first MTU."""
    return int(market.view("EnergyDispatching", "outcomeOf", ZONE, FIRST_MTU))


# ---- what is recorded


def test_an_ordinary_curtailment_caps_the_schedule(street: Street) -> None:
    market, operator = street.market, street.operator
    caps = street.fair(EXPORTERS, 1_000)
    assert caps == street.caps(solar=599, roof=401, gas=0)
    message = operator.message(caps, reason=15)
    # Whoever relays it: here the bank.
    event = market.send(market.bank, "EnergyDispatching", "curtail", *operator.arguments(message)).one(
        "DispatchCurtailed"
    )
    assert (event["direction"], event["reason"], event["emergency"], event["sequence"]) == (EXPORT, 15, False, 0)
    assert (event["orderCheck"], event["gridOperator"]) == (KEPT_ORDER, market.grid_operator.address)
    assert event["caps"] == tuple(meter | wh << 32 for meter, wh in sorted(caps.items()))
    assert outcome(market) == CAPPED
    shown = market.view("EnergyDispatching", "capsOf", ZONE, FIRST_MTU)
    assert (shown["direction"], shown["reason"]) == (EXPORT, 15)
    assert shown["capsHash"] == market.view("EnergyDispatching", "hashCaps", message["caps"])
    market.move_to(END + 10**6)
    assert outcome(market) == CAPPED


def test_a_list_of_caps_is_hashed_as_eip_712_hashes_it(market: Market) -> None:
    caps = [{"meter": 3, "capWh": 2**64 - 1}, {"meter": 2**32 - 1, "capWh": 0}]
    typehash = keccak256(b"Cap(uint32 meter,uint64 capWh)")
    rows = [encode(["bytes32", "uint32", "uint64"], [typehash, one["meter"], one["capWh"]]) for one in caps]
    expected = keccak256(b"".join(keccak256(row) for row in rows))
    assert market.view("EnergyDispatching", "hashCaps", caps) == expected
    assert market.view("EnergyDispatching", "hashCaps", []) == keccak256(b"")
    assert market.view("EnergyDispatching", "capsOf", ZONE, FIRST_MTU)["capsHash"] == bytes(32)


def test_the_digest_is_the_one_that_wallets_sign(street: Street) -> None:
    operator = street.operator
    message = operator.message(street.fair(EXPORTERS, 1_000), emergency=True, sequence=7, reason=9, direction=IMPORT)
    digest = street.market.view("EnergyDispatching", "curtailmentDigest", message)
    signature = street.market.grid_operator.account.unsafe_sign_hash(digest)
    assert operator.signature(message)[0] == signature.r.to_bytes(32)


def test_a_curtailment_counts_until_the_second_of_the_deadline(street: Street) -> None:
    street.market.move_to(DEADLINE)
    street.operator.curtail(street.fair(EXPORTERS, 1_000))
    assert outcome(street.market) == CAPPED


def test_imports_stand_in_one_line(street: Street) -> None:
    caps = street.fair(("large", "small"), 1_000, IMPORT)
    assert caps == street.caps(large=600, small=400)
    event = street.operator.curtail(caps, direction=int(IMPORT)).one("DispatchCurtailed")
    assert (event["direction"], event["orderCheck"]) == (IMPORT, KEPT_ORDER)
    assert street.market.view("EnergyDispatching", "capsOf", ZONE, FIRST_MTU)["direction"] == IMPORT


def test_only_the_named_meters_stand_in_the_order(street: Street) -> None:
    """Which part of the network is overloaded the operator says; in it the order holds."""
    event = street.operator.curtail(street.fair(("solar", "large"), 17)).one("DispatchCurtailed")
    assert event["orderCheck"] == KEPT_ORDER
    assert event["caps"] == (street.number("solar") | 17 << 32, street.number("large"))


def test_everything_named_may_be_curtailed_to_nothing(street: Street) -> None:
    street.operator.curtail(street.caps(solar=0, roof=0, gas=0))
    assert outcome(street.market) == CAPPED


def test_a_forecast_beyond_the_contract_counts_in_the_order(market: Market) -> None:
    street = Street.of(market, persisted_wh={"solar": 801, "gas": 450, "large": -9_000})
    assert street.fair(EXPORTERS, 1_202) == street.caps(solar=801, roof=401, gas=0)
    with market.refuses("NothingCurtailed", ZONE, FIRST_MTU):
        street.operator.curtail(street.caps(solar=801, roof=401, gas=500))
    street.operator.curtail(street.fair(EXPORTERS, 1_203))
    assert outcome(market) == CAPPED


def test_sources_are_curtailed_by_their_factors_and_those_without_one_first(market: Market) -> None:
    market.send(market.regulator, "CarbonLedger", "setSourceFactor", 2, 0, "hydro")
    market.send(market.regulator, "CarbonLedger", "setSourceFactor", 3, 490_000, "gas")
    assert [market.view("CarbonLedger", "meritFactorOf", source) for source in (0, 1, 2, 3, 4)] == [
        2**32 - 1,
        41_000,
        0,
        490_000,
        2**32 - 1,
    ]
    # A cleaner source than the sun, and gas with a factor: then gas is the first to go.
    street = Street.of(market, sources={"solar": 1, "roof": 2, "gas": 3})
    for wrong in ({"solar": 600, "roof": 400, "gas": 0}, {"solar": 599, "roof": 401, "gas": 1}):
        caps = street.caps(**wrong)
        broken = "roof" if wrong["roof"] == 400 else "solar"
        with market.refuses("OrderOfCurtailmentBroken", street.number(broken), wrong[broken]):
            street.operator.curtail(caps)
    street.operator.curtail(street.caps(solar=599, roof=401, gas=0))


# ---- emergencies


def test_an_emergency_is_recorded_in_whatever_order_and_says_so(street: Street) -> None:
    market, operator = street.market, street.operator
    wrong = street.caps(solar=0, roof=0, gas=500)
    market.answer(ACKNOWLEDGED)
    market.move_to(END - 1)
    event = operator.curtail(wrong, emergency=True, reason=4).one("DispatchCurtailed")
    assert (event["emergency"], event["orderCheck"], event["sequence"]) == (True, UNCHECKED, 0)
    assert outcome(market) == CAPPED
    opened = operator.setpoints.opened(sorted(wrong))
    event = operator.curtail(wrong, emergency=True, reason=4, sequence=1, setpoints=opened).one("DispatchCurtailed")
    assert (event["orderCheck"], event["sequence"]) == (BROKEN_ORDER, 1)
    fair = street.fair(EXPORTERS, 1_000)
    event = operator.curtail(fair, emergency=True, sequence=2, setpoints=opened).one("DispatchCurtailed")
    assert event["orderCheck"] == KEPT_ORDER


def test_an_emergency_cap_above_the_schedule_breaks_the_order_but_holds(street: Street) -> None:
    opened = street.operator.setpoints.opened([street.number("solar")])
    above = street.caps(solar=601)
    event = street.operator.curtail(above, emergency=True, setpoints=opened).one("DispatchCurtailed")
    assert event["orderCheck"] == BROKEN_ORDER
    assert outcome(street.market) == CAPPED


def test_the_last_caps_hold(street: Street) -> None:
    market, operator = street.market, street.operator
    operator.curtail(street.fair(EXPORTERS, 1_000))
    last = operator.message(street.caps(large=1), emergency=True, sequence=1, direction=int(IMPORT), reason=5)
    operator.curtail(street.caps(large=1), emergency=True, sequence=1, direction=int(IMPORT), reason=5)
    shown = market.view("EnergyDispatching", "capsOf", ZONE, FIRST_MTU)
    assert shown == {
        "capsHash": market.view("EnergyDispatching", "hashCaps", last["caps"]),
        "direction": IMPORT,
        "reason": 5,
    }


def test_an_emergency_caps_a_schedule_that_proceeds_by_default(street: Street) -> None:
    street.market.move_to(DEADLINE + 1)
    street.operator.curtail(street.caps(solar=0), emergency=True)
    assert outcome(street.market) == CAPPED


def test_an_emergency_does_not_call_back_what_became_void_by_default() -> None:
    """Locks may have been given back already."""
    market = Market(policy=PolicyParameters(proceed_without_answer=False))
    street = Street.of(market)
    with market.undone():
        market.move_to(DEADLINE)
        street.operator.curtail(street.caps(solar=0), emergency=True)
        market.move_to(END)
        assert outcome(market) == CAPPED
    market.move_to(DEADLINE + 1)
    market.refund(street.kept, [0])
    with market.refuses("AnswerTooLate", ZONE, FIRST_MTU, DEADLINE, DEADLINE + 1):
        street.operator.curtail(street.caps(solar=0), emergency=True)
    assert outcome(market) == VOID
    market.stop()
    assert outcome(market) == VOID


# ---- what is refused

bad = Spoils()


def _refused(street: Street, caps: dict[str, int], expected: tuple[Any, ...], **changes: Any) -> Refused:
    message = street.operator.message(street.caps(**caps), **changes)
    return street.operator.arguments(message), expected


def _right(street: Street) -> dict[str, Any]:
    return street.operator.message(street.fair(EXPORTERS, 1_000))


def _tampered(street: Street, part: int, value: Any) -> Refused:
    """A setpoint of the roof whose part is another."""
    message = _right(street)
    arguments = street.operator.arguments(message)
    rows = [list(row) for row in arguments[3]]
    rows[1][part] = value if not callable(value) else value(rows[1][part])
    arguments[3] = [tuple(row) for row in rows]
    return arguments, ("SetpointNotScheduled", street.number("roof"))


@bad
def signed_by_the_market_operator(street: Street) -> Refused:
    market = street.market
    arguments = street.operator.arguments(_right(street), signer=market.market_operator)
    return arguments, ("NotTheGridOperator", ZONE, market.market_operator.address, market.grid_operator.address)


@bad
def signed_by_nobody_known(street: Street) -> Refused:
    somebody = actor("somebody")
    arguments = street.operator.arguments(_right(street), signer=somebody)
    return arguments, ("NotTheGridOperator", ZONE, somebody.address, street.market.grid_operator.address)


@bad
def signed_for_another_chain(street: Street) -> Refused:
    return street.operator.arguments(_right(street), domain={"chainId": CHAIN_ID + 1}), ("NotTheGridOperator",)


@bad
def signed_for_another_contract(street: Street) -> Refused:
    domain = {"verifyingContract": street.market.at["EnergyTrading"]}
    return street.operator.arguments(_right(street), domain=domain), ("NotTheGridOperator",)


@bad
def signed_under_the_orders_name(street: Street) -> Refused:
    return street.operator.arguments(_right(street), domain={"name": "gridledger"}), ("NotTheGridOperator",)


@bad
def of_another_zone_s_meter(street: Street) -> Refused:
    market = street.market
    market.send(market.regulator, "ParticipantRegistry", "registerZone", ZONE + 1, market.grid_operator.address)
    foreign = market.producer("foreign", zone=ZONE + 1)
    caps = street.caps(solar=0) | {foreign.number: 0}
    arguments = street.operator.arguments(street.operator.message(caps), setpoints=[])
    return arguments, ("MeterOfAnotherZone", foreign.number, ZONE, ZONE + 1)


@bad
def of_a_meter_nobody_registered(street: Street) -> Refused:
    arguments = street.operator.arguments(street.operator.message({999: 0}), setpoints=[])
    return arguments, ("MeterUnknown", 999)


@bad
def with_a_cap_above_the_schedule(street: Street) -> Refused:
    return _refused(street, {"solar": 601}, ("CapAboveSchedule", street.number("solar"), 600, 601))


@bad
def with_a_cap_on_what_a_buyer_does_not_export(street: Street) -> Refused:
    return _refused(street, {"solar": 0, "small": 1}, ("CapAboveSchedule", street.number("small"), 0, 1))


@bad
def with_a_cap_on_what_a_seller_does_not_import(street: Street) -> Refused:
    expected = ("CapAboveSchedule", street.number("gas"), 0, 500)
    return _refused(street, {"gas": 500, "small": 0}, expected, direction=int(IMPORT))


@bad
def sent_again(street: Street) -> Refused:
    arguments = street.operator.arguments(_right(street))
    street.market.send(street.market.outsider, "EnergyDispatching", "curtail", *arguments)
    return arguments, ("SequenceDiffers", 1, 0)


@bad
def after_a_curtailment(street: Street) -> Refused:
    street.operator.curtail(street.fair(EXPORTERS, 1_000))
    expected = ("AlreadyAnswered", ZONE, FIRST_MTU, CURTAILED)
    return _refused(street, {"solar": 0, "roof": 0, "gas": 0}, expected, sequence=1)


@bad
def in_an_emergency_sent_again(street: Street) -> Refused:
    arguments = street.operator.arguments(street.operator.message(street.caps(gas=0), emergency=True), setpoints=[])
    street.market.send(street.market.outsider, "EnergyDispatching", "curtail", *arguments)
    return arguments, ("SequenceDiffers", 1, 0)


@bad
def with_a_number_to_come(street: Street) -> Refused:
    return _refused(street, {"gas": 0}, ("SequenceDiffers", 0, 1), sequence=1)


@bad
def of_another_schedule(street: Street) -> Refused:
    right = street.market.view("EnergyDispatching", "scheduleHashOf", ZONE, FIRST_MTU)
    return _refused(street, {"gas": 0}, ("ScheduleDiffers", right, b"\1" * 32), scheduleHash=b"\1" * 32)


@bad
def of_an_mtu_without_a_schedule(street: Street) -> Refused:
    later = FIRST_MTU + MTU_LENGTH_S
    return _refused(street, {"gas": 0}, ("NotScheduledYet", ZONE, later), mtuStart=later)


@bad
def after_the_deadline(street: Street) -> Refused:
    street.market.move_to(DEADLINE + 1)
    return _refused(street, {"gas": 0}, ("AnswerTooLate", ZONE, FIRST_MTU, DEADLINE, DEADLINE + 1))


@bad
def in_an_emergency_after_the_mtu(street: Street) -> Refused:
    street.market.move_to(END)
    return _refused(street, {"gas": 0}, ("AnswerTooLate", ZONE, FIRST_MTU, END - 1, END), emergency=True)


@bad
def with_caps_in_another_order(street: Street) -> Refused:
    caps = street.operator.message(street.caps(solar=0, roof=0))["caps"][::-1]
    return street.operator.arguments(street.operator.message(caps)), ("CapsNotAscending", 1)


@bad
def with_a_meter_named_twice(street: Street) -> Refused:
    caps = street.operator.message(street.caps(solar=0, roof=0))["caps"]
    return street.operator.arguments(street.operator.message([*caps, caps[-1]])), ("CapsNotAscending", 2)


@bad
def for_a_reason_nobody_knows(street: Street) -> Refused:
    return _refused(street, {"gas": 0}, ("ReasonUnknown", 16), reason=16)


@bad
def for_the_largest_reason(street: Street) -> Refused:
    return _refused(street, {"gas": 0}, ("ReasonUnknown", 2**16 - 1), reason=2**16 - 1, emergency=True)


@bad
def without_a_direction(street: Street) -> Refused:
    return _refused(street, {"gas": 0}, ("DirectionMissing",), direction=0)


@bad
def in_a_third_direction(street: Street) -> Refused:
    return _refused(street, {"gas": 0}, ("0x",), direction=3)


@bad
def without_caps(street: Street) -> Refused:
    return _refused(street, {}, ("CapsMissing",))


@bad
def in_an_emergency_without_caps(street: Street) -> Refused:
    return _refused(street, {}, ("CapsMissing",), emergency=True)


@bad
def of_another_contract_than_was_scheduled(street: Street) -> Refused:
    return _tampered(street, 0, 402)


@bad
def of_another_forecast_than_was_scheduled(street: Street) -> Refused:
    return _tampered(street, 1, 1)


@bad
def of_parts_with_the_same_sum(street: Street) -> Refused:
    arguments, expected = _tampered(street, 0, 400)
    contracted, _, *rest = arguments[3][1]
    arguments[3][1] = (contracted, 1, *rest)
    return arguments, expected


@bad
def with_another_salt(street: Street) -> Refused:
    return _tampered(street, 2, b"\1" * 32)


@bad
def with_a_proof_cut_short(street: Street) -> Refused:
    return _tampered(street, 3, lambda proof: proof[:-1])


@bad
def with_a_proof_of_another_leaf(street: Street) -> Refused:
    return _tampered(street, 3, lambda proof: [b"\1" * 32, *proof[1:]])


@bad
def with_another_meter_s_setpoint(street: Street) -> Refused:
    arguments = street.operator.arguments(_right(street))
    arguments[3][0], arguments[3][1] = arguments[3][1], arguments[3][0]
    return arguments, ("SetpointNotScheduled", street.number("solar"))


@bad
def with_a_setpoint_too_few(street: Street) -> Refused:
    arguments = street.operator.arguments(_right(street))
    arguments[3].pop()
    return arguments, ("SetpointsDiffer", 3, 2)


@bad
def with_a_setpoint_too_many(street: Street) -> Refused:
    arguments = street.operator.arguments(_right(street))
    arguments[3].append(arguments[3][0])
    return arguments, ("SetpointsDiffer", 3, 4)


@bad
def without_setpoints(street: Street) -> Refused:
    return street.operator.arguments(_right(street), setpoints=[]), ("SetpointsDiffer", 3, 0)


@bad
def against_another_root(street: Street) -> Refused:
    result = street.market.view("EnergyTrading", "clearingOf", ZONE, FIRST_MTU)["resultHash"]
    right = schedule_hash(result, street.operator.setpoints.root)
    arguments = street.operator.arguments(_right(street), root=bytes(32))
    return arguments, ("ScheduleDiffers", right, schedule_hash(result, bytes(32)))


@bad
def of_another_result(street: Street) -> Refused:
    right = street.market.view("EnergyDispatching", "scheduleHashOf", ZONE, FIRST_MTU)
    arguments = street.operator.arguments(_right(street), result_hash=b"\1" * 32)
    return arguments, ("ScheduleDiffers", right, schedule_hash(b"\1" * 32, street.operator.setpoints.root))


@bad
def in_an_emergency_with_a_setpoint_nobody_scheduled(street: Street) -> Refused:
    arguments, expected = _tampered(street, 0, 402)
    message = arguments[0] | {"emergency": True}
    return [message, *arguments[1:4], *street.operator.signature(message)], expected


@bad
def with_one_wh_for_the_wrong_meter_of_a_class(street: Street) -> Refused:
    return _refused(
        street,
        {"solar": 600, "roof": 400, "gas": 0},
        ("OrderOfCurtailmentBroken", street.number("solar"), 600),
    )


@bad
def with_two_wh_for_the_wrong_meter_of_a_class(street: Street) -> Refused:
    expected = ("OrderOfCurtailmentBroken", street.number("solar"), 597)
    return _refused(street, {"solar": 597, "roof": 401, "gas": 0}, expected)


@bad
def with_one_wh_for_the_wrong_class(street: Street) -> Refused:
    expected = ("OrderOfCurtailmentBroken", street.number("solar"), 599)
    return _refused(street, {"solar": 599, "roof": 400, "gas": 1}, expected)


@bad
def that_curtails_low_carbon_energy_while_other_is_left(street: Street) -> Refused:
    expected = ("OrderOfCurtailmentBroken", street.number("solar"), 0)
    return _refused(street, {"solar": 0, "roof": 0, "gas": 500}, expected)


@bad
def that_spares_one_consumer(street: Street) -> Refused:
    expected = ("OrderOfCurtailmentBroken", street.number("large"), 399)
    return _refused(street, {"large": 399, "small": 601}, expected, direction=int(IMPORT))


@bad
def that_curtails_nothing(street: Street) -> Refused:
    return _refused(street, {"solar": 600, "gas": 500}, ("NothingCurtailed", ZONE, FIRST_MTU))


@bad
def of_meters_that_export_nothing(street: Street) -> Refused:
    return _refused(street, {"large": 0, "small": 0}, ("NothingCurtailed", ZONE, FIRST_MTU))


@bad
def after_an_acknowledgement(street: Street) -> Refused:
    street.market.answer(ACKNOWLEDGED)
    return _refused(street, {"gas": 0}, ("AlreadyAnswered", ZONE, FIRST_MTU, ACKNOWLEDGED))


@bad
def after_a_stop(street: Street) -> Refused:
    street.market.stop()
    return _refused(street, {"gas": 0}, ("AlreadyAnswered", ZONE, FIRST_MTU, STOPPED))


@bad
def in_an_emergency_after_a_stop(street: Street) -> Refused:
    street.market.stop()
    return _refused(street, {"gas": 0}, ("AlreadyAnswered", ZONE, FIRST_MTU, STOPPED), emergency=True)


@pytest.mark.parametrize("name", bad)
def test_a_curtailment_is_refused(street: Street, name: str) -> None:
    arguments, (error, *values) = bad[name](street)
    with street.market.refuses(error, *values):
        street.market.send(street.market.outsider, "EnergyDispatching", "curtail", *arguments)


def test_there_are_more_than_thirty_bad_curtailments() -> None:
    assert len(bad) > 30


# ---- relayed by anybody, altered by nobody

ALTERED: dict[str, dict[str, Any]] = {
    "direction": {"direction": int(IMPORT)},
    "reason": {"reason": 2},
    "emergency": {"emergency": True},
    "sequence": {"sequence": 0},
}


@pytest.mark.parametrize("name", ALTERED)
def test_a_relayed_curtailment_cannot_be_altered(street: Street, name: str) -> None:
    operator = street.operator
    message = operator.message(street.fair(EXPORTERS, 1_000), sequence=1 if name == "sequence" else 0)
    arguments = operator.arguments(message)
    arguments[0] = message | ALTERED[name]
    assert arguments[0] != message
    with street.market.refuses("NotTheGridOperator"):
        street.market.send(street.market.outsider, "EnergyDispatching", "curtail", *arguments)


CAPS_ALTERED: dict[str, dict[str, int]] = {
    "energy of a cap": {"solar": 598, "roof": 401, "gas": 0},
    "meter of a cap": {"solar": 599, "roof": 401, "large": 0},
    "a cap less": {"solar": 599, "roof": 401},
    "a cap more": {"solar": 599, "roof": 401, "gas": 0, "large": 0},
}


@pytest.mark.parametrize("name", CAPS_ALTERED)
def test_relayed_caps_cannot_be_altered(street: Street, name: str) -> None:
    operator = street.operator
    signature = operator.signature(operator.message(street.fair(EXPORTERS, 1_000)))
    altered = operator.arguments(operator.message(street.caps(**CAPS_ALTERED[name])))
    with street.market.refuses("NotTheGridOperator"):
        street.market.send(street.market.outsider, "EnergyDispatching", "curtail", *altered[:4], *signature)


@pytest.mark.parametrize(
    ("place", "value", "error"),
    [(4, b"\1" * 32, "NotTheGridOperator"), (5, bytes(32), "ECDSAInvalidSignature")],
    ids=["r", "vs"],
)
def test_a_relayed_signature_cannot_be_altered(street: Street, place: int, value: bytes, error: str) -> None:
    arguments = street.operator.arguments(_right(street))
    arguments[place] = value
    with street.market.refuses(error):
        street.market.send(street.market.outsider, "EnergyDispatching", "curtail", *arguments)


@pytest.mark.parametrize("what", ["zone", "MTU"])
def test_a_curtailment_is_not_moved_to_another_schedule(what: str) -> None:
    """Everything that tells one schedule from the other is exchanged; only the signature is not."""
    market = Market(zones=(ZONE, ZONE + 1))
    street = Street.of(market)
    elsewhere = {"zone": ZONE + 1} if what == "zone" else {"mtu_start": FIRST_MTU + MTU_LENGTH_S}
    other = _schedule_elsewhere(market, street, **elsewhere)
    caps = dict.fromkeys((row.meter for row in other.setpoints.rows), 0)
    signature = street.operator.signature(street.operator.message(caps))
    arguments = other.arguments(other.message(caps))
    with market.refuses("NotTheGridOperator"):
        market.send(market.outsider, "EnergyDispatching", "curtail", *arguments[:4], *signature)
    market.send(market.outsider, "EnergyDispatching", "curtail", *arguments)


def _schedule_elsewhere(market: Market, street: Street, mtu_start: int = FIRST_MTU, zone: int = ZONE) -> Curtailer:
    if zone == ZONE:
        meters = [street.meters["solar"], street.meters["large"]]
    else:
        meters = [market.producer("far roof", zone=zone), market.consumer("far flat", zone=zone)]
    book = [
        market.order(meters[0], SELL, 100, 10_000, mtu_start=mtu_start),
        market.order(meters[1], BUY, 100, 20_000, mtu_start=mtu_start),
    ]
    return Curtailer.of(market, [market.clear_book(book, mtu_start=mtu_start, zone=zone)], meters)
