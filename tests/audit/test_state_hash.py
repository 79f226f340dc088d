"""The packed state hash is the contract's keccak256(abi.encode(Position[], Trade[]))."""

from eth_abi.abi import encode
from hypothesis import given
from hypothesis import strategies as st

from gridledger.audit.hashing import keccak256
from gridledger.audit.state_hash import state_hash
from gridledger.market.model import Position, Trade

POSITION = "(uint32,uint8,bool,address,address,int64,int64,uint128,uint128)[]"
TRADE = "(uint16,uint16,uint64,uint64,bool)[]"
INT64 = st.integers(-(2**63), 2**63 - 1)
UINT64, UINT128 = st.integers(0, 2**64 - 1), st.integers(0, 2**128 - 1)
ADDRESS = st.binary(min_size=20, max_size=20).map(lambda address: "0x" + address.hex())
POSITIONS = st.builds(
    Position,
    meter=st.integers(0, 2**32 - 1),
    source=st.integers(0, 255),
    settled=st.booleans(),
    owner=ADDRESS,
    supplier=ADDRESS,
    contracted_wh=INT64,
    metered_wh=INT64,
    locked_microcents=UINT128,
    fee_microcents=UINT128,
)
INDEX = st.integers(0, 2**16 - 1)
TRADES = st.builds(Trade, sell=INDEX, buy=INDEX, energy_wh=UINT64, rewarded_wh=UINT64, rewarded=st.booleans())


@given(st.lists(POSITIONS, max_size=5), st.lists(TRADES, max_size=5))
def test_the_packed_hash_is_that_of_the_abi_encoder(positions: list[Position], trades: list[Trade]) -> None:
    values = [
        [tuple(vars(position).values()) for position in positions],
        [tuple(vars(trade).values()) for trade in trades],
    ]
    assert state_hash(positions, trades) == "0x" + keccak256(encode([POSITION, TRADE], values)).hex()
