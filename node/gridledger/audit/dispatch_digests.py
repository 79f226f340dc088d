"""The EIP-712 digests a grid operator signs, hashed here a second time so that nothing of them comes from the node."""

from collections.abc import Sequence
from dataclasses import dataclass

from gridledger.audit.hashing import keccak256
from gridledger.audit.presented_dispatch import AnswerCall, CurtailCall, StopCall

__all__ = ["DispatchContract", "answer_digest", "caps_hash", "curtailment_digest", "schedule_hash", "stop_digest"]

_DOMAIN = b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
_ANSWER = b"DispatchAnswer(uint32 zone,uint64 mtuStart,bytes32 scheduleHash,uint8 answer,uint16 reason)"
_CAP = b"Cap(uint32 meter,uint64 capWh)"
_CURTAILMENT = (
    b"Curtailment(uint32 zone,uint64 mtuStart,bytes32 scheduleHash,uint8 direction,uint16 reason,bool emergency,"
    b"uint32 sequence,Cap[] caps)" + _CAP
)
_STOP = b"EmergencyStop(uint32 zone,uint64 firstMtuStart,uint32 mtuCount,uint16 reason)"
_Word = int | bytes


@dataclass(frozen=True, kw_only=True)
class DispatchContract:
    """Where answers are valid: one chain, one dispatching contract."""

    chain_id: int
    address: str


def schedule_hash(result_hash: str, setpoints_root: str) -> str:
    """What a schedule commits to, 0x hex: keccak256(abi.encode(resultHash, setpointsRoot))."""
    return "0x" + keccak256(bytes.fromhex(result_hash[2:]) + bytes.fromhex(setpoints_root[2:])).hex()


def caps_hash(caps: Sequence[tuple[int, int]]) -> bytes:
    """Commitment to caps (meter, Wh) as EnergyDispatching keeps it."""
    return keccak256(b"".join(_hash(keccak256(_CAP), meter, cap_wh) for meter, cap_wh in caps))


def answer_digest(contract: DispatchContract, call: AnswerCall, scheduled: str) -> bytes:
    """What was signed to acknowledge a schedule."""
    return _digest(contract, _ANSWER, call.zone, call.mtu_start, _bytes32(scheduled), call.answer, call.reason)


def curtailment_digest(contract: DispatchContract, call: CurtailCall) -> bytes:
    """What was signed to curtail."""
    return _digest(
        contract,
        _CURTAILMENT,
        call.zone,
        call.mtu_start,
        _bytes32(call.schedule_hash),
        call.direction,
        call.reason,
        call.emergency,
        call.sequence,
        caps_hash(call.caps),
    )


def stop_digest(contract: DispatchContract, call: StopCall) -> bytes:
    """What was signed to stop a zone."""
    return _digest(contract, _STOP, call.zone, call.first_mtu_start, call.mtu_count, call.reason)


def _digest(contract: DispatchContract, struct: bytes, *values: _Word) -> bytes:
    names = (keccak256(b"gridledger-dispatch"), keccak256(b"1"))
    domain = _hash(keccak256(_DOMAIN), *names, contract.chain_id, int(contract.address, 16))
    return keccak256(b"\x19\x01" + domain + _hash(keccak256(struct), *values))


def _hash(*words: _Word) -> bytes:
    return keccak256(b"".join(word if isinstance(word, bytes) else word.to_bytes(32) for word in words))


def _bytes32(text: str) -> bytes:
    return bytes.fromhex(text[2:])
