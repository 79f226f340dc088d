"""The hashes of a clearing are the contract's: keccak256 of its ABI encodings."""

from eth_abi.abi import encode
from hypothesis import given
from hypothesis import strategies as st

from gridledger.audit.hashing import keccak256
from gridledger.audit.state_hash import fills_hash, intervals_hash, result_hash, state_hash
from gridledger.market.model import Position, Trade
from gridledger.market.packing import position_words, trade_word

INT64 = st.integers(-(2**63), 2**63 - 1)
UINT48, UINT256 = st.integers(0, 2**48 - 1), st.integers(0, 2**256 - 1)
HASH = st.binary(min_size=32, max_size=32)
POSITIONS = st.builds(
    Position,
    meter=st.integers(0, 2**32 - 1),
    owner=st.binary(min_size=20, max_size=20).map(lambda address: "0x" + address.hex()),
    supplier_number=st.integers(0, 2**16 - 1),
    source=st.integers(0, 255),
    sells=st.booleans(),
    capacity_w=st.integers(0, 2**24 - 1),
    auction_wh=UINT48,
    metered_wh=st.integers(-(2**47), 2**47 - 1),
    settled=st.booleans(),
    locked_microcents=st.integers(0, 2**88 - 1),
    deal_microcents=st.integers(-(2**87), 2**87 - 1),
)
INDEX = st.integers(0, 2**16 - 1)
DEALS = st.builds(Trade, sell=INDEX, buy=INDEX, energy_wh=UINT48)


def _hex(content: bytes) -> str:
    return "0x" + keccak256(content).hex()


@given(st.lists(POSITIONS, max_size=5), st.lists(DEALS, max_size=5))
def test_the_state_hash_is_that_of_the_abi_encoder(positions: list[Position], deals: list[Trade]) -> None:
    words = [position_words(positions), [trade_word(deal) for deal in deals]]
    assert state_hash(positions, deals) == _hex(encode(["uint256[]", "uint256[]"], words))


@given(st.booleans(), st.tuples(INT64, INT64), st.tuples(INT64, INT64))
def test_the_hash_of_intervals_is_that_of_the_abi_encoder(
    merged: bool, any_interval: tuple[int, int], low_carbon_interval: tuple[int, int]
) -> None:
    encoded = encode(["bool", "(int64,int64)", "(int64,int64)"], [merged, any_interval, low_carbon_interval])
    assert intervals_hash(merged, any_interval, low_carbon_interval) == _hex(encoded)


@given(st.lists(UINT256, max_size=5), HASH, HASH, HASH)
def test_results_are_chained_as_the_contract_chains_them(
    terms: list[int], before: bytes, fills: bytes, state: bytes
) -> None:
    assert fills_hash(terms) == _hex(b"".join(word.to_bytes(32) for word in terms))
    texts = ("0x" + part.hex() for part in (before, fills, state))
    assert result_hash(*texts) == _hex(encode(["bytes32"] * 3, [before, fills, state]))
