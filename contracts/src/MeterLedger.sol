// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {AccessManaged} from "@openzeppelin/contracts/access/manager/AccessManaged.sol";
import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {IGridPolicy} from "./interfaces/IGridPolicy.sol";
import {IMeterLedger} from "./interfaces/IMeterLedger.sol";
import {SlotKey} from "./libraries/SlotKey.sol";

/// @title MeterLedger
/// @dev The relayer can anchor late or not at all; it cannot change an anchor.
contract MeterLedger is IMeterLedger, AccessManaged {
    IGridPolicy private immutable _policy;
    mapping(uint256 slotKey => bytes32[] roots) private _roots;

    constructor(address accessManager, IGridPolicy policy) AccessManaged(accessManager) {
        _policy = policy;
    }

    /// @inheritdoc IMeterLedger
    function anchor(uint32 zone, uint64 mtuStart, uint32 sequence, bytes32 root, uint32 readingCount)
        external
        restricted
    {
        uint32 mtuLengthS = _policy.mtuLengthS();
        if (mtuStart % mtuLengthS != 0) revert IGridPolicy.MtuUnaligned(mtuStart, mtuLengthS);
        uint64 mtuEnd = mtuStart + mtuLengthS;
        if (block.timestamp < mtuEnd) revert MtuNotOver(mtuStart, mtuEnd, uint64(block.timestamp));
        if (readingCount == 0 || root == 0) revert AnchorEmpty(zone, mtuStart);
        bytes32[] storage roots = _roots[SlotKey.pack(zone, mtuStart)];
        if (sequence != roots.length) revert AnchorOutOfSequence(zone, mtuStart, sequence, uint32(roots.length));
        roots.push(root);
        emit ReadingsAnchored(zone, mtuStart, sequence, root, readingCount);
    }

    /// @inheritdoc IMeterLedger
    function anchorCount(uint32 zone, uint64 mtuStart) external view returns (uint32) {
        return uint32(_roots[SlotKey.pack(zone, mtuStart)].length);
    }

    /// @inheritdoc IMeterLedger
    function rootOf(uint32 zone, uint64 mtuStart, uint32 sequence) public view returns (bytes32) {
        bytes32[] storage roots = _roots[SlotKey.pack(zone, mtuStart)];
        return sequence < roots.length ? roots[sequence] : bytes32(0);
    }

    /// @inheritdoc IMeterLedger
    function verify(
        uint32 zone,
        uint64 mtuStart,
        uint32 sequence,
        uint32 meter,
        uint64 importWh,
        uint64 exportWh,
        bytes32 salt,
        bytes32[] calldata proof
    ) external view returns (bool) {
        bytes32 root = rootOf(zone, mtuStart, sequence);
        // Leaves are hashed twice so that no inner node can pass for a leaf.
        bytes32 leaf = keccak256(bytes.concat(keccak256(abi.encode(meter, mtuStart, importWh, exportWh, salt))));
        return root != 0 && MerkleProof.verifyCalldata(proof, root, leaf);
    }
}
