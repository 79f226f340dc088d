"""Merkle trees are OpenZeppelin's, hash by hash."""

import pytest
from Crypto.Hash import keccak
from eth_abi.abi import encode
from hypothesis import given
from hypothesis import strategies as st

from gridledger.merkle import LeafTwice, LeafUnknown, MerkleTree, NoLeaves, leaf_hash, verify

HASHES = st.binary(min_size=32, max_size=32)


def other_keccak(data: bytes) -> bytes:
    """Keccak-256 from another library than the kernel's."""
    return keccak.new(digest_bits=256, data=data).digest()


def some_leaves(count: int) -> list[bytes]:
    return [leaf_hash(number.to_bytes(32)) for number in range(1, count + 1)]


def naive_node(leaves: list[bytes], position: int) -> bytes:
    """One node by its definition: the leaf whose place counts from the end, else the hash of two sorted children."""
    if position >= len(leaves) - 1:
        return leaves[2 * len(leaves) - 2 - position]
    children = sorted([naive_node(leaves, 2 * position + 1), naive_node(leaves, 2 * position + 2)])
    return other_keccak(b"".join(children))


@given(st.sets(HASHES, min_size=1, max_size=24))
def test_every_node_is_what_its_definition_says(leaves: set[bytes]) -> None:
    ordered = list(leaves)
    assert MerkleTree(ordered).nodes == tuple(naive_node(ordered, position) for position in range(2 * len(ordered) - 1))


def test_the_root_is_the_one_openzeppelin_publishes_for_its_example() -> None:
    """The two rows (address, uint256) of the README of `@openzeppelin/merkle-tree`."""
    rows = [("0x" + "11" * 20, 5 * 10**18), ("0x" + "22" * 20, 25 * 10**17)]
    leaves = [leaf_hash(encode(["address", "uint256"], row)) for row in rows]
    assert leaves[0] == other_keccak(other_keccak(encode(["address", "uint256"], rows[0])))
    assert MerkleTree(sorted(leaves)).root.hex() == "d4dee0beab2d53f2cc83e567171bd2820e49898130a22622b10ead383e90bd77"


@pytest.mark.parametrize("count", [*range(1, 18), 118, 1000])
def test_every_leaf_has_a_proof(count: int) -> None:
    leaves = some_leaves(count)
    tree = MerkleTree(leaves)
    assert all(verify(tree.root, one, tree.proof(one)) for one in leaves)


@given(st.integers(0, 12), st.integers(0, 31), st.integers(1, 255))
def test_a_proof_holds_for_no_other_leaf_sibling_or_root(index: int, position: int, flip: int) -> None:
    leaves = some_leaves(13)
    tree = MerkleTree(leaves)
    proof = tree.proof(leaves[index])

    def flipped(value: bytes) -> bytes:
        return value[:position] + bytes((value[position] ^ flip,)) + value[position + 1 :]

    assert not verify(tree.root, flipped(leaves[index]), proof)
    assert not verify(flipped(tree.root), leaves[index], proof)
    assert not verify(tree.root, leaves[index], proof[:-1])
    for step, sibling in enumerate(proof):
        assert not verify(tree.root, leaves[index], (*proof[:step], flipped(sibling), *proof[step + 1 :]))


def test_a_tree_of_one_leaf_is_that_leaf() -> None:
    (only,) = some_leaves(1)
    assert MerkleTree([only]).root == only
    assert MerkleTree([only]).proof(only) == ()


def test_there_is_no_tree_without_leaves() -> None:
    with pytest.raises(NoLeaves):
        MerkleTree([])


def test_no_leaf_stands_in_a_tree_twice() -> None:
    leaves = some_leaves(5)
    with pytest.raises(LeafTwice) as caught:
        MerkleTree([*leaves, leaves[2]])
    assert caught.value.leaf == "0x" + leaves[2].hex()


def test_an_inner_node_has_no_proof() -> None:
    tree = MerkleTree(some_leaves(5))
    with pytest.raises(LeafUnknown):
        tree.proof(tree.nodes[1])
