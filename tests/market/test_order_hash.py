"""Our packed EIP-712 is eth-account's, bit for bit; signatures that could be read in two ways are refused."""

import json
from dataclasses import replace

import pytest
from eth_account import Account
from eth_account.messages import SignableMessage, encode_typed_data
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.market.fakes import BUYER, DOMAIN, SELLER, an_acceptance, an_order

from gridledger.market.errors import SignatureMalformed
from gridledger.market.model import Acceptance, Order, Pricing, Product, Side
from gridledger.market.order_hash import (
    OrderDomain,
    acceptance_typed_data,
    acceptance_uid,
    cancel_digest,
    cancel_typed_data,
    cancel_up_to_digest,
    cancel_up_to_typed_data,
    order_typed_data,
    order_uid,
    recover_address,
)
from gridledger.market.receipts import receipt_digest, receipt_typed_data
from gridledger.units import INT64_MAX, INT64_MIN, UINT32_MAX, UINT64_MAX

CASES = 400
CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
UINT64 = st.integers(0, UINT64_MAX)

addresses = st.binary(min_size=20, max_size=20).map(lambda data: str(to_checksum_address(data)))
domains = st.builds(OrderDomain, chain_id=st.integers(0, 2**256 - 1), trading_contract=addresses)
orders = st.builds(
    Order,
    owner=addresses,
    meter=st.integers(0, UINT32_MAX),
    side=st.sampled_from(Side),
    product=st.sampled_from(Product),
    pricing=st.sampled_from(Pricing),
    first_mtu_start=UINT64,
    last_mtu_start=UINT64,
    quantity_wh=UINT64,
    limit_cents_per_mwh=st.integers(INT64_MIN, INT64_MAX),
    expiry=UINT64,
    salt=UINT64,
)
acceptances = st.builds(
    Acceptance,
    owner=addresses,
    meter=st.integers(0, UINT32_MAX),
    offer_uid=st.binary(min_size=32, max_size=32).map(lambda data: "0x" + data.hex()),
    mtu_start=UINT64,
    quantity_wh=UINT64,
    salt=UINT64,
)


def digest_of(document: SignableMessage) -> bytes:
    return keccak(b"\x19" + document.version + document.header + document.body)


def signature_of(order: Order, number: int = 2) -> bytes:
    document = encode_typed_data(full_message=order_typed_data(DOMAIN, order))
    return bytes(Account.sign_message(document, number.to_bytes(32)).signature)


@settings(max_examples=CASES, deadline=None)
@given(domains, orders)
def test_the_packed_uid_is_the_digest_every_wallet_signs(domain: OrderDomain, order: Order) -> None:
    document = encode_typed_data(full_message=order_typed_data(domain, order))
    assert order_uid(domain, order) == "0x" + digest_of(document).hex()


@settings(max_examples=CASES, deadline=None)
@given(domains, acceptances)
def test_the_packed_uid_of_an_acceptance_is_the_digest_every_wallet_signs(
    domain: OrderDomain, acceptance: Acceptance
) -> None:
    document = encode_typed_data(full_message=acceptance_typed_data(domain, acceptance))
    assert acceptance_uid(domain, acceptance) == "0x" + digest_of(document).hex()


@settings(max_examples=50, deadline=None)
@given(domains, addresses, UINT64)
def test_the_packed_bulk_cancellation_is_the_digest_every_wallet_signs(
    domain: OrderDomain, owner: str, salt: int
) -> None:
    document = encode_typed_data(full_message=cancel_up_to_typed_data(domain, owner, salt))
    assert cancel_up_to_digest(domain, owner, salt) == digest_of(document)


@settings(max_examples=50, deadline=None)
@given(domains, st.binary(min_size=32, max_size=32))
def test_the_packed_cancellation_is_the_digest_every_wallet_signs(domain: OrderDomain, uid: bytes) -> None:
    text = "0x" + uid.hex()
    document = encode_typed_data(full_message=cancel_typed_data(domain, text))
    assert cancel_digest(domain, text) == digest_of(document)


@settings(max_examples=100, deadline=None)
@given(domains, st.binary(min_size=32, max_size=32), UINT64, UINT64, st.binary(min_size=32, max_size=32))
def test_the_packed_receipt_is_the_digest_every_wallet_checks(
    domain: OrderDomain, uid: bytes, number: int, received_at: int, block: bytes
) -> None:
    fields = ("0x" + uid.hex(), number, received_at, "0x" + block.hex())
    document = encode_typed_data(full_message=receipt_typed_data(domain, *fields))
    assert receipt_digest(domain, *fields) == digest_of(document)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, CURVE_ORDER - 1), st.binary(min_size=32, max_size=32))
def test_recovering_gives_the_signer_of_any_digest(key: int, digest: bytes) -> None:
    account = Account.from_key(key.to_bytes(32))
    signature = bytes(account.unsafe_sign_hash(digest).signature)
    assert recover_address(digest, signature) == account.address.lower()


@pytest.mark.parametrize(
    "change",
    [
        {"owner": SELLER.address},
        {"meter": 3},
        {"side": Side.SELL},
        {"product": Product.LOW_CARBON},
        {"pricing": Pricing.PEGGED},
        {"first_mtu_start": 900},
        {"last_mtu_start": 900},
        {"quantity_wh": 601},
        {"limit_cents_per_mwh": -20_000},
        {"expiry": 1},
        {"salt": 2},
    ],
    ids=lambda change: next(iter(change)),
)
def test_changing_any_field_changes_the_uid_and_no_longer_recovers_the_signer(change: dict[str, object]) -> None:
    order = an_order()
    changed = replace(order, **change)  # type: ignore[arg-type]
    uid = order_uid(DOMAIN, changed)
    assert uid != order_uid(DOMAIN, order)
    assert recover_address(bytes.fromhex(uid[2:]), signature_of(order)) != BUYER.address.lower()


@pytest.mark.parametrize(
    "change",
    [
        {"owner": SELLER.address},
        {"meter": 3},
        {"offer_uid": "0x" + "cd" * 32},
        {"mtu_start": 900},
        {"quantity_wh": 201},
        {"salt": 2},
    ],
    ids=lambda change: next(iter(change)),
)
def test_changing_any_field_of_an_acceptance_changes_its_uid_and_no_longer_recovers_the_signer(
    change: dict[str, object],
) -> None:
    acceptance = an_acceptance("0x" + "ab" * 32)
    uid = acceptance_uid(DOMAIN, replace(acceptance, **change))  # type: ignore[arg-type]
    assert uid != acceptance_uid(DOMAIN, acceptance)
    assert recover_address(bytes.fromhex(uid[2:]), BUYER.sign_acceptance(acceptance)) != BUYER.address.lower()


def test_every_document_survives_json_and_signs_as_it_is() -> None:
    """What a wallet gets over the wire is plain JSON; its signature recovers the signer over our packed digest."""
    order, acceptance, uid = an_order(), an_acceptance("0x" + "ab" * 32), "0x" + "cd" * 32
    documents = (
        (order_typed_data(DOMAIN, order), bytes.fromhex(order_uid(DOMAIN, order)[2:])),
        (acceptance_typed_data(DOMAIN, acceptance), bytes.fromhex(acceptance_uid(DOMAIN, acceptance)[2:])),
        (cancel_typed_data(DOMAIN, uid), cancel_digest(DOMAIN, uid)),
        (
            cancel_up_to_typed_data(DOMAIN, BUYER.address, 2**64 - 1),
            cancel_up_to_digest(DOMAIN, BUYER.address, 2**64 - 1),
        ),
        (receipt_typed_data(DOMAIN, uid, 7, 8, uid), receipt_digest(DOMAIN, uid, 7, 8, uid)),
    )
    for document, digest in documents:
        signed = Account.sign_typed_data((2).to_bytes(32), full_message=json.loads(json.dumps(document)))
        assert recover_address(digest, bytes(signed.signature)) == BUYER.address.lower()


def test_no_digest_passes_for_another_kind() -> None:
    """An acceptance, a cancellation and a bulk cancellation over equal numbers are four different messages."""
    uid = "0x" + "ab" * 32
    digests = {
        order_uid(DOMAIN, an_order()),
        acceptance_uid(DOMAIN, an_acceptance(uid)),
        "0x" + cancel_digest(DOMAIN, uid).hex(),
        "0x" + cancel_up_to_digest(DOMAIN, BUYER.address, 1).hex(),
    }
    assert len(digests) == 4


def test_another_chain_or_contract_gives_another_uid() -> None:
    order = an_order()
    others = (replace(DOMAIN, chain_id=1), replace(DOMAIN, trading_contract="0x" + "12" * 20))
    assert len({order_uid(domain, order) for domain in (DOMAIN, *others)}) == 3


def test_a_cancellation_cannot_pass_for_an_order() -> None:
    uid = order_uid(DOMAIN, an_order())
    assert cancel_digest(DOMAIN, uid) != bytes.fromhex(uid[2:])


def test_the_owner_s_spelling_does_not_change_the_uid() -> None:
    order = an_order()
    assert order_uid(DOMAIN, replace(order, owner=order.owner.lower())) == order_uid(DOMAIN, order)


def good_signature() -> tuple[bytes, bytes]:
    order = an_order()
    return bytes.fromhex(order_uid(DOMAIN, order)[2:]), signature_of(order)


@pytest.mark.parametrize("length", [0, 64, 66, 130])
def test_a_signature_has_exactly_65_bytes(length: int) -> None:
    digest, signature = good_signature()
    with pytest.raises(SignatureMalformed) as refused:
        recover_address(digest, (signature * 2)[:length])
    assert refused.value.reason == f"{length} bytes"


@pytest.mark.parametrize("v", [0, 1, 26, 29, 37, 255])
def test_a_signature_ends_in_27_or_28(v: int) -> None:
    digest, signature = good_signature()
    with pytest.raises(SignatureMalformed) as refused:
        recover_address(digest, signature[:64] + bytes((v,)))
    assert refused.value.reason == f"v = {v}"


def test_the_twin_signature_with_s_in_the_upper_half_is_refused() -> None:
    digest, signature = good_signature()
    s = CURVE_ORDER - int.from_bytes(signature[32:64])
    twin = signature[:32] + s.to_bytes(32) + bytes((27 + 28 - signature[64],))
    with pytest.raises(SignatureMalformed) as refused:
        recover_address(digest, twin)
    assert refused.value.reason == "s in the upper half"


def test_the_greatest_s_of_the_lower_half_is_not_refused_for_its_size() -> None:
    digest, signature = good_signature()
    half = CURVE_ORDER // 2
    recovered = recover_address(digest, signature[:32] + half.to_bytes(32) + signature[64:])
    assert recovered != BUYER.address.lower()
    with pytest.raises(SignatureMalformed):
        recover_address(digest, signature[:32] + (half + 1).to_bytes(32) + signature[64:])


@pytest.mark.parametrize("r", [0, CURVE_ORDER, 2**256 - 1])
def test_an_r_outside_the_curve_s_order_has_no_signer(r: int) -> None:
    digest, signature = good_signature()
    with pytest.raises(SignatureMalformed) as refused:
        recover_address(digest, r.to_bytes(32) + signature[32:])
    assert refused.value.reason == "no public key"


def test_an_s_of_zero_has_no_signer() -> None:
    digest, signature = good_signature()
    with pytest.raises(SignatureMalformed) as refused:
        recover_address(digest, signature[:32] + bytes(32) + signature[64:])
    assert refused.value.reason == "no public key"


def test_flipping_v_names_another_signer() -> None:
    digest, signature = good_signature()
    flipped = signature[:64] + bytes((27 + 28 - signature[64],))
    assert recover_address(digest, signature) == BUYER.address.lower()
    assert recover_address(digest, flipped) != BUYER.address.lower()


def test_a_receipt_is_signed_over_uid_running_number_moment_and_block() -> None:
    operator = Account.from_key((9).to_bytes(32))
    uid, block = "0x" + "ab" * 32, "0x" + "cd" * 32
    document = receipt_typed_data(DOMAIN, uid, 7, 1_465_775_000, block)
    signature = operator.sign_message(encode_typed_data(full_message=document)).signature
    for changed in (
        receipt_typed_data(DOMAIN, uid, 8, 1_465_775_000, block),
        receipt_typed_data(DOMAIN, uid, 7, 1_465_775_001, block),
        receipt_typed_data(DOMAIN, block, 7, 1_465_775_000, block),
        receipt_typed_data(DOMAIN, uid, 7, 1_465_775_000, uid),
        receipt_typed_data(replace(DOMAIN, chain_id=1), uid, 7, 1_465_775_000, block),
    ):
        assert Account.recover_message(encode_typed_data(full_message=changed), signature=signature) != operator.address
    assert Account.recover_message(encode_typed_data(full_message=document), signature=signature) == operator.address
