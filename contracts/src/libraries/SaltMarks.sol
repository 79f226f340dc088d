// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @title SaltMarks
/// @notice When an owner's bulk cancellations happened and from which salt on its orders have been good since.
/// @dev Times and salts both ascend. Written here, for the library of OpenZeppelin is not marked as memory-safe, which
/// costs the whole contract the compiler's spare stack.
library SaltMarks {
    /// @dev One slot: 64 + 128 bits. firstGood can be one more than the largest salt.
    struct Mark {
        uint64 time;
        uint128 firstGood;
    }

    /// @notice First salt that is good at present; zero without a mark.
    function latest(Mark[] storage marks) internal view returns (uint128) {
        uint256 count = marks.length;
        return count == 0 ? 0 : marks[count - 1].firstGood;
    }

    /// @notice First salt that was good just before `moment`, by bisection; zero without an earlier mark.
    function before(Mark[] storage marks, uint64 moment) internal view returns (uint128) {
        (uint256 low, uint256 high) = (0, marks.length);
        while (low < high) {
            uint256 middle = (low + high) / 2;
            if (marks[middle].time < moment) low = middle + 1;
            else high = middle;
        }
        return low == 0 ? 0 : marks[low - 1].firstGood;
    }
}
