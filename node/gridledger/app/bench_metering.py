"""Gas of anchoring 10,000 readings, of proving one of them, and of proving what a device has signed."""

from dataclasses import dataclass

from gridledger.app.bench_chain import GENESIS_S, MTU_LENGTH_S, SEED, ZONE, BenchChain, BenchFailed, bench_chain
from gridledger.chain.keys import account_from_seed
from gridledger.chain.market_config import SOURCE_SOLAR
from gridledger.merkle import MerkleTree
from gridledger.metering.evidence import SignedEvidence, signed_evidence
from gridledger.metering.merkle import leaf
from gridledger.metering.ocmf import sign_registers
from gridledger.metering.registers import RegisterReading
from gridledger.metering.signed_reading import key_from_seed, public_key

__all__ = ["MeteringGas", "measure_metering_gas"]

READINGS, METER = 10_000, 1
MTU_START = GENESIS_S + 9_000
DEVICE = key_from_seed(b"device of the gas benchmark")


@dataclass(frozen=True, kw_only=True)
class MeteringGas:
    """Gas of transactions: an anchor of 10,000 readings, the proof of one of them, and a dispute per signed text, of
    which it takes two.
    """

    anchor: int
    proof: int
    dispute_per_text: int


def measure_metering_gas() -> MeteringGas:
    """Anchor a batch as the second one, prove a reading of it and dispute another. Raises BenchFailed."""
    with bench_chain(_MeteringBench) as bench:
        bench.join()
        tree, salt = _tree()
        bench.anchor(tree.root)  # so that no counter is zero beforehand
        anchor = bench.anchor(tree.root)
        return MeteringGas(anchor=anchor, proof=bench.prove(tree, salt), dispute_per_text=bench.dispute() // 2)


class _MeteringBench(BenchChain):
    def join(self) -> None:
        """One owner with one meter, its device and template registered."""
        owner, supplier = account_from_seed(SEED, "owner"), self.config.suppliers[0]
        grid_operator, key = self.keystore.load("grid_operator"), public_key(DEVICE)
        registration = (owner.address, ZONE, 9_000, 9_000, SOURCE_SOLAR, key.x, key.y)
        self.first, self.last = _text(MTU_START, 1), _text(MTU_START + MTU_LENGTH_S, 2)
        calls: list[tuple[str, str, tuple[object, ...]]] = [
            ("ParticipantRegistry", "admitParticipants", ([owner.address], supplier)),
            ("ParticipantRegistry", "registerMeters", ([registration],)),
            ("MeterLedger", "registerTemplates", ([METER], [self.first.template_hash])),
        ]
        self.mine(GENESIS_S + 10, [self.signed_call(grid_operator, *call) for call in calls])

    def anchor(self, root: bytes) -> int:
        """Gas of anchoring the next batch."""
        relayer, (_, sequence, _) = self.keystore.load("relayer"), self.client.view("MeterLedger", "anchors")
        call = self.signed_call(relayer, "MeterLedger", "anchor", (sequence, root, READINGS))
        return self.mine(MTU_START + MTU_LENGTH_S + sequence, [call])

    def prove(self, tree: MerkleTree, salt: bytes) -> int:
        """Gas of verifying the reading with the longest way to the root, in a transaction."""
        meter = max(range(1, READINGS + 1), key=lambda number: len(tree.proof(_leaf(number, salt))))
        arguments = (1, meter, MTU_START, meter, 0, salt, list(tree.proof(_leaf(meter, salt))))
        if not self.client.view("MeterLedger", "verify", *arguments):
            raise BenchFailed(step="proof of a reading")
        relayer = self.keystore.load("relayer")
        return self.mine(MTU_START + 4_000, [self.signed_call(relayer, "MeterLedger", "verify", arguments)])

    def dispute(self) -> int:
        """Gas of proving an MTU from its two signed texts."""
        texts = [(one.payload, one.spans, one.decimals, one.r, one.s) for one in (self.first, self.last)]
        arguments = (METER, MTU_START, *texts)
        relayer = self.keystore.load("relayer")
        return self.mine(MTU_START + 5_000, [self.signed_call(relayer, "MeterLedger", "dispute", arguments)])


def _tree() -> tuple[MerkleTree, bytes]:
    salt = bytes(range(1, 33))
    return MerkleTree(_leaf(meter, salt) for meter in range(1, READINGS + 1)), salt


def _leaf(meter: int, salt: bytes) -> bytes:
    return leaf(meter, MTU_START, meter, 0, salt)


def _text(taken_at: int, counter: int) -> SignedEvidence:
    registers = RegisterReading(
        meter=METER,
        meter_id="1EMH0012345678",
        taken_at=taken_at,
        import_register_wh=12_345_678 + 77 * counter,
        export_register_wh=87_654_321 + 555 * counter,
        counter=counter,
    )
    return signed_evidence(sign_registers(registers, DEVICE))
