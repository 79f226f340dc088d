// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @title IntegerMath
/// @notice Signed division that floors toward minus infinity, as the node's `units` module does. The EVM truncates.
library IntegerMath {
    /// @notice numerator / denominator, rounded toward minus infinity.
    /// @dev Reverts with a division panic when denominator is zero.
    function floorDiv(int256 numerator, int256 denominator) internal pure returns (int256 quotient) {
        quotient = numerator / denominator;
        if (numerator % denominator != 0 && (numerator < 0) != (denominator < 0)) quotient -= 1;
    }

    /// @notice Midpoint of two prices, rounded toward minus infinity; any unit.
    function floorMidpoint(int64 lower, int64 upper) internal pure returns (int64) {
        // The midpoint of two int64 values is an int64.
        return int64(floorDiv(int256(lower) + int256(upper), 2));
    }

    /// @notice The larger of value and zero.
    function positivePart(int256 value) internal pure returns (uint256) {
        return value > 0 ? uint256(value) : 0;
    }

    /// @notice The smaller of two unsigned values.
    function min(uint256 a, uint256 b) internal pure returns (uint256) {
        return a < b ? a : b;
    }
}
