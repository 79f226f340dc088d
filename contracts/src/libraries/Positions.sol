// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {MeterWord} from "./MeterWord.sol";

/// @title Positions
/// @notice One meter's contract for one MTU in three packed words. A clearing keeps only the hash of the list; whoever
/// settles presents it again.
/// @dev identity, from the lowest bit: owner 160, meter 32, supplier number 16, source 8, flags 8, version 8,
/// capacity 24 (the larger one, W) = 256 bits. energy: auction 48 (a buyer's `any` part), low-carbon part of a buyer
/// 48, dealt 48, prior 48 (contracted in earlier chunks), metered 48 (signed, export minus import) = 240 bits, all
/// Wh. money, all microcents: fee 80, locked 88, deal cash 88 (signed) = 256 bits.
library Positions {
    uint256 internal constant WORDS = 3;
    uint8 internal constant LAST_VERSION = 254;
    uint256 private constant BYTES = 0x60;
    /// @dev Byte offsets of a position's words, behind the list's length.
    uint256 private constant IDENTITY = 0x20;
    uint256 private constant ENERGY = 0x40;
    uint256 private constant MONEY = 0x60;
    uint256 private constant SELLS = 1 << 216;
    uint256 private constant SETTLED = 1 << 217;
    uint256 private constant SUBSTITUTE = 1 << 218;
    uint256 private constant CONTINUED = 1 << 219;
    uint256 private constant CURTAILED = 1 << 220;
    uint256 private constant VERSION_UNIT = 1 << 224;
    uint256 private constant METERED_SHIFT = 192;
    uint256 private constant MASK_48 = (1 << 48) - 1;

    function count(uint256[] memory words) internal pure returns (uint256) {
        return words.length / WORDS;
    }

    /// @notice What the trading contract keeps of a chunk: keccak256(abi.encode(words, deals)).
    /// @dev Copied in one piece, for the compiler's encoder takes ten times as long. The tests hold it against a
    /// plain one.
    /// @param deals direct deals, as trades of Pairing
    function stateHash(uint256[] memory words, uint256[] memory deals) internal pure returns (bytes32 hash) {
        // solhint-disable-next-line no-inline-assembly
        assembly ("memory-safe") {
            let start := mload(0x40)
            let wordsSize := mul(add(mload(words), 1), 0x20)
            let dealsSize := mul(add(mload(deals), 1), 0x20)
            mstore(start, 0x40)
            mstore(add(start, 0x20), add(wordsSize, 0x40))
            mcopy(add(start, 0x40), words, wordsSize)
            mcopy(add(add(start, 0x40), wordsSize), deals, dealsSize)
            hash := keccak256(start, add(add(wordsSize, dealsSize), 0x40))
        }
    }

    /// @notice A new position of a meter; money is added to it.
    /// @param energies parts of `energy`, and what was contracted in earlier chunks by `prior`
    function open(
        uint256[] memory words,
        uint256 index,
        uint32 meter_,
        uint256 meterWord,
        bool sells_,
        uint256 energies
    ) internal pure {
        uint24 importW = MeterWord.importCapacityW(meterWord);
        uint24 exportW = MeterWord.exportCapacityW(meterWord);
        _set(
            words,
            index,
            IDENTITY,
            uint256(uint160(meterWord)) | (uint256(meter_) << 160) | (uint256(MeterWord.supplier(meterWord)) << 192)
                | (uint256(MeterWord.source(meterWord)) << 208) | (sells_ ? SELLS : 0)
                | (uint256(importW > exportW ? importW : exportW) << 232)
        );
        _set(words, index, ENERGY, energies);
    }

    /// @notice Energies of one order. Each part of their sum stays below 2^48: the caller bounds it by the meter's
    /// capacity.
    function energy(uint256 auction, uint256 lowCarbon, uint256 dealt) internal pure returns (uint256) {
        return auction | (lowCarbon << 48) | (dealt << 96);
    }

    function prior(uint256 energyWh) internal pure returns (uint256) {
        return energyWh << 144;
    }

    function owner(uint256[] memory words, uint256 index) internal pure returns (address) {
        return address(uint160(_word(words, index, IDENTITY)));
    }

    function meter(uint256[] memory words, uint256 index) internal pure returns (uint32) {
        return uint32(_word(words, index, IDENTITY) >> 160);
    }

    function supplier(uint256[] memory words, uint256 index) internal pure returns (uint16) {
        return uint16(_word(words, index, IDENTITY) >> 192);
    }

    function source(uint256[] memory words, uint256 index) internal pure returns (uint8) {
        return uint8(_word(words, index, IDENTITY) >> 208);
    }

    function sells(uint256[] memory words, uint256 index) internal pure returns (bool) {
        return _word(words, index, IDENTITY) & SELLS != 0;
    }

    function isSettled(uint256[] memory words, uint256 index) internal pure returns (bool) {
        return _word(words, index, IDENTITY) & SETTLED != 0;
    }

    /// @notice Whether it was settled on a real reading.
    function isRead(uint256[] memory words, uint256 index) internal pure returns (bool) {
        return _word(words, index, IDENTITY) & (SETTLED | SUBSTITUTE) == SETTLED;
    }

    /// @notice As `isRead`, of positions as they were presented.
    function wasRead(uint256[] calldata words, uint256 index) internal pure returns (bool) {
        return words[index * WORDS] & (SETTLED | SUBSTITUTE) == SETTLED;
    }

    /// @notice Whether a later chunk contracts more for the same meter.
    function isContinued(uint256[] memory words, uint256 index) internal pure returns (bool) {
        return _word(words, index, IDENTITY) & CONTINUED != 0;
    }

    function version(uint256[] memory words, uint256 index) internal pure returns (uint8) {
        return uint8(_word(words, index, IDENTITY) >> 224);
    }

    function capacityW(uint256[] memory words, uint256 index) internal pure returns (uint24) {
        return uint24(_word(words, index, IDENTITY) >> 232);
    }

    function auctionWh(uint256[] memory words, uint256 index) internal pure returns (uint256) {
        return _word(words, index, ENERGY) & MASK_48;
    }

    function lowCarbonWh(uint256[] memory words, uint256 index) internal pure returns (uint256) {
        return (_word(words, index, ENERGY) >> 48) & MASK_48;
    }

    function dealtWh(uint256[] memory words, uint256 index) internal pure returns (uint256) {
        return (_word(words, index, ENERGY) >> 96) & MASK_48;
    }

    function priorWh(uint256[] memory words, uint256 index) internal pure returns (uint256) {
        return (_word(words, index, ENERGY) >> 144) & MASK_48;
    }

    /// @notice Energy this position contracts, whatever its side.
    function contractedWh(uint256[] memory words, uint256 index) internal pure returns (uint256) {
        uint256 parts = _word(words, index, ENERGY);
        unchecked {
            return (parts & MASK_48) + ((parts >> 48) & MASK_48) + ((parts >> 96) & MASK_48);
        }
    }

    function meteredWh(uint256[] memory words, uint256 index) internal pure returns (int64) {
        return int48(uint48(_word(words, index, ENERGY) >> METERED_SHIFT));
    }

    function feeMicrocents(uint256[] memory words, uint256 index) internal pure returns (uint256) {
        return uint80(_word(words, index, MONEY));
    }

    function lockedMicrocents(uint256[] memory words, uint256 index) internal pure returns (uint256) {
        return uint88(_word(words, index, MONEY) >> 80);
    }

    /// @notice Cash of the direct deals: a seller's price x energy; a buyer's, negated.
    function dealMicrocents(uint256[] memory words, uint256 index) internal pure returns (int256) {
        return int88(uint88(_word(words, index, MONEY) >> 168));
    }

    /// @notice Whether the caps of a curtailed dispatch were applied to it.
    function isCurtailed(uint256[] memory words, uint256 index) internal pure returns (bool) {
        return _word(words, index, IDENTITY) & CURTAILED != 0;
    }

    /// @notice A position as caps leave it: nothing of it is in the auction any more, its trades stand in the list of
    /// deals; their money is added to it.
    /// @param priorWh_ what is left of the energy contracted in earlier chunks
    function curtail(uint256[] memory words, uint256 index, uint256 priorWh_) internal pure {
        _set(words, index, IDENTITY, _word(words, index, IDENTITY) | CURTAILED);
        _set(words, index, ENERGY, prior(priorWh_));
        _set(words, index, MONEY, 0);
    }

    function addDealt(uint256[] memory words, uint256 index, uint256 energyWh) internal pure {
        unchecked {
            _set(words, index, ENERGY, _word(words, index, ENERGY) + (energyWh << 96));
        }
    }

    function setContinued(uint256[] memory words, uint256 index) internal pure {
        _set(words, index, IDENTITY, _word(words, index, IDENTITY) | CONTINUED);
    }

    /// @dev Amounts stay far below their fields: energy < 2^40, prices < 2^26.
    function addFee(uint256[] memory words, uint256 index, uint256 fee) internal pure {
        unchecked {
            _set(words, index, MONEY, _word(words, index, MONEY) + fee);
        }
    }

    /// @notice Returns all that is locked for the position now.
    function addLock(uint256[] memory words, uint256 index, uint256 locked) internal pure returns (uint256) {
        unchecked {
            uint256 money = _word(words, index, MONEY) + (locked << 80);
            _set(words, index, MONEY, money);
            return uint88(money >> 80);
        }
    }

    function addDealCash(uint256[] memory words, uint256 index, int256 cash) internal pure {
        uint256 sum = uint88(int88(dealMicrocents(words, index) + cash));
        _set(words, index, MONEY, (_word(words, index, MONEY) & ((1 << 168) - 1)) | (sum << 168));
    }

    /// @notice Marks the position as settled on `metered`; a position settled before gets the next version, unless it
    /// has the last one already, which the caller must refuse.
    function settle(uint256[] memory words, uint256 index, int64 metered, bool substitute) internal pure {
        uint256 identity = _word(words, index, IDENTITY);
        if (identity & SETTLED != 0) identity += VERSION_UNIT;
        identity = substitute ? identity | SETTLED | SUBSTITUTE : (identity | SETTLED) & ~SUBSTITUTE;
        _set(words, index, IDENTITY, identity);
        uint256 parts = _word(words, index, ENERGY) & ((1 << METERED_SHIFT) - 1);
        _set(words, index, ENERGY, parts | (uint256(uint48(int48(metered))) << METERED_SHIFT));
    }

    /// @dev Without the compiler's bounds check, which is a third of a clearing's computing: every index that gets here
    /// is a loop's counter below the count, has been compared with it, or comes out of a hash the market itself kept.
    function _word(uint256[] memory words, uint256 index, uint256 part) private pure returns (uint256 word) {
        // solhint-disable-next-line no-inline-assembly
        assembly ("memory-safe") {
            word := mload(add(add(words, mul(index, BYTES)), part))
        }
    }

    /// @dev As above.
    function _set(uint256[] memory words, uint256 index, uint256 part, uint256 value) private pure {
        // solhint-disable-next-line no-inline-assembly
        assembly ("memory-safe") {
            mstore(add(add(words, mul(index, BYTES)), part), value)
        }
    }
}
