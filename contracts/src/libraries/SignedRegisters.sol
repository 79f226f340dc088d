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
    uint256 private constant MOST_VALUE_BYTES = 20;
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
    error MomentsDiffer(bytes importMoment, bytes exportMoment);
    error ValueUnreadable(bytes text);

    /// @notice Hash of the template: the pieces around the spans, and the unit of the registers.
    /// @param decimals 3 where the registers are in kWh, 0 where they are in Wh
    function templateHash(bytes calldata text, uint256 spans, uint8 decimals) internal pure returns (bytes32) {
        (uint256 begin0, uint256 end0) = _span(text, spans, 0);
        (uint256 begin1, uint256 end1) = _span(text, spans, 1);
        (uint256 begin2, uint256 end2) = _span(text, spans, 2);
        (uint256 begin3, uint256 end3) = _span(text, spans, 3);
        (uint256 begin4, uint256 end4) = _span(text, spans, 4);
        if (begin1 < end0 || begin2 < end1 || begin3 < end2 || begin4 < end3) revert SpansRefused(spans, text.length);
        // A text of JSON holds no zero byte, so none of the pieces can pass for another division.
        bytes1 zero = 0x00;
        return keccak256(
            bytes.concat(
                bytes.concat(text[:begin0], zero, text[end0:begin1], zero, text[end1:begin2], zero),
                bytes.concat(text[end2:begin3], zero, text[end3:begin4], zero, text[end4:], zero, bytes1(decimals))
            )
        );
    }

    /// @notice The values in the spans.
    function read(bytes calldata text, uint256 spans, uint8 decimals) internal pure returns (Registers memory found) {
        _requireDigits(_value(text, spans, 0));
        bytes calldata at = _value(text, spans, 1);
        if (keccak256(at) != keccak256(_value(text, spans, 3))) revert MomentsDiffer(at, _value(text, spans, 3));
        found.takenAt = moment(at);
        found.importWh = flooredWh(_value(text, spans, 2), decimals);
        found.exportWh = flooredWh(_value(text, spans, 4), decimals);
    }

    /// @notice Unix seconds of a moment such as `2016-06-13T02:15:00,000+0200`, not before 1970.
    function moment(bytes calldata text) internal pure returns (uint64) {
        if (text.length != MOMENT_BYTES) revert MomentUnreadable(text);
        bytes32 word = bytes32(text);
        bool formed = word[4] == "-" && word[7] == "-" && word[10] == "T" && word[13] == ":" && word[16] == ":"
            && bytes4(word << 152) == ",000";
        // Digits are below ten each, so nothing here comes near overflowing.
        unchecked {
            uint256 year = _two(text, word, 0) * 100 + _two(text, word, 2);
            uint256 day = _day(year, _two(text, word, 5), _two(text, word, 8));
            uint256 local = day * SECONDS_PER_DAY + _two(text, word, 11) * 3600 + _two(text, word, 14) * 60
                + _two(text, word, 17);
            uint256 offset = _two(text, word, 24) * 3600 + _two(text, word, 26) * 60;
            if (formed && word[23] == "-") return uint64(local + offset);
            if (!formed || word[23] != "+" || local < offset) revert MomentUnreadable(text);
            return uint64(local - offset);
        }
    }

    /// @notice A register's value such as `1234.567`, rounded down to Wh.
    function flooredWh(bytes calldata text, uint8 decimals) internal pure returns (uint64) {
        uint256 length = text.length;
        if (length > MOST_VALUE_BYTES) revert ValueUnreadable(text);
        bytes32 word = bytes32(text);
        uint256 value = 0;
        uint256 i = 0;
        // At most 15 digits and 3 decimals.
        unchecked {
            for (; i < length && word[i] != "."; ++i) {
                value = value * 10 + _digit(text, word, i);
            }
            if (i == 0 || i > MOST_DIGITS || i + 1 == length) revert ValueUnreadable(text);
            uint256 taken = 0;
            for (++i; i < length; ++i) {
                uint256 digit = _digit(text, word, i);
                if (taken == decimals) continue;
                value = value * 10 + digit;
                ++taken;
            }
            return uint64(value * 10 ** (decimals - taken));
        }
    }

    /// @dev Days from 1970-01-01 to a date of the Gregorian calendar (Hinnant, chrono-compatible date algorithms).
    function _day(uint256 year, uint256 month, uint256 date) private pure returns (uint256) {
        if (month <= 2) --year;
        uint256 ofEra = year % 400;
        uint256 ofYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + date - 1;
        return (year / 400) * 146_097 + ofEra * 365 + ofEra / 4 - ofEra / 100 + ofYear - 719_468;
    }

    function _two(bytes calldata text, bytes32 word, uint256 start) private pure returns (uint256) {
        unchecked {
            uint256 tens = uint256(uint8(word[start])) ^ 0x30;
            uint256 ones = uint256(uint8(word[start + 1])) ^ 0x30;
            if (tens > 9 || ones > 9) revert MomentUnreadable(text);
            return tens * 10 + ones;
        }
    }

    function _digit(bytes calldata text, bytes32 word, uint256 index) private pure returns (uint256 digit) {
        digit = uint256(uint8(word[index])) ^ 0x30;
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
