"""What a demand response event may say, how it is signed, and what a gateway is told of it."""

from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from tests.dispatch.demands import DAY_S, LENGTH_S, a_demand, signed_demand

from gridledger.dispatch.baseline import BaselineRule, MeasuringTerms
from gridledger.dispatch.demand_errors import DemandFieldRefused, DemandSignatureMalformed
from gridledger.dispatch.demand_response import (
    DemandDirection,
    StoredDemand,
    demand_id,
    demand_signal,
    demand_signer,
    demand_typed_data,
    energy_of_power,
    terms_signer,
    terms_typed_data,
)
from gridledger.dispatch.model import DispatchDomain
from gridledger.units import OutOfRange, UnalignedMtu

DOMAIN = DispatchDomain(chain_id=31_337, dispatching_contract="0x" + "12" * 20)
OPERATOR = Account.from_key(b"\x07" * 32)


def stored(**changes: Any) -> StoredDemand:
    event = a_demand(**changes)
    return StoredDemand(
        number=3,
        event_id=demand_id(DOMAIN, event),
        event=event,
        signature=signed_demand(DOMAIN, event, OPERATOR),
        terms=MeasuringTerms(rule=BaselineRule(), civil_time="Europe/Berlin", holidays=()),
        terms_signature=bytes(65),
        received_at=event.first_mtu_start - 60,
    )


def test_the_id_is_the_digest_that_a_wallet_signs() -> None:
    document = encode_typed_data(full_message=demand_typed_data(DOMAIN, a_demand()))
    assert demand_id(DOMAIN, a_demand()) == "0x" + bytes(OPERATOR.sign_message(document).message_hash).hex()


@pytest.mark.parametrize(
    "changes",
    [
        {"zone": 2},
        {"first_mtu_start": a_demand().first_mtu_start + LENGTH_S},
        {"mtu_count": 5},
        {"direction": DemandDirection.INCREASE},
        {"energy_wh": 2_001},
        {"reason": 2},
        {"salt": bytes(32)},
    ],
    ids=str,
)
def test_each_field_is_signed(changes: dict[str, Any]) -> None:
    signature = signed_demand(DOMAIN, a_demand(), OPERATOR)
    assert demand_signer(DOMAIN, a_demand(), signature) == OPERATOR.address
    assert demand_signer(DOMAIN, a_demand(**changes), signature) != OPERATOR.address
    assert demand_id(DOMAIN, a_demand(**changes)) != demand_id(DOMAIN, a_demand())


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"zone": 0}, OutOfRange),
        ({"zone": 2**32}, OutOfRange),
        ({"first_mtu_start": 0}, OutOfRange),
        ({"first_mtu_start": 2**32}, OutOfRange),
        ({"mtu_count": 0}, OutOfRange),
        ({"energy_wh": 0}, OutOfRange),
        ({"energy_wh": 2**40 + 1}, OutOfRange),
        ({"reason": -1}, OutOfRange),
        ({"reason": 7}, OutOfRange),
        ({"salt": bytes(31)}, DemandFieldRefused),
        ({"salt": bytes(33)}, DemandFieldRefused),
    ],
    ids=str,
)
def test_an_event_out_of_range_cannot_exist(changes: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        a_demand(**changes)


def test_an_event_is_of_whole_mtus_and_of_a_day_at_most() -> None:
    assert a_demand(mtu_count=96).window(LENGTH_S).end == a_demand().first_mtu_start + DAY_S
    with pytest.raises(OutOfRange):
        a_demand(mtu_count=97).window(LENGTH_S)
    with pytest.raises(UnalignedMtu):
        a_demand(first_mtu_start=a_demand().first_mtu_start + 1).window(LENGTH_S)


@pytest.mark.parametrize("signature", [b"", bytes(64), bytes(65), b"\xff" * 64 + b"\x1b", bytes(64) + b"\x1b"], ids=len)
def test_what_is_no_signature_is_refused(signature: bytes) -> None:
    with pytest.raises(DemandSignatureMalformed):
        demand_signer(DOMAIN, a_demand(), signature)


def test_the_other_half_of_a_signature_s_curve_is_refused() -> None:
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    good = signed_demand(DOMAIN, a_demand(), OPERATOR)
    twin = good[:32] + (order - int.from_bytes(good[32:64])).to_bytes(32) + bytes([55 - good[64]])
    with pytest.raises(DemandSignatureMalformed):
        demand_signer(DOMAIN, a_demand(), twin)


def test_the_terms_are_signed_with_the_event_they_are_of() -> None:
    one = stored()
    document = encode_typed_data(full_message=terms_typed_data(DOMAIN, one))
    signature = bytes(OPERATOR.sign_message(document).signature)
    values = {name: getattr(one, name) for name in StoredDemand.__dataclass_fields__}
    assert terms_signer(DOMAIN, StoredDemand(**values | {"terms_signature": signature})) == OPERATOR.address
    other = StoredDemand(**values | {"terms_signature": signature, "number": 4})
    assert terms_signer(DOMAIN, other) != OPERATOR.address


@pytest.mark.parametrize(
    ("changes", "power_w", "level"),
    [
        ({}, -8_000, 2),
        ({"reason": 0}, -8_000, 1),
        ({"reason": 4}, -8_000, 3),
        ({"reason": 6}, -8_000, 1),
        ({"direction": DemandDirection.INCREASE}, 8_000, 0),
    ],
    ids=str,
)
def test_a_gateway_is_told_a_change_of_power_and_a_level(changes: dict[str, Any], power_w: int, level: int) -> None:
    signal = demand_signal(stored(**changes), LENGTH_S, [7, 2])
    assert (signal.relative_power_w, signal.simple_level) == (power_w, level)
    assert (signal.interval_s, signal.interval_count, signal.start) == (LENGTH_S, 4, a_demand().first_mtu_start)
    assert signal.relative_energy_wh * 4 == signal.relative_power_w
    assert signal.meters == (2, 7)


def test_power_counts_as_its_energy_rounded_down() -> None:
    assert [energy_of_power(8_003, length_s) for length_s in (300, 900, 1_800, 3_600)] == [666, 2_000, 4_001, 8_003]
