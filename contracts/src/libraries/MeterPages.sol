// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @title MeterPages
/// @notice Words of neighbouring meters kept as the code of a contract: a clearing reads a whole page for little
/// more than one storage slot costs. A page is written anew when a meter is added to it.
/// @dev The code begins with STOP, so that nothing can be called. Meter n is at place n % METERS of page n / METERS.
library MeterPages {
    uint256 internal constant METERS = 32;
    /// @dev Returns all that follows it as the code, which begins with the last byte of this.
    bytes12 private constant CREATION_PREFIX = 0x600b5981380380925939f300;

    error PageNotWritten();

    /// @notice Keeps the first `count` words.
    function write(uint256[] memory words, uint256 count) internal returns (address page) {
        bytes memory creation = abi.encodePacked(CREATION_PREFIX, words);
        // Words not used are not paid for.
        // solhint-disable-next-line no-inline-assembly
        assembly ("memory-safe") {
            page := create(0, add(creation, 0x20), add(12, shl(5, count)))
        }
        if (page == address(0)) revert PageNotWritten();
    }

    /// @notice Reads a page into a list of METERS words; zero where there is no meter, or no page.
    function read(address page, uint256[] memory words) internal view {
        // Code is read with no other means; beyond its end it reads as zero.
        // solhint-disable-next-line no-inline-assembly
        assembly ("memory-safe") {
            extcodecopy(page, add(words, 0x20), 1, shl(5, METERS))
        }
    }
}
