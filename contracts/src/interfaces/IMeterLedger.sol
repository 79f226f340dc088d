// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @title IMeterLedger
/// @notice Merkle roots over salted commitments of accepted readings. Nothing of a reading itself is on chain.
interface IMeterLedger {
    event ReadingsAnchored(
        uint32 indexed zone, uint64 indexed mtuStart, uint32 indexed sequence, bytes32 root, uint32 readingCount
    );

    error AnchorOutOfSequence(uint32 zone, uint64 mtuStart, uint32 sequence, uint32 expected);
    error AnchorEmpty(uint32 zone, uint64 mtuStart);
    error MtuNotOver(uint64 mtuStart, uint64 mtuEnd, uint64 blockTime);

    /// @notice Anchors a batch of readings of one zone and MTU. Late readings come in a further batch.
    /// @param sequence number of the batch, from 0 without gaps
    /// @param root OpenZeppelin-compatible Merkle root over the readings' leaves
    function anchor(uint32 zone, uint64 mtuStart, uint32 sequence, bytes32 root, uint32 readingCount) external;

    /// @notice How many batches are anchored for a zone and MTU.
    function anchorCount(uint32 zone, uint64 mtuStart) external view returns (uint32);

    /// @notice The root of a batch; zero when not anchored.
    function rootOf(uint32 zone, uint64 mtuStart, uint32 sequence) external view returns (bytes32);

    /// @notice Whether a reading belongs to an anchored batch.
    function verify(
        uint32 zone,
        uint64 mtuStart,
        uint32 sequence,
        uint32 meter,
        uint64 importWh,
        uint64 exportWh,
        bytes32 salt,
        bytes32[] calldata proof
    ) external view returns (bool);
}
