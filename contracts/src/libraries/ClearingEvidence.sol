// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IMarketBond} from "../interfaces/IMarketBond.sol";
import {OrderTerms} from "./OrderTerms.sol";

/// @title ClearingEvidence
/// @notice Reads a committed book and a committed result that are presented again. The book is a list of lines: 8
/// bytes running number, 32 bytes uid.
library ClearingEvidence {
    using OrderTerms for uint256;

    uint256 private constant NUMBER_BYTES = 8;
    uint256 private constant LINE_BYTES = 40;

    /// @notice The first line with this uid. A book that lists an order twice says nothing by its second line.
    function find(bytes calldata book, bytes32 uid) internal pure returns (bool listed, uint256 place, uint64 number) {
        uint256 lines = book.length / LINE_BYTES;
        for (place = 0; place < lines; ++place) {
            uint256 start = place * LINE_BYTES;
            if (bytes32(book[start + NUMBER_BYTES:]) == uid) return (true, place, uint64(bytes8(book[start:])));
        }
    }

    /// @notice The hash the trading contract keeps of such a result: a chain over the intervals and the chunks.
    function resultHash(IMarketBond.Result calldata result) internal pure returns (bytes32 hash) {
        hash = keccak256(abi.encode(result.merged, result.any, result.lowCarbon));
        for (uint256 i = 0; i < result.terms.length; ++i) {
            bytes32 fillsHash = keccak256(abi.encodePacked(result.terms[i]));
            hash = keccak256(abi.encode(hash, fillsHash, result.stateHashes[i]));
        }
    }

    /// @notice Energy of the order at this place of the book over all chunks, direct deals included, Wh.
    function fillWh(IMarketBond.Result calldata result, uint256 place) internal pure returns (uint256 energyWh) {
        for (uint256 i = 0; i < result.terms.length; ++i) {
            uint256[] calldata chunk = result.terms[i];
            for (uint256 k = 0; k < chunk.length; ++k) {
                if (chunk[k].bookIndex() == place) energyWh += chunk[k].fillWh();
            }
        }
    }
}
