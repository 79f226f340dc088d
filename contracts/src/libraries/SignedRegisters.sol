// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

/// @title SignedRegisters
/// @notice Reads the moment and the two registers out of a text a meter has signed (OCMF 1.4), without parsing JSON.
/// Whoever presents the text says where the changing values stand; what they are made of is checked here, and all
/// bytes around them must be those of the device's registered template.
/// @dev Spans of a text, in the order they stand in it, 32 bits each from the lowest bit (start 16, length 16): the
/// pagination number, then moment and value of the import register, then moment and value of the export register.
library SignedRegisters {
    uint256 internal constant SPANS = 5;
    uint256 private constant MOMENT_BYTES = 28;
    uint256 private constant MOST_DIGITS = 15;
    uint256 private constant SECONDS_PER_DAY = 86_400;

    /// @notice What a text says.
    /// @param takenAt moment of both registers, Unix seconds
    /// @param importWh import register, rounded down to Wh
    /// @param exportWh export register, rounded down to Wh
    struct Registers {
        uint64 takenAt;
        uint64 importWh;
        uint64 exportWh;
    }

    error SpansRefused(uint256 spans, uint256 textLength);
    error CounterUnreadable(bytes text);
    error MomentUnreadable(bytes text);
    error MomentsDiffer(uint64 importMoment, uint64 exportMoment);
    error ValueUnreadable(bytes text);

    /// @notice Hash of the template: the pieces around the spans, and the unit of the registers.
    /// @param decimals 3 where the registers are in kWh, 0 where they are in Wh
    function templateHash(bytes calldata text, uint256 spans, uint8 decimals) internal pure returns (bytes32) {
        bytes memory pieces;
        uint256 end = 0;
        for (uint256 i = 0; i < SPANS; ++i) {
            (uint256 start, uint256 stop) = _span(text, spans, i);
            if (start < end) revert SpansRefused(spans, text.length);
            // A text of JSON holds no zero byte, so none of the pieces can pass for another division.
            pieces = bytes.concat(pieces, text[end:start], bytes1(0));
            end = stop;
        }
        return keccak256(bytes.concat(pieces, text[end:], bytes1(0), bytes1(decimals)));
    }

    /// @notice The values in the spans.
    function read(bytes calldata text, uint256 spans, uint8 decimals) internal pure returns (Registers memory found) {
        _requireDigits(_value(text, spans, 0));
        found.takenAt = moment(_value(text, spans, 1));
        uint64 exportMoment = moment(_value(text, spans, 3));
        if (exportMoment != found.takenAt) revert MomentsDiffer(found.takenAt, exportMoment);
        found.importWh = flooredWh(_value(text, spans, 2), decimals);
        found.exportWh = flooredWh(_value(text, spans, 4), decimals);
    }

    /// @notice Unix seconds of a moment such as `2016-06-13T02:15:00,000+0200`, not before 1970.
    function moment(bytes calldata text) internal pure returns (uint64) {
        if (
            text.length != MOMENT_BYTES || text[4] != "-" || text[7] != "-" || text[10] != "T" || text[13] != ":"
                || text[16] != ":" || bytes4(text[19:23]) != ",000"
        ) revert MomentUnreadable(text);
        uint256 day = _day(_number(text, 0, 4), _number(text, 5, 2), _number(text, 8, 2));
        uint256 local = day * SECONDS_PER_DAY + _number(text, 11, 2) * 3600 + _number(text, 14, 2) * 60
            + _number(text, 17, 2);
        uint256 offset = _number(text, 24, 2) * 3600 + _number(text, 26, 2) * 60;
        if (text[23] == "-") return uint64(local + offset);
        if (text[23] != "+" || local < offset) revert MomentUnreadable(text);
        return uint64(local - offset);
    }

    /// @notice A register's value such as `1234.567`, rounded down to Wh.
    function flooredWh(bytes calldata text, uint8 decimals) internal pure returns (uint64) {
        uint256 length = text.length;
        uint256 value = 0;
        uint256 i = 0;
        for (; i < length && text[i] != "."; ++i) {
            value = value * 10 + _digit(text, i);
        }
        if (i == 0 || i > MOST_DIGITS || i + 1 == length) revert ValueUnreadable(text);
        uint256 taken = 0;
        for (++i; i < length; ++i) {
            uint256 digit = _digit(text, i);
            if (taken == decimals) continue;
            value = value * 10 + digit;
            ++taken;
        }
        return uint64(value * 10 ** (decimals - taken));
    }

    /// @dev Days from 1970-01-01 to a date of the Gregorian calendar (Hinnant, chrono-compatible date algorithms).
    function _day(uint256 year, uint256 month, uint256 date) private pure returns (uint256) {
        if (month <= 2) --year;
        uint256 ofEra = year % 400;
        uint256 ofYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + date - 1;
        return (year / 400) * 146_097 + ofEra * 365 + ofEra / 4 - ofEra / 100 + ofYear - 719_468;
    }

    function _number(bytes calldata text, uint256 start, uint256 digits) private pure returns (uint256 value) {
        for (uint256 i = start; i < start + digits; ++i) {
            uint256 digit = uint256(uint8(text[i])) ^ 0x30;
            if (digit > 9) revert MomentUnreadable(text);
            value = value * 10 + digit;
        }
    }

    function _digit(bytes calldata text, uint256 index) private pure returns (uint256 digit) {
        digit = uint256(uint8(text[index])) ^ 0x30;
        if (digit > 9) revert ValueUnreadable(text);
    }

    function _requireDigits(bytes calldata text) private pure {
        if (text.length == 0 || text.length > MOST_DIGITS + 1) revert CounterUnreadable(text);
        for (uint256 i = 0; i < text.length; ++i) {
            if (uint8(text[i]) ^ 0x30 > 9) revert CounterUnreadable(text);
        }
    }

    function _value(bytes calldata text, uint256 spans, uint256 index) private pure returns (bytes calldata) {
        (uint256 start, uint256 stop) = _span(text, spans, index);
        return text[start:stop];
    }

    function _span(bytes calldata text, uint256 spans, uint256 index)
        private
        pure
        returns (uint256 start, uint256 stop)
    {
        uint256 span = spans >> (index * 32);
        start = uint16(span);
        stop = start + uint16(span >> 16);
        if (stop > text.length) revert SpansRefused(spans, text.length);
    }
}
