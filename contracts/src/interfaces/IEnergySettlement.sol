// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @title IEnergySettlement
/// @notice What cleared positions are worth once their meters are read: the trade at its price, the rest with the
/// supplier, fees, low-carbon rewards, corrections by numbered versions.
interface IEnergySettlement {
    /// @notice The words of these four are read by Closings: the MTU, the meter, and what the position was closed with.
    /// @param closing metered energy and the imbalance
    event PositionSettled(uint256 closing);
    /// @param closing substitute energy and the imbalance
    event PositionSubstituted(uint256 closing);
    /// @notice A later or corrected reading: only the difference to the version before is paid.
    /// @param closing version, metered energy and the difference of the imbalance
    event PositionResettled(uint256 closing);
    /// @param closing what was locked and is given back
    event PositionRefunded(uint256 closing);
    event SettlementProgressed(uint32 indexed zone, uint64 indexed mtuStart, uint16 chunk, uint32 openPositions);

    error DispatchUnanswered(uint32 zone, uint64 mtuStart);
    error DispatchProceeds(uint32 zone, uint64 mtuStart);
    error CapsNotApplied(uint32 zone, uint64 mtuStart);
    error DispatchIsVoid(uint32 zone, uint64 mtuStart);
    error ClearingUnfinished(uint32 zone, uint64 mtuStart);
    error ReadingsNotAnchored(uint32 zone, uint64 mtuStart);
    error PositionAlreadySettled(uint32 meter);
    error PositionUnknown(uint16 index);
    error MeteredOutOfRange(uint32 meter, int64 meteredWh);
    error NothingToCorrect(uint32 meter);
    error VersionsUsedUp(uint32 meter);
    error CorrectionsEnded(uint64 mtuStart, uint64 deadline, uint64 blockTime);
    error SettlementTooEarly(uint64 mtuStart, uint64 earliest, uint64 blockTime);
    error SubstituteTooEarly(uint64 mtuStart, uint64 earliest, uint64 blockTime);
    error ReadingNotProven(uint32 meter, uint64 mtuStart);
    error ProvenOtherwise(uint32 meter, int64 meteredWh, int64 provenWh);
    error NothingToSettle(uint32 zone, uint64 mtuStart);
    error ListsDiffer(uint256 indexes, uint256 values);

    /// @notice Settles positions whose meters have been read, and corrects those settled before by a new version, 254
    /// times at most. A reading that says what the one before said corrects nothing and is refused.
    /// @param positions all positions of the chunk as last kept, in words of Positions
    /// @param deals all direct deals of the chunk, as trades of Pairing
    /// @param indexes positions to settle now
    /// @param meteredWh metered export minus import of each, Wh
    function settle(
        uint32 zone,
        uint64 mtuStart,
        uint16 chunk,
        uint256[] calldata positions,
        uint256[] calldata deals,
        uint16[] calldata indexes,
        int64[] calldata meteredWh
    ) external;

    /// @notice Settles or corrects positions on what their devices have provably signed (IMeterLedger.dispute), as far
    /// as it was proven before corrections ended. Anybody may, so nobody can uphold a value that is proven wrong.
    function settleProven(
        uint32 zone,
        uint64 mtuStart,
        uint16 chunk,
        uint256[] calldata positions,
        uint256[] calldata deals,
        uint16[] calldata indexes
    ) external;

    /// @notice Settles positions nobody has read by the policy's deadline as if delivered as contracted. Anybody may.
    function settleSubstitutes(
        uint32 zone,
        uint64 mtuStart,
        uint16 chunk,
        uint256[] calldata positions,
        uint256[] calldata deals,
        uint16[] calldata indexes
    ) external;

    /// @notice Releases the locks of positions whose dispatch is void, or whose clearing was never finished. Anybody
    /// may, so nobody can hold money back.
    function refund(
        uint32 zone,
        uint64 mtuStart,
        uint16 chunk,
        uint256[] calldata positions,
        uint256[] calldata deals,
        uint16[] calldata indexes
    ) external;
}
