// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @dev The place of one presented order in the list of OrderRows.
type Row is uint256;

/// @title OrderRows
/// @notice Presented orders after checking, one behind the other in memory: terms, meter word, uid, limit, energy dealt
/// directly, position. Walked by a pointer, for lists by index cost several times as much.
/// @dev A row is made by `rowAt` with an index below the count, or by `next` before the end.
library OrderRows {
    uint256 private constant WORDS = 6;
    uint256 private constant BYTES = 0xc0;
    uint256 private constant METER = 0x20;
    uint256 private constant UID = 0x40;
    uint256 private constant LIMIT = 0x60;
    uint256 private constant DEALT = 0x80;
    uint256 private constant POSITION = 0xa0;

    function make(uint256 count_) internal pure returns (uint256[] memory rows) {
        return new uint256[](WORDS * count_);
    }

    function rowCount(uint256[] memory rows) internal pure returns (uint256) {
        return rows.length / WORDS;
    }

    function rowAt(uint256[] memory rows, uint256 index) internal pure returns (Row row) {
        // solhint-disable-next-line no-inline-assembly
        assembly ("memory-safe") {
            row := add(add(rows, 0x20), mul(index, BYTES))
        }
    }

    /// @notice Hash of the terms of the first `filled` orders, fills and places in the book included.
    function termsHash(uint256[] memory rows, uint256 filled) internal pure returns (bytes32 hash) {
        // solhint-disable-next-line no-inline-assembly
        assembly ("memory-safe") {
            let start := mload(0x40)
            let row := add(rows, 0x20)
            let word := start
            for { let end := add(start, shl(5, filled)) } lt(word, end) { word := add(word, 0x20) } {
                mstore(word, mload(row))
                row := add(row, BYTES)
            }
            hash := keccak256(start, shl(5, filled))
        }
    }

    function next(Row row) internal pure returns (Row) {
        unchecked {
            return Row.wrap(Row.unwrap(row) + BYTES);
        }
    }

    function previous(Row row) internal pure returns (Row) {
        unchecked {
            return Row.wrap(Row.unwrap(row) - BYTES);
        }
    }

    function isBefore(Row row, Row other) internal pure returns (bool) {
        return Row.unwrap(row) < Row.unwrap(other);
    }

    function terms(Row row) internal pure returns (uint256) {
        return _get(row, 0);
    }

    function meter(Row row) internal pure returns (uint256) {
        return _get(row, METER);
    }

    function uid(Row row) internal pure returns (bytes32) {
        return bytes32(_get(row, UID));
    }

    function limit(Row row) internal pure returns (int64) {
        return int64(int256(_get(row, LIMIT)));
    }

    function dealtWh(Row row) internal pure returns (uint256) {
        return _get(row, DEALT);
    }

    function position(Row row) internal pure returns (uint256) {
        return _get(row, POSITION);
    }

    function begin(Row row, uint256 terms_, uint256 meter_, bytes32 uid_) internal pure {
        _set(row, 0, terms_);
        _set(row, METER, meter_);
        _set(row, UID, uint256(uid_));
    }

    function setLimit(Row row, int64 limit_) internal pure {
        _set(row, LIMIT, uint256(int256(limit_)));
    }

    function setDealtWh(Row row, uint256 dealt) internal pure {
        _set(row, DEALT, dealt);
    }

    function setPosition(Row row, uint256 position_) internal pure {
        _set(row, POSITION, position_);
    }

    function _get(Row row, uint256 offset) private pure returns (uint256 word) {
        // solhint-disable-next-line no-inline-assembly
        assembly ("memory-safe") {
            word := mload(add(row, offset))
        }
    }

    function _set(Row row, uint256 offset, uint256 word) private pure {
        // solhint-disable-next-line no-inline-assembly
        assembly ("memory-safe") {
            mstore(add(row, offset), word)
        }
    }
}
