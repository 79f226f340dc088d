// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IEnergyDispatching} from "./IEnergyDispatching.sol";

/// @title IEnergyCurtailment
/// @notice Applies a grid operator's caps to what was contracted: trades shrink where they go beyond a cap, at their
/// price, and what was locked for the rest goes back.
interface IEnergyCurtailment {
    /// @notice A trade that caps have made smaller, in the same transaction before CapsApplied.
    /// @param trade from the lowest bit: selling meter 32, buying meter 32, energy taken off it 192 (Wh)
    event TradeCurtailed(uint256 trade);
    /// @param curtailedWh energy taken off the trades of the chunk
    /// @param lowCarbonWh the part of it from low-carbon sources
    /// @param refundedMicrocents locked money given back, compensations of sellers taken off
    /// @param compensatedMicrocents replacement cost the buyers were paid, or are owed by the grid operator
    event CapsApplied(
        uint32 indexed zone,
        uint64 indexed mtuStart,
        uint16 chunk,
        uint256 curtailedWh,
        uint256 lowCarbonWh,
        uint256 refundedMicrocents,
        uint256 compensatedMicrocents
    );

    error DispatchNotCurtailed(uint32 zone, uint64 mtuStart);
    error CapsDiffer(bytes32 capsHash, bytes32 presented);
    error CurtailmentTooEarly(uint64 mtuStart, uint64 earliest, uint64 blockTime);
    error CapsAlreadyApplied(uint32 zone, uint64 mtuStart, uint16 chunk);
    error ChunksOutOfSequence(uint16 expected, uint16 presented);

    /// @notice Applies the recorded caps to the positions of a chunk; anybody may, once the MTU is over and no further
    /// cap can come. Chunks go in their order.
    /// @param positions and `deals` as the trading contract keeps them by hash
    /// @param caps as they were recorded
    function applyCaps(
        uint32 zone,
        uint64 mtuStart,
        uint16 chunk,
        uint256[] calldata positions,
        uint256[] calldata deals,
        IEnergyDispatching.Cap[] calldata caps
    ) external;

    /// @notice To how many chunks of a clearing the caps were applied.
    function appliedChunksOf(uint32 zone, uint64 mtuStart) external view returns (uint16);
}
