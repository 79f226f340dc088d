"""Anchors on their way to the chain, and the proofs of single readings."""

import pytest
from tests.metering.fakes import MTU_LENGTH_S, MTU_START, SALT_SEED, World, a_reading, a_world

from gridledger.merkle import MerkleTree, verify
from gridledger.metering.anchoring import AnchoringService, AnchorReadings
from gridledger.metering.errors import NothingToAnchor, ReadingNotAnchored
from gridledger.metering.merkle import leaf
from gridledger.metering.salts import SeededSalts


class FakeLedger:
    """Commands in the order they were submitted."""

    def __init__(self) -> None:
        self.submitted: list[AnchorReadings] = []

    def submit(self, command: AnchorReadings) -> None:
        self.submitted.append(command)


def anchoring(world: World) -> tuple[AnchoringService, FakeLedger]:
    ledger = FakeLedger()
    return AnchoringService(store=world.store, ledger=ledger), ledger


def accept(world: World, *meters: int) -> None:
    texts = [world.devices[meter].sign(a_reading(meter=meter)) for meter in meters]
    assert [outcome.error for outcome in world.service.accept(texts)] == [None] * len(meters)


def test_every_anchored_reading_is_proven_against_the_root_of_its_own_batch() -> None:
    world = a_world()
    service, ledger = anchoring(world)
    accept(world, 1, 2)
    service.anchor([(1, MTU_START)])
    accept(world, 3)
    service.anchor([(1, MTU_START)])
    assert [(command.sequence, command.reading_count) for command in ledger.submitted] == [(0, 2), (1, 1)]
    world.store.recorded |= {0, 1}
    for meter, sequence in ((1, 0), (2, 0), (3, 1)):
        proof = service.proof(meter, MTU_START)
        own = leaf(meter, MTU_START, 120, 30, SeededSalts(SALT_SEED).salt_for(meter, MTU_START))
        assert (proof.zone, proof.sequence, proof.leaf) == (1, sequence, own)
        assert "0x" + proof.root.hex() == ledger.submitted[sequence].root
        assert verify(proof.root, own, proof.path)


def test_one_batch_holds_zones_and_mtus_together_ascending_by_meter_then_mtu() -> None:
    world = a_world()
    service, ledger = anchoring(world)
    later = MTU_START + MTU_LENGTH_S
    keys = [(4, MTU_START), (1, later), (1, MTU_START)]
    texts = [world.devices[meter].sign(a_reading(meter=meter, mtu_start=at, counter=at)) for meter, at in keys]
    assert [outcome.error for outcome in world.service.accept(texts)] == [None] * 3
    service.anchor([(2, MTU_START), (1, MTU_START), (1, later)])
    salts = SeededSalts(SALT_SEED)
    leaves = [leaf(meter, at, 120, 30, salts.salt_for(meter, at)) for meter, at in sorted(keys)]
    (command,) = ledger.submitted
    assert command == AnchorReadings(sequence=0, root="0x" + MerkleTree(leaves).root.hex(), reading_count=3)
    assert MerkleTree(leaves).root != MerkleTree(leaves[::-1]).root


def test_two_nodes_with_the_same_seed_make_the_same_anchor_whatever_came_first() -> None:
    roots = set()
    for order in ((1, 2, 3), (3, 2, 1)):
        world = a_world()
        service, ledger = anchoring(world)
        accept(world, *order)
        service.anchor([(1, MTU_START)])
        roots.add(ledger.submitted[0].root)
    assert len(roots) == 1


def test_nothing_is_anchored_twice() -> None:
    world = a_world()
    service, ledger = anchoring(world)
    accept(world, 1)
    service.anchor([(1, MTU_START)])
    with pytest.raises(NothingToAnchor):
        service.anchor([(1, MTU_START)])
    assert len(ledger.submitted) == 1


@pytest.mark.parametrize("meter", [1, 2, 77])
def test_a_reading_that_is_not_anchored_has_no_proof(meter: int) -> None:
    world = a_world()
    service, _ = anchoring(world)
    accept(world, 1)
    with pytest.raises(ReadingNotAnchored):
        service.proof(meter, MTU_START)


def test_an_anchor_on_its_way_to_the_chain_proves_nothing_yet() -> None:
    world = a_world()
    service, _ = anchoring(world)
    accept(world, 1)
    service.anchor([(1, MTU_START)])
    accept(world, 2)
    service.anchor([(1, MTU_START)])
    world.store.recorded.add(1)
    assert service.proof(2, MTU_START).sequence == 1
    with pytest.raises(ReadingNotAnchored) as refused:
        service.proof(1, MTU_START)
    assert refused.value.values() == {"meter": 1, "mtu_start": MTU_START}
    world.store.recorded.add(0)
    assert service.proof(1, MTU_START).sequence == 0
