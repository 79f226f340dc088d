"""Signed readings accepted per second through the HTTP API, against verifying as many P-256 signatures in one thread.

Every reading has a device and values of its own and is on disk before the answer; batches have 100 readings. Trees of
reading commitments are timed besides.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, islice

from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.hashes import SHA256

from gridledger.app.bench_node import FIRST_MTU_START, MEMBERS, MTU_LENGTH_S, bench_node, post_all_s
from gridledger.merkle import MerkleTree
from gridledger.metering.merkle import leaf
from gridledger.metering.signed_reading import key_from_seed
from gridledger.simulation.community import Community
from gridledger.simulation.devices import MeterDevice
from gridledger.simulation.inputs import MeterReading

__all__ = ["ReadingRates", "measure_readings", "measure_tree_s"]

MTUS, BATCH = 20, 100
WARM_UP_MTUS = 1
MOST_WH = 2_000
TREE_LEAVES = 100_000


@dataclass(frozen=True, kw_only=True)
class ReadingRates:
    """Readings per second: accepted by the node and on disk, and signatures verified only."""

    accepted_per_s: float
    verified_per_s: float


def measure_readings() -> ReadingRates:
    """Post each of 200 meters' readings of twenty MTUs to a warm node of its own. Raises BenchFailed."""
    end = FIRST_MTU_START + (WARM_UP_MTUS + MTUS) * MTU_LENGTH_S
    with bench_node(end) as node:
        node.client.advance(end)
        texts = _texts(node.community)
        warm_up, texts = texts[: MEMBERS * WARM_UP_MTUS], texts[MEMBERS * WARM_UP_MTUS :]
        _post_s(node.base_url, warm_up)
        verify_s = _verify_s(len(texts))
        post_s = _post_s(node.base_url, texts)
        verify_s = (verify_s + _verify_s(len(texts))) / 2  # before and after, as other work slows machines down
        return ReadingRates(accepted_per_s=len(texts) / post_s, verified_per_s=len(texts) / verify_s)


def measure_tree_s() -> float:
    """Seconds to make a tree over 100,000 leaves."""
    leaves = [leaf(meter, FIRST_MTU_START, meter % MOST_WH, 0, bytes(32)) for meter in range(1, TREE_LEAVES + 1)]
    started = time.perf_counter()
    MerkleTree(leaves)
    return time.perf_counter() - started


def _texts(community: Community) -> list[str]:
    devices = [(meter, MeterDevice(meter, MTU_LENGTH_S)) for meter in community.meters]
    return [
        device.sign(
            MeterReading(
                meter_id=meter.spec.meter_id,
                mtu_start=FIRST_MTU_START + index * MTU_LENGTH_S,
                import_wh=(index * MEMBERS + meter.number) % MOST_WH,
                export_wh=0,
                consumption_wh=None,
                generation_wh=None,
            )
        )
        for index in range(WARM_UP_MTUS + MTUS)
        for meter, device in devices
    ]


def _post_s(base_url: str, texts: Sequence[str]) -> float:
    batches = [{"readings": texts[begin : begin + BATCH]} for begin in range(0, len(texts), BATCH)]
    return post_all_s(base_url, "/v1/readings", batches, lambda result: result["status"] == "accepted")


def _verify_s(count: int) -> float:
    """Seconds to verify that many signatures over messages of a reading's length, each its own, of 200 keys."""
    algorithm = ECDSA(SHA256())
    keys = [key_from_seed(b"verified only " + number.to_bytes(4)) for number in range(MEMBERS)]
    signed = []
    for number, key in islice(enumerate(cycle(keys)), count):
        message = number.to_bytes(4) * 64
        signed.append((key.public_key(), key.sign(message, algorithm), message))
    started = time.perf_counter()
    for public, signature, message in signed:
        public.verify(signature, message, algorithm)
    return time.perf_counter() - started
